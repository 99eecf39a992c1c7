"""What a batch needs of its journal, and the journal of a batch that keeps everything in memory."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from typing import Protocol

from ..errors import Charge
from ..types.parameters import CountRule, split_count
from .journal import Admission, ImageRecord, SignedUrl
from .rows import BatchRow
from .states import State
from .units import Unit, units_of, unpriced


class Recorder(Protocol):
    """The operations of `Journal` that the way of a request takes; see there for what each records."""

    async def admit(
        self, rows: Sequence[tuple[BatchRow, CountRule]], *, price: Callable[[Unit], int | None] = unpriced
    ) -> list[Admission]:
        """Make and claim units."""
        ...

    async def sent(self, unit_id: str, reserved_nano: int, *, cap_nano: int | None = None) -> None:
        """The POST is about to leave."""
        ...

    async def refused(self, unit_id: str) -> None:
        """It was neither carried out nor charged."""
        ...

    async def repeated(self, unit_id: str) -> None:
        """It may have been charged, and is sent again."""
        ...

    async def linked(
        self,
        unit_id: str,
        links: Sequence[SignedUrl],
        *,
        images: Sequence[ImageRecord] = (),
        cost_nano: int | None = None,
        request_id: str | None = None,
    ) -> None:
        """The answer holds signed URLs."""
        ...

    async def done(
        self,
        unit_id: str,
        images: Sequence[ImageRecord],
        *,
        cost_nano: int | None = None,
        request_id: str | None = None,
    ) -> None:
        """The images are on disk."""
        ...

    async def failed(
        self,
        unit_id: str,
        charge: Charge,
        *,
        error_type: str,
        error_text: str,
        images: Sequence[ImageRecord] = (),
        cost_nano: int | None = None,
        request_id: str | None = None,
    ) -> None:
        """It ended without all of its images, or nobody knows how."""
        ...

    async def postponed(self, unit_id: str, *, error_type: str, error_text: str) -> None:
        """Its download stays open."""
        ...

    async def aclose(self) -> None:
        """Nothing follows."""
        ...


class MemoryRecorder:
    """For a batch without a directory: images stay in the events, nothing is written, nothing is resumed."""

    def __init__(self) -> None:
        self._rows = itertools.count()
        self._requests = 0

    async def admit(
        self, rows: Sequence[tuple[BatchRow, CountRule]], *, price: Callable[[Unit], int | None] = unpriced
    ) -> list[Admission]:
        """See `Recorder`."""
        del price
        units: list[Unit] = []
        for row, rule in rows:
            counts = split_count(row.count, rule)
            number = self._requests + len(units)
            # Which rows are identical would take memory for all of them; each has a name of its own instead.
            units += units_of(row, rule, counts, number=number, replica=next(self._rows))
        self._requests += len(units)
        return [Admission(unit=unit, state=State.PENDING, claimed=True) for unit in units]

    async def nothing(self, *_: object, **__: object) -> None:
        """There is nothing to write down."""

    sent = refused = repeated = linked = done = failed = postponed = aclose = nothing
