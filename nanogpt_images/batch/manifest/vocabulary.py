"""What the name of a column means: a field of a row, a parameter of the service, or metadata that is never sent."""

from __future__ import annotations

import difflib
import json
from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import Final

from ...errors import ManifestError

ROW_FIELDS: Final = ("prompt", "model", "count", "key", "route")
IMAGE_PARAMETERS: Final = frozenset(
    {
        "image",
        "input_references",
        "image_data_url",
        "image_data_urls",
        "imageDataUrl",
        "imageDataUrls",
        "image_url",
        "images",
    }
)
"""Parameters that hold input images; a row that has one may go without a prompt."""

WHOLE_NUMBERS: Final = frozenset({"n", "seed", "num_inference_steps"})
"""Parameters that are whole numbers: a table that holds one as 7.0 means 7."""

# Assumption: a column this close to a known name is a slip of the pen. Taking it for metadata would pay for the wrong
# image.
_SLIP: Final = 0.85


def parse_number(text: str) -> object:
    """Read *text* as a whole number, else as any other. Raises ValueError."""
    try:
        return int(text)
    except ValueError:
        return float(text)


def parse_switch(text: str) -> object:
    """Read *text* as true or false. Raises ValueError."""
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
    return value  # pyright: ignore[reportUnknownVariableType] - BatchRow.of checks what is in it


_KINDS: Final[Mapping[str, tuple[str, Callable[[str], object]]]] = {
    "n": ("a number", parse_number),
    "seed": ("a number", parse_number),
    "strength": ("a number", parse_number),
    "guidance_scale": ("a number", parse_number),
    "num_inference_steps": ("a number", parse_number),
    "kontext_max_mode": ("true or false", parse_switch),
    "image": ("one image or a JSON list", _list),
    "input_references": ("one reference or a JSON list", _list),
    "image_data_urls": ("one image or a JSON list", _list),
    "imageDataUrls": ("one data URL or a JSON list", _list),
    "images": ("one image or a JSON list", _list),
    "parameters": ("a JSON object", _object),
    "sweep": ("a JSON object", _object),
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
        "mask",
        "mask_data_url",
        "imageDataUrl",
        "maskDataUrl",
        "rendering_speed",
        *(_KINDS.keys() - {"parameters", "sweep", "images"}),
    }
)
"""Columns that are parameters. Source: docs/service.md, "Generate", "Generate, OpenAI-compatible" and "Edit"."""

SPECIAL: Final = ("parameters", "metadata", "sweep")
"""Columns that hold further columns."""

_NEAR: Final = (*ROW_FIELDS, "parameters", "sweep", *sorted(KNOWN_PARAMETERS))
_EXACT: Final = {
    name.lower(): name
    for name in (*ROW_FIELDS, *SPECIAL, *KNOWN_PARAMETERS, *IMAGE_PARAMETERS, "nImages", "extra")
}


@lru_cache(maxsize=4096)
def placed(name: str) -> str | None:
    """
    Match the name of a column with the fields of a row and the known parameters, whatever its case.

    Returns:
        The field or parameter; None for metadata.

    Raises:
        ManifestError: The name is nearly a known one.
    """
    label = name.strip().lower()
    found = _EXACT.get(label)
    if found is None and (near := nearest(label, _NEAR)):
        raise ManifestError(
            f"column {name.strip()!r} is not known; did you mean {near!r}? Rename it, or put it into 'metadata' "
            "(--map NAME=metadata) if it is not for the service."
        )
    return found


def nearest(name: str, known: tuple[str, ...]) -> str | None:
    """The name among *known* of which *name* is a slip; None where there is none."""
    labels = {other.lower(): other for other in known}
    near = difflib.get_close_matches(name.lower(), labels, n=1, cutoff=_SLIP)
    return labels[near[0]] if near else None


def parse_cell(field: str, cell: str, line: int) -> object:
    """
    Read the text of a cell as a value of *field*.

    Raises:
        ManifestError: It is of another kind.
    """
    if field == "prompt":
        return cell
    kind, parse = _KINDS.get(field, ("text", str))
    try:
        return parse(cell.strip())
    except (ValueError, RecursionError):
        raise ManifestError(f"line {line}: {field} must be {kind}, not {cell[:40]!r}.", line=line) from None
