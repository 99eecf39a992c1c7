"""A row as the paid requests that make its images."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Callable

import attrs

from .._names import image_stem
from ..parameters import CountRule, split_count
from .rows import BatchRow


@attrs.frozen(kw_only=True)
class Unit:
    """
    One paid request of a batch.

    Attributes:
        id: 32 hex digits made of the row's content, `n` and the number of equal requests before this one,
            so that neither the order of a manifest nor its division among processes changes the set of IDs.
        row: The row that asks for it.
        n: `n` to send; None sends none.
        images: Images that the request is expected to make.
        part: Its place among the row's requests, from 0.
        parts: Requests of the row.
        first_index: Index within the row of its first image.
        replica: How many identical rows came before.
    """

    id: str
    row: BatchRow
    n: int | None
    images: int
    part: int
    parts: int
    first_index: int
    replica: int

    @property
    def name(self) -> str:
        """The stem that its files share: the row's base name, with `-r2`, `-r3` … for repeated rows."""
        return f"{self.row.base_name}-r{self.replica + 1}" if self.replica else self.row.base_name

    def image_stem(self, index: int) -> str:
        """
        The file stem of the image at *index* of this request's answer.

        Images beyond the expected number are named after the last expected one: `fox-3-extra1`.
        """
        # Only "one or several" matters for the name, and several requests always make several images.
        total = self.images if self.parts == 1 else max(2, self.images)
        last = self.images - 1
        stem = image_stem(self.name, self.first_index + min(index, last), total)
        return stem if index <= last else f"{stem}-extra{index - last}"


def unpriced(_: Unit) -> int | None:
    """Nobody knows what the unit costs."""
    return None


def units_of(row: BatchRow, rule: CountRule, *, occurrence: Callable[[str], int]) -> tuple[Unit, ...]:
    """
    Divide a row into its paid requests.

    Args:
        row: The row.
        rule: What the row's model accepts per request.
        occurrence: Says how often it was asked for this content ID before in the pass over all rows: 0, 1, 2 …

    Returns:
        The requests in order, with IDs that are stable: raising a row's `count` later keeps the IDs of
        requests with an unchanged `n`, so only the others are new.
    """
    digest = row.digest
    counts = split_count(row.count, rule)
    repeats = Counter(counts)
    units: list[Unit] = []
    first_index = 0
    for part, n in enumerate(counts):
        content_id = f"{digest}:{n or 0}"
        seen = occurrence(content_id)
        units.append(
            Unit(
                id=hashlib.sha256(f"{content_id}:{seen}".encode()).hexdigest()[:32],
                row=row,
                n=n,
                images=rule.images(n),
                part=part,
                parts=len(counts),
                first_index=first_index,
                # Exact where identical rows have equal counts; otherwise two names may coincide,
                # which only the exclusive creation of files can settle.
                replica=seen // repeats[n],
            )
        )
        first_index += rule.images(n)
    return tuple(units)
