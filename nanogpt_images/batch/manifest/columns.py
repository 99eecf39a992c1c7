"""The columns of a table of prompts: which are fields of a row, and what a cell's text means."""

from __future__ import annotations

import difflib
import json
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Final, cast

import attrs

from ..._base.logs import get_logger
from ...errors import ManifestError
from ..rows import IMAGE_PARAMETERS, ROW_FIELDS

_log: Final = get_logger("nanogpt_images.batch")

# Assumption: a column this close to a known name is a slip of the pen. Leaving it out would pay for the wrong image.
_SLIP: Final = 0.85
_MOST_COLUMNS: Final = 1_000


def _number(text: str) -> object:
    try:
        return int(text)
    except ValueError:
        return float(text)


def _switch(text: str) -> object:
    try:
        return {"true": True, "yes": True, "1": True, "false": False, "no": False, "0": False}[text.lower()]
    except KeyError:
        raise ValueError from None


def _list(text: str) -> object:
    if not text.startswith("["):
        return [text]
    value: object = json.loads(text)
    return value


def _object(text: str) -> object:
    value: object = json.loads(text)
    if not isinstance(value, dict):
        raise ValueError
    return cast("dict[str, object]", value)


_KINDS: Final[Mapping[str, tuple[str, Callable[[str], object]]]] = {
    "n": ("a number", _number),
    "seed": ("a number", _number),
    "strength": ("a number", _number),
    "guidance_scale": ("a number", _number),
    "num_inference_steps": ("a number", _number),
    "kontext_max_mode": ("true or false", _switch),
    "input_references": ("one reference or a JSON list", _list),
    "image_data_urls": ("one image or a JSON list", _list),
    "imageDataUrls": ("one data URL or a JSON list", _list),
    "parameters": ("a JSON object", _object),
}

KNOWN_PARAMETERS: Final = frozenset(
    {
        "resolution",
        "aspect_ratio",
        "quality",
        "output_format",
        "size",
        "response_format",
        "user",
        "image_data_url",
        "mask_data_url",
        "imageDataUrl",
        "maskDataUrl",
        "rendering_speed",
        *_KINDS,
    }
)
"""Columns that are parameters. Source: docs/service.md, "Generate" and "Generate, OpenAI-compatible"."""


@attrs.frozen
class Columns:
    """The header of a table: for each column the field it fills, or None where the column is left out."""

    fields: tuple[str | None, ...]

    @classmethod
    def of(cls, header: Sequence[str], *, line: int, known: Collection[str] = KNOWN_PARAMETERS) -> Columns:
        """
        Match a header with the fields of a row and the *known* parameters, whatever the case.

        Columns of other names are left out and named in a log record.

        Raises:
            ManifestError: There is no prompt column, a field has two columns, a name is a near miss, or there
                are more columns than any table of prompts has.
        """
        if len(header) > _MOST_COLUMNS:
            raise ManifestError(
                f"line {line}: there are {len(header):,} columns; {_MOST_COLUMNS:,} are the most.",
                line=line,
            )
        names = {name.lower(): name for name in (*ROW_FIELDS, *KNOWN_PARAMETERS, *known)}
        labels = [label.strip().lower() for label in header]
        fields = tuple(names.get(label) for label in labels)
        for label, field in zip(labels, fields, strict=True):
            near = difflib.get_close_matches(label, names, n=1, cutoff=_SLIP)
            if field is None and near:
                raise ManifestError(
                    f"line {line}: column {label!r} is not known; did you mean {names[near[0]]!r}? "
                    "Rename it, or remove it.",
                    line=line,
                )
            if field is not None and fields.count(field) > 1:
                raise ManifestError(f"line {line}: there are two columns {field!r}.", line=line)
        if "prompt" not in fields and IMAGE_PARAMETERS.isdisjoint(fields):
            found = ", ".join(map(repr, header[:10])) or "none"
            raise ManifestError(
                f"line {line}: there is no prompt column; the columns are {found}.",
                line=line,
            )
        if None in fields:
            left_out = [label for label, field in zip(header, fields, strict=True) if field is None]
            _log.info("columns that are no parameter are left out: %s", ", ".join(left_out))
        return cls(fields)

    def read(self, cells: Sequence[str], *, line: int) -> dict[str, object]:
        """
        The fields of a record; blank cells are left out, missing ones at its end count as blank.

        Raises:
            ManifestError: There are more cells than columns, or a cell does not fit its column.
        """
        if any(cell.strip() for cell in cells[len(self.fields) :]):
            raise ManifestError(
                f"line {line}: there are {len(cells)} cells for {len(self.fields)} columns; "
                "quote a cell that holds the separator.",
                line=line,
            )
        return {
            field: _value(field, cell, line)
            for field, cell in zip(self.fields, cells, strict=False)
            if field is not None and cell.strip()
        }


def _value(field: str, cell: str, line: int) -> object:
    if field == "prompt":
        return cell
    kind, parse = _KINDS.get(field, ("text", str))
    try:
        return parse(cell.strip())
    except (ValueError, RecursionError):
        raise ManifestError(f"line {line}: {field} must be {kind}, not {cell[:40]!r}.", line=line) from None
