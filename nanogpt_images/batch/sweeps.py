"""One row for every combination of values: a grid of parameters, several models, the gaps of a template."""

from __future__ import annotations

import hashlib
import itertools
import json
import math
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Final, cast

import attrs

from .._base.names import prompt_slug
from ..errors import ManifestError
from .manifest.fields import plain, short
from .manifest.templates import Templates
from .manifest.vocabulary import ROW_FIELDS, placed
from .rows import BatchRow

MAX_COMBINATIONS: Final = 1_000_000
"""Most combinations of one row."""

_RANGE: Final = re.compile(r"(-?\d{1,15})\.\.(-?\d{1,15})")
_BETWEEN_DIGITS: Final = re.compile(r"(?<=\d)[:*](?=\d)")
_NOT_PLAIN: Final = re.compile(r"[^A-Za-z0-9.]+")
_MOST_LABEL: Final = 40
_NOT_COMMON: Final = ("prompt", "model", "count", "key", "route", "parameters", "metadata", "sweep")
_COLUMNS_ONLY: Final = Templates(directory=Path(), columns_only=True)


@attrs.frozen(kw_only=True)
class Sweep:
    """
    Values to combine.

    Attributes:
        axes: The values of each field, parameter or column of a template, by its name.
        zipped: Pair the first values, the second ones and so on, instead of combining each with all.
    """

    axes: Mapping[str, Sequence[object]]
    zipped: bool = False

    @classmethod
    def of(cls, values: Mapping[str, object], *, zipped: bool = False) -> Sweep:
        """
        Check the values of a sweep.

        Args:
            values: For each name a list, a range, a text such as `1..4` (both included), or one value.
            zipped: See the class.

        Raises:
            ManifestError: There are no values, one comes twice, pairs do not come out even, or there are too many.
        """
        axes = {_name(name): _values(name, value) for name, value in values.items()}
        if not axes:
            raise ManifestError("the sweep is empty; name a parameter and its values.")
        made = cls(axes=axes, zipped=zipped)
        if zipped and len(lengths := {len(found) for found in axes.values() if len(found) > 1}) > 1:
            raise ManifestError(
                f"a sweep in pairs needs lists of one length, not of {', '.join(map(str, sorted(lengths)))}. "
            )
        if made.size > MAX_COMBINATIONS:
            raise ManifestError(
                f"the sweep has {made.size:,} combinations; {MAX_COMBINATIONS:,} are the most."
            )
        return made

    @property
    def size(self) -> int:
        """How many combinations there are."""
        lengths = [len(values) for values in self.axes.values()]
        return max(lengths) if self.zipped else math.prod(lengths)

    def without(self, names: Iterable[str]) -> Sweep | None:
        """Leave out axes; None where no other is left."""
        left = {name: values for name, values in self.axes.items() if name not in set(names)}
        return Sweep(axes=left, zipped=self.zipped) if left else None

    def combinations(self) -> Iterator[dict[str, object]]:
        """Yield each combination; the last axis changes first."""
        pools = list(self.axes.values())
        if self.zipped:
            even = [pool if len(pool) > 1 else [pool[0]] * self.size for pool in pools]
            found: Iterable[tuple[object, ...]] = zip(*even, strict=True)
        else:
            found = itertools.product(*pools)
        return (dict(zip(self.axes, values, strict=True)) for values in found)


def sweep(
    rows: str
    | Mapping[str, object]
    | BatchRow
    | Iterable[str | Mapping[str, object] | BatchRow]
    | None = None,
    /,
    *,
    zip: bool = False,  # noqa: A002 - the word for it
    **values: object,
) -> list[dict[str, object]]:
    """
    Make a row for every combination of values.

        rows = ngi.sweep("a red fox", model=["hidream", "gpt-image-2"], resolution=["1024x1024"], seed=range(1, 5))

    Args:
        rows: A prompt or a mapping of a row's columns, or several; without any, give `prompt=`.
        zip: Pair the values instead of combining each with all.
        values: For each field, parameter or column a list or range of values to combine, a text such as `1..4` (both
            included), or one value for all rows. A prompt may name columns: `"a {animal}"` with `animal=["fox", "owl"]`.

    Returns:
        Rows for `batch` and `estimate`, with keys such as
        `a-red-fox-1f2e3d4c_model-hidream_resolution-1024x1024_seed-1`.

    Raises:
        ManifestError: There are no values, one comes twice, pairs do not come out even, or there are more than a
            million combinations.

    Source: docs/bulk.md, "Sweeps and templates".
    """
    fixed = {name: value for name, value in values.items() if _is_one(value)}
    axes: dict[str, object] = {
        name: value if isinstance(value, str | range) else list(cast("Iterable[object]", value))
        for name, value in values.items()
        if name not in fixed
    }
    given = Sweep.of(axes, zipped=zip) if axes else None
    several: Iterable[object] = [{}] if rows is None else [rows]
    if rows is not None and not isinstance(rows, str | Mapping | BatchRow):
        several = rows
    made: list[dict[str, object]] = []
    for number, row in enumerate(several, start=1):
        own = {**_columns_of(row), **fixed}
        fields, combined = _combined({name: value for name, value in own.items() if name not in axes}, given)
        filled = (
            [(dict(fields), "")] if combined is None else _expanded(fields, combined, _COLUMNS_ONLY, number)
        )
        made += [columns for columns, _ in filled]
    return made


def _columns_of(row: object) -> dict[str, object]:
    if isinstance(row, BatchRow):
        fields = {name: getattr(row, name) for name in ROW_FIELDS}
        return {**fields, "parameters": row.parameters, "metadata": row.metadata}
    if isinstance(row, str):
        return {"prompt": row}
    if not isinstance(row, Mapping):
        raise ManifestError(f"a row must be a prompt, a mapping or a BatchRow, not {short(row)}.")
    return dict(cast("Mapping[str, object]", row))


def rows_of(
    item: BatchRow | Mapping[str, object] | str,
    *,
    model: str | None = None,
    defaults: Mapping[str, object] | None = None,
    line: int | None = None,
    number: int | None = None,
    given: Sweep | None = None,
    templates: Templates | None = None,
) -> Iterator[BatchRow]:
    """
    Make the rows of what a caller or a manifest gives: one, or one for each combination of its sweep.

    Args:
        item: See `BatchRow.of`; a mapping may have a `sweep`, as `Sweep.of` takes it, with `"zip": true` for pairs.
        model: See `BatchRow.of`, as for `defaults`, `line` and `number`.
        defaults: Fields and parameters for rows that lack them.
        line: Line of the manifest.
        number: Place among the rows, from 1.
        given: A sweep for all rows; a row that has a value of an axis keeps it.
        templates: Fills the gaps of prompts; without it only the columns of a sweep are filled in.

    Raises:
        ManifestError: See `BatchRow.of`, `Sweep.of` and `Templates.fill`.
    """

    def made(fields: BatchRow | Mapping[str, object] | str) -> BatchRow:
        return BatchRow.of(fields, model=model, line=line, number=number, defaults=defaults)

    fields = {"prompt": item} if isinstance(item, str) else item
    if not isinstance(fields, Mapping):
        yield made(item)
        return
    try:
        fields, combined = _combined(fields, given)
        if combined is not None:
            for columns, combination in _expanded(fields, combined, templates or _COLUMNS_ONLY, number or 1):
                yield made(columns).evolved(combination=combination, former=None)
            return
        prompt = fields.get("prompt")
        filled = (
            templates.fill(prompt, _lower(fields), number=number or 1)
            if templates is not None and isinstance(prompt, str)
            else prompt
        )
    except ManifestError as error:
        if line is None or error.message.startswith("line "):
            raise
        raise ManifestError(f"line {line}: {error.message}", line=line) from None
    if filled == prompt:
        yield made(item)
    else:
        row = made({**fields, "prompt": filled})
        # Earlier versions sent such a prompt as it is.
        yield row.evolved(former=row.former_digest(str(prompt)))


def _combined(fields: Mapping[str, object], given: Sweep | None) -> tuple[Mapping[str, object], Sweep | None]:
    """Take the sweep out of a row's columns, and add the one for all rows."""
    held = next((name for name in fields if name.strip().lower() == "sweep"), None)
    if held is None and given is None:
        return fields, None
    rest = {name: value for name, value in fields.items() if name != held and plain(value) is not None}
    names = {placed(name) or name.strip() for name in (*rest, *_nested(rest))}
    combined = given.without(names) if given is not None else None
    wanted = fields[held] if held is not None else None
    if wanted is None:
        return rest, combined
    if not isinstance(wanted, Mapping):
        raise ManifestError(f"sweep must be an object of lists, not {short(wanted)}.")
    values = dict(cast("Mapping[str, object]", wanted))
    zipped = values.pop("zip", False) is True
    own = Sweep.of(values, zipped=zipped)
    if twice := next((name for name in own.axes if name in names), None):
        raise ManifestError(f"the row has {twice!r}, and its sweep too; remove one.")
    if combined is None or (combined := combined.without(own.axes)) is None:
        return rest, own
    if own.zipped or combined.zipped:
        raise ManifestError("a sweep in pairs cannot be combined with another one.")
    return rest, Sweep.of({**combined.axes, **own.axes})


def _expanded(
    fields: Mapping[str, object], combined: Sweep, templates: Templates, number: int
) -> Iterator[tuple[dict[str, object], str]]:
    """Yield the columns of each combination, and a text that says what it is of."""
    template = fields.get("prompt")
    columns = _lower(fields)
    base = fields.get("key") or _base(fields, combined, templates, number)
    for values in combined.combinations():
        made = _with_values(fields, values, template)
        if isinstance(prompt := made.get("prompt"), str):
            made["prompt"] = templates.fill(prompt, {**columns, **_lower(values)}, number=number)
        made["key"] = "_".join([str(base), *_labels(values)])
        yield made, ", ".join(f"{name}={value}" for name, value in values.items())


def _base(fields: Mapping[str, object], combined: Sweep, templates: Templates, number: int) -> str:
    """Name a row that has no key by its prompt and by the parameters that its combinations have in common."""
    prompt = fields.get("prompt")
    prompt = prompt if isinstance(prompt, str) and "prompt" not in combined.axes else ""
    swept = frozenset(name.lower() for name in combined.axes)
    prompt = templates.fill(prompt, _lower(fields), number=number, later=swept)
    own = {placed(name): value for name, value in fields.items() if placed(name) not in (None, *_NOT_COMMON)}
    common = json.dumps([prompt, {**own, **_nested(fields)}], sort_keys=True, default=str)
    return f"{prompt_slug(prompt)}-{hashlib.sha256(common.encode()).hexdigest()[:8]}"


def _nested(fields: Mapping[str, object]) -> Mapping[str, object]:
    nested = fields.get("parameters")
    return cast("Mapping[str, object]", nested) if isinstance(nested, Mapping) else {}


def _labels(values: Mapping[str, object]) -> list[str]:
    """Name a combination, whatever the order of its axes."""
    return [f"{_NOT_PLAIN.sub('-', name)}-{_label(values[name])}" for name in sorted(values, key=_order)]


def _order(name: str) -> tuple[bool, str]:
    return name != "model", name


def _label(value: object) -> str:
    text = _BETWEEN_DIGITS.sub("x", value if isinstance(value, str) else json.dumps(value))
    label = _NOT_PLAIN.sub("-", text).strip("-")
    if label == text and len(label) <= _MOST_LABEL:
        return label
    # A label that is not the value itself could stand for another one too.
    short_label = label if len(label) <= _MOST_LABEL else prompt_slug(text)
    return f"{short_label}-{hashlib.sha256(text.encode()).hexdigest()[:4]}"


def _with_values(
    fields: Mapping[str, object], values: Mapping[str, object], template: object
) -> dict[str, object]:
    """Put the values where they belong: those that are neither fields nor named by the template go to the service."""
    gaps = template.lower() if isinstance(template, str) else ""
    made = dict(fields)
    parameters = dict(_nested(made))
    for name, value in values.items():
        known = placed(name) is not None
        (made if known or f"{{{name.lower()}}}" in gaps else parameters)[name] = value
    return {**made, "parameters": parameters} if parameters else made


def _lower(fields: Mapping[str, object]) -> dict[str, object]:
    columns = {name.strip().lower(): value for name, value in fields.items() if value is not None}
    metadata = columns.pop("metadata", None)
    if isinstance(metadata, Mapping):
        columns |= {
            str(name).lower(): value for name, value in cast("Mapping[object, object]", metadata).items()
        }
    return columns


def _name(name: object) -> str:
    if not isinstance(name, str) or not name.strip():
        raise ManifestError(f"a sweep is of a named parameter, not of {short(name)}.")
    found = placed(name)
    if found in ("parameters", "metadata", "sweep"):
        raise ManifestError(f"{found} cannot be swept; name the parameter itself.")
    return found or name.strip()


def _values(name: str, value: object) -> Sequence[object]:
    if isinstance(value, str) and (bounds := _RANGE.fullmatch(value.strip())):
        first, last = int(bounds[1]), int(bounds[2])
        value = range(first, last + 1) if first <= last else range(first, last - 1, -1)
    if isinstance(value, range):
        found: Sequence[object] = value
    elif isinstance(value, list | tuple):
        found = [plain(item) for item in cast("Iterable[object]", value)]
    else:
        found = [value]
    if not found or any(item is None or item == "" for item in (() if isinstance(found, range) else found)):
        raise ManifestError(f"the sweep has no values for {name!r}, or an empty one.")
    if not isinstance(found, range):
        texts = [json.dumps(item, sort_keys=True, default=str) for item in found]
        if twice := next((text for text in texts if texts.count(text) > 1), None):
            raise ManifestError(f"the sweep has {twice[:40]} twice for {name!r}.")
    return found


def _is_one(value: object) -> bool:
    if isinstance(value, str):
        return _RANGE.fullmatch(value.strip()) is None
    return not isinstance(value, Iterable) or isinstance(value, Mapping)
