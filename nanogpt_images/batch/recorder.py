"""The part of a journal that a batch needs, and its stand-in for a batch that keeps everything in memory."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from typing import Protocol

from ..types.parameters import CountRule, split_count
from .journal import Admission
from .outcomes import Outcome
from .rows import BatchRow
from .states import State
from .units import Unit, units_of, unpriced


class Recorder(Protocol):
    """The operations of `Journal` that a request needs; `Journal` says what each records."""

    async def admit(
        self,
        rows: Sequence[tuple[BatchRow, CountRule]],
        *,
        price: Callable[[Unit], int | None] = unpriced,
        unreadable: int = 0,
    ) -> list[Admission]:
        """Make and claim units."""
        ...

    async def sent(self, unit_id: str, reserved_nano: int, *, cap_nano: int | None = None) -> None:
        """Record that the POST is about to leave."""
        ...

    async def record(self, unit_id: str, outcome: Outcome) -> None:
        """Record what became of it."""
        ...

    async def aclose(self) -> None:
        """Release what it holds; nothing follows."""
        ...


class MemoryRecorder:
    """For a batch without a directory: images stay in the events, nothing is written, nothing is resumed."""

    def __init__(self) -> None:
        self._rows = itertools.count()
        self._requests = 0

    async def admit(
        self,
        rows: Sequence[tuple[BatchRow, CountRule]],
        *,
        price: Callable[[Unit], int | None] = unpriced,
        unreadable: int = 0,
    ) -> list[Admission]:
        """Make units; nothing tells identical rows apart but their order."""
        del price, unreadable
        units: list[Unit] = []
        for row, rule in rows:
            counts = split_count(row.count, rule)
            number = self._requests + len(units)
            # Which rows are identical would take memory for all of them; each has a name of its own instead.
            units += units_of(row, rule, counts, number=number, replica=next(self._rows))
        self._requests += len(units)
        return [Admission(unit=unit, state=State.PENDING, claimed=True) for unit in units]

    async def nothing(self, *_: object, **__: object) -> None:
        """Do nothing: there is nothing to record."""

    sent = record = aclose = nothing
