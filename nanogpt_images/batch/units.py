"""A row as the paid requests that make its images."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Callable
from typing import Final

import attrs

from .._names import image_stem
from ..parameters import CountRule, split_count
from .rows import BatchRow

_CONTENT_DIGITS: Final = 18
_REMAINDER: Final = 0x800000
_MARK_DIGITS: Final = 8


@attrs.frozen(kw_only=True)
class Unit:
    """
    One paid request of a batch.

    Attributes:
        id: 32 hex digits made of the row's content, `n` and the number of equal requests before this one (see
            `unit_id`), so that neither the order of a manifest nor its division among processes changes the set.
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

    @property
    def mark(self) -> str:
        """Eight hex digits that end the stem of each of its files: a name on disk says which request it is of."""
        return hashlib.sha256(self.id.encode()).hexdigest()[:_MARK_DIGITS]

    def image_stem(self, index: int) -> str:
        """
        The file stem of the image at *index* of this request's answer, such as `fox-3-3f9a12c4`.

        Images beyond the expected number are named after the last expected one: `fox-3-extra1-3f9a12c4`.
        """
        # Only "one or several" matters for the name, and several requests always make several images.
        total = self.images if self.parts == 1 else max(2, self.images)
        last = self.images - 1
        stem = image_stem(self.name, self.first_index + min(index, last), total)
        extra = "" if index <= last else f"-extra{index - last}"
        return f"{stem}{extra}-{self.mark}"


def unpriced(_: Unit) -> int | None:
    """Nobody knows what the unit costs."""
    return None


def unit_id(digest: str, n: int | None, seen: int, *, remainder: bool = False) -> str:
    """
    The ID of a unit: all units of one content begin alike, so an index on IDs finds them.

    Args:
        digest: The row's.
        n: What is sent.
        seen: How many requests of this content and *n* came before.
        remainder: One of those that complete a row which an earlier run divided otherwise.
    """
    # 72 bits of content, 24 of n, 32 of the number.
    return f"{digest[:_CONTENT_DIGITS]}{(n or 0) | (_REMAINDER if remainder else 0):06x}{seen:08x}"


def units_of(row: BatchRow, rule: CountRule, *, occurrence: Callable[[int | None], int]) -> tuple[Unit, ...]:
    """
    Divide a row into its paid requests.

    Args:
        row: The row.
        rule: What the row's model accepts per request.
        occurrence: Says how often it was asked for this row's content and *n* before in the pass over all rows:
            0, 1, 2 …

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
        seen = occurrence(n)
        units.append(
            Unit(
                id=unit_id(digest, n, seen),
                row=row,
                n=n,
                images=rule.images(n),
                part=part,
                parts=len(counts),
                first_index=first_index,
                # Exact where identical rows have equal counts; otherwise two may have the same number.
                replica=seen // repeats[n],
            )
        )
        first_index += rule.images(n)
    return tuple(units)
