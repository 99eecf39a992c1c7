"""The columns of a manifest: how the caller renames them, and what a table's header makes of its cells."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from typing import Final, cast

import attrs

from ...errors import ManifestError
from .vocabulary import IMAGE_PARAMETERS, KNOWN_PARAMETERS, ROW_FIELDS, parse_cell, placed

_MOST_COLUMNS: Final = 1_000


@attrs.frozen(kw_only=True)
class Columns:
    """
    What the columns of a manifest mean, beyond their names.

    Attributes:
        renamed: Fields, parameters or `metadata` by the lower-case name of the column that holds them.
        known: Further names of columns that are parameters.
    """

    renamed: Mapping[str, str] = attrs.field(factory=dict[str, str])
    known: Collection[str] = KNOWN_PARAMETERS

    @classmethod
    def of(
        cls,
        *,
        prompt_column: str | None = None,
        key_column: str | None = None,
        mapping: Mapping[str, str] | None = None,
        known: Collection[str] = KNOWN_PARAMETERS,
    ) -> Columns:
        """
        Combine the three ways of renaming columns.

        Raises:
            ManifestError: Two columns are to be one field.
        """
        pairs = [*(mapping or {}).items()]
        pairs += [(name, field) for name, field in ((prompt_column, "prompt"), (key_column, "key")) if name]
        fields = [field for _, field in pairs if field != "metadata"]
        if twice := next((field for field in fields if fields.count(field) > 1), None):
            raise ManifestError(f"two columns are to be {twice!r}; name one.")
        return cls(renamed={name.strip().lower(): field for name, field in pairs}, known=known)

    def record(self, fields: Mapping[str, object]) -> Mapping[str, object]:
        """Rename the columns of a record; what the caller did not choose for a field is metadata."""
        if not self.renamed and self.known is KNOWN_PARAMETERS:
            return fields
        record: dict[str, object] = {}
        parts: dict[str, dict[str, object]] = {"metadata": {}, "parameters": {}}
        for name, value in fields.items():
            target = self._target(name)
            if target in parts and not (name == target and isinstance(value, Mapping)):
                parts[target][name] = value
            elif target is not None and _is_further(target):
                parts["parameters"][target] = value
            else:
                record[target or name] = value
        return _with_parts(record, parts)

    def _target(self, name: str) -> str | None:
        """Return what a column is renamed to, or known as; None where its name says what it is."""
        label = name.strip().lower()
        if (target := self.renamed.get(label)) is not None:
            return target
        if label in map(str.lower, self.renamed.values()):
            return "metadata"
        return next((known for known in self.known if known.lower() == label), None) if label else None

    def header(self, cells: Sequence[str], *, line: int) -> Header:
        """
        Match a header with the fields of a row and the known parameters.

        Raises:
            ManifestError: There is no prompt column, two columns are of one name, a name is nearly a known one, a
                column to rename is not there, or there are more columns than any table of prompts has.
        """

        def fault(text: str) -> ManifestError:
            return ManifestError(f"line {line}: {text}", line=line)

        if len(cells) > _MOST_COLUMNS:
            raise fault(f"there are {len(cells):,} columns; {_MOST_COLUMNS:,} are the most.")
        labels = [cell.strip() for cell in cells]
        found = ", ".join(map(repr, labels[:10])) or "none"
        if missing := self.renamed.keys() - {label.lower() for label in labels}:
            raise fault(f"there is no column {min(missing)!r}; the columns are {found}.")
        fields = tuple(self._field(label, line) for label in labels)
        names = [field or label for field, label in zip(fields, labels, strict=True) if label]
        names = [name for name in names if name != "metadata"]
        if twice := next((name for name in names if names.count(name) > 1), None):
            raise fault(f"there are two columns {twice!r}; rename one.")
        if not {"prompt", "sweep", *IMAGE_PARAMETERS} & set(fields):
            raise fault(f"there is no prompt column; the columns are {found}. Name it with --prompt-column.")
        return Header(fields=fields, labels=tuple(labels))

    def _field(self, label: str, line: int) -> str | None:
        try:
            return self._target(label) or (placed(label) if label else None)
        except ManifestError as error:
            raise ManifestError(f"line {line}: {error.message}", line=line) from None


@attrs.frozen(kw_only=True)
class Header:
    """The header of a table: for each column the field it fills (None: none known), and its label."""

    fields: tuple[str | None, ...]
    labels: tuple[str, ...]

    def read(self, cells: Sequence[object], *, line: int) -> dict[str, object]:
        """
        Make the columns of a record; blank cells are left out, missing ones at its end count as blank.

        Raises:
            ManifestError: There are more cells than columns, or a cell does not fit its column.
        """
        if not all(map(is_blank, cells[len(self.fields) :])):
            raise ManifestError(
                f"line {line}: there are {len(cells)} cells for {len(self.fields)} columns; "
                "quote a cell that holds the separator.",
                line=line,
            )
        record: dict[str, object] = {}
        parts: dict[str, dict[str, object]] = {"metadata": {}, "parameters": {}}
        for field, label, cell in zip(self.fields, self.labels, cells, strict=False):
            if not label or is_blank(cell):
                continue
            is_object = isinstance(cell, Mapping)
            if field in ("metadata", "extra") and not is_object:
                parts["metadata"][label] = cell
                continue
            target = parts["parameters"] if field is not None and _is_further(field) else record
            target[field or label] = _value(field, cell, line)
        return _with_parts(record, parts)


def is_blank(cell: object) -> bool:
    """Whether a cell of a table holds nothing: no text, or a missing number."""
    if isinstance(cell, str):
        return not cell.strip()
    return cell is None or (isinstance(cell, float) and math.isnan(cell))


def _value(field: str | None, cell: object, line: int) -> object:
    return parse_cell(field, cell, line) if field is not None and isinstance(cell, str) else cell


def _is_further(field: str) -> bool:
    return field not in ROW_FIELDS and field not in KNOWN_PARAMETERS and placed(field) is None


def _with_parts(record: dict[str, object], parts: Mapping[str, Mapping[str, object]]) -> dict[str, object]:
    """Add metadata and parameters to those that the record has itself."""
    for name, part in parts.items():
        if part:
            own = record.get(name)
            record[name] = {**cast("Mapping[str, object]", own), **part} if isinstance(own, Mapping) else part
    return record
