"""A row as the paid requests that make its images."""

from __future__ import annotations

import hashlib
import itertools
import re
from collections.abc import Sequence
from typing import Final

import attrs

from .._base.names import image_stem
from ..types.parameters import CountRule
from .rows import BatchRow

NUMBER_BYTES: Final = 7
_CONTENT_DIGITS: Final = 18
_MARK_DIGITS: Final = 8
# The name of an image file, whose stem ends in its request's mark; a number tells files of one stem apart.
MARKED_NAME: Final = re.compile(
    rf"(?P<stem>.+-(?P<mark>[0-9a-f]{{{_MARK_DIGITS}}}))(?:_(?P<number>[0-9]{{1,9}}))?\.[a-z]+"
)


@attrs.frozen(kw_only=True)
class Unit:
    """
    One paid request of a batch.

    Attributes:
        id: 32 hex digits made of the row's content and a number (see `unit_id`).
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

    @property
    def folder(self) -> str:
        """The folder within `images` that its files are in where a job is large: `00` to `ff`."""
        return self.mark[:2]

    def image_stem(self, index: int) -> str:
        """
        Return the file stem of the image at *index* of this request's answer, such as `fox-3-3f9a12c4`.

        Images beyond the expected number are named after the last expected one: `fox-3-extra1-3f9a12c4`.
        """
        # Only "one or several" matters for the name, and several requests always make several images.
        total = self.images if self.parts == 1 else max(2, self.images)
        last = self.images - 1
        stem = image_stem(self.name, self.first_index + min(index, last), total)
        extra = "" if index <= last else f"-extra{index - last}"
        return f"{stem}{extra}-{self.mark}"


def unpriced(_: Unit) -> int | None:
    """Return None: the cost of the unit is not known."""
    return None


def unit_id(digest: str, number: int) -> str:
    """
    Make the ID of a unit: all units of one content begin alike, so an index on IDs finds them in order.

    Args:
        digest: The row's.
        number: Tells the units of one content apart.
    """
    return f"{content_of(digest).hex()}{number:0{2 * NUMBER_BYTES}x}"


def content_of(digest: str) -> bytes:
    """Return the bytes that the IDs of all units of one content begin with."""
    return bytes.fromhex(digest[:_CONTENT_DIGITS])


def units_of(
    row: BatchRow,
    rule: CountRule,
    counts: Sequence[int | None],
    *,
    number: int = 0,
    replica: int = 0,
    there: Sequence[tuple[int, int]] = (),
    digest: str | None = None,
) -> tuple[Unit, ...]:
    """
    Make the paid requests of a row, or those that it lacks.

    Args:
        row: The row.
        rule: What the row's model accepts per request.
        counts: The `n` of each, as `split_count` gives it.
        number: Where the IDs begin.
        replica: How many identical rows came before.
        there: The part of each request that the row has already, and the index behind its last image.
        digest: What the row's requests are known by, where that is not the row's own.
    """
    taken = {part for part, _ in there}
    first_index = max((end for _, end in there), default=0)
    free_parts = (part for part in itertools.count() if part not in taken)
    units: list[Unit] = []
    for place, (n, part) in enumerate(zip(counts, free_parts, strict=False)):
        images = rule.images(n)
        units.append(
            Unit(
                id=unit_id(digest or row.digest, number + place),
                row=row,
                n=n,
                images=images,
                part=part,
                parts=len(there) + len(counts),
                first_index=first_index,
                replica=replica,
            )
        )
        first_index += images
    return tuple(units)
