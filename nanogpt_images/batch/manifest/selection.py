"""Some rows of a manifest: those that meet conditions, the first ones, or a sample."""

from __future__ import annotations

import itertools
import random
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Final

import attrs

from ...errors import ManifestError
from ..rows import BatchRow
from .vocabulary import ROW_FIELDS

_MOST_SAMPLED: Final = 1_000_000


@attrs.frozen(kw_only=True)
class Selection:
    """
    Which rows of a manifest to take; see `read_manifest`.

    Attributes:
        where: Column and value of each condition.
        limit: How many rows, from the first one.
        sample: How many rows, at random.
        seed: Decides which.
    """

    where: tuple[tuple[str, str], ...] = ()
    limit: int | None = None
    sample: int | None = None
    seed: int = 0

    @classmethod
    def of(cls, *, where: Sequence[str], limit: int | None, sample: int | None, seed: int) -> Selection:
        """
        Check what was asked for.

        Raises:
            ManifestError: A condition is not COLUMN=VALUE, or a number is out of range.
        """
        conditions: list[tuple[str, str]] = []
        for condition in (where,) if isinstance(where, str) else where:
            column, equals, value = condition.partition("=")
            if not equals or not column.strip():
                raise ManifestError(f"where {condition!r} is not COLUMN=VALUE.")
            conditions.append((column.strip(), value.strip()))
        for name, number in (("limit", limit), ("sample", sample)):
            if number is not None and number < 1:
                raise ManifestError(f"{name} must be at least 1, not {number}.")
        if sample is not None and sample > _MOST_SAMPLED:
            raise ManifestError(f"sample must be at most {_MOST_SAMPLED:,}, not {sample:,}.")
        if limit is not None and sample is not None:
            raise ManifestError("limit and sample exclude each other.")
        return cls(where=tuple(conditions), limit=limit, sample=sample, seed=seed)

    @property
    def looks_into_rows(self) -> bool:
        """Whether the rows themselves decide how many there are."""
        return bool(self.where)

    @property
    def said(self) -> str:
        """The conditions, for a message."""
        return f" where {' and '.join(f'{name}={value}' for name, value in self.where)}" if self.where else ""

    def of_count(self, rows: int) -> int:
        """Return how many of so many rows are taken."""
        most = self.limit if self.limit is not None else self.sample
        return rows if most is None else min(rows, most)

    def of_rows(
        self, rows: Iterator[BatchRow | ManifestError], path: Path
    ) -> Iterator[BatchRow | ManifestError]:
        """
        Take the chosen of *rows*, in their order. A row that is wrong meets all conditions.

        Raises:
            ManifestError: No row has a column that a condition names.
        """
        if self.where:
            rows = self._meeting(rows, path)
        if self.sample is not None:
            return iter(_sample(rows, self.sample, random.Random(self.seed)))  # noqa: S311 - it need not be secret
        return rows if self.limit is None else itertools.islice(rows, self.limit)

    def _meeting(
        self, rows: Iterable[BatchRow | ManifestError], path: Path
    ) -> Iterator[BatchRow | ManifestError]:
        missing = {column for column, _ in self.where}
        there: set[str] = set()
        for row in rows:
            if isinstance(row, ManifestError):
                missing.clear()
                yield row
                continue
            found = {column: _value(row, column) for column, _ in self.where}
            missing -= {column for column, value in found.items() if value is not None}
            if missing:
                there |= row.metadata.keys()
            if all(found[column] == value for column, value in self.where):
                yield row
        if missing:
            columns = ", ".join(sorted(there)[:10]) or "none"
            raise ManifestError(
                f"no row of {path} has a column {min(missing)!r}; beside its parameters there are {columns}. "
            )


def _value(row: BatchRow, column: str) -> str | None:
    """Find a column's value, as text, whatever the case of its name."""
    label = column.lower()
    if label in ROW_FIELDS:
        value: object = getattr(row, label)
    else:
        columns = {name.lower(): value for name, value in (*row.metadata.items(), *row.parameters.items())}
        value = columns.get(label)
    return None if value is None else str(value)


def _sample(
    rows: Iterable[BatchRow | ManifestError], size: int, choose: random.Random
) -> list[BatchRow | ManifestError]:
    """Choose *size* rows, each as likely as any other, in one pass; only the chosen are held."""
    kept: list[tuple[int, BatchRow | ManifestError]] = []
    for place, row in enumerate(rows):
        if len(kept) < size:
            kept.append((place, row))
        elif (index := choose.randrange(place + 1)) < size:
            kept[index] = (place, row)
    return [row for _, row in sorted(kept, key=lambda item: item[0])]
