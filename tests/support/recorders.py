"""A journal for units under test: it keeps what it was told, and writes nothing."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence

import attrs

from nanogpt_images.batch.journal import Admission
from nanogpt_images.batch.outcomes import ImageRecord, Outcome, SignedUrl
from nanogpt_images.batch.recorder import MemoryRecorder
from nanogpt_images.batch.rows import BatchRow
from nanogpt_images.batch.units import Unit, units_of
from nanogpt_images.types.parameters import CountRule, split_count

__all__ = ["FakeRecorder", "ImageRecord", "SignedUrl", "Told", "unit_of"]


def unit_of(row: BatchRow, rule: CountRule = CountRule(maximum=4)) -> Unit:  # noqa: B008
    """The only request of *row*."""
    (unit,) = units_of(row, rule, split_count(row.count, rule))
    return unit


async def _nothing() -> None:
    """Nobody looks."""


@attrs.frozen
class Told:
    """What a recorder was told: the name of the step or outcome, of which unit, and its facts."""

    what: str
    unit_id: str
    facts: Mapping[str, object]

    def __getitem__(self, name: str) -> object:
        return self.facts.get(name)


class FakeRecorder:
    """
    A `Recorder` that keeps what it was told, in order.

    Attributes:
        told: Everything but admissions.
        fails: What is raised instead, by the name of the step or outcome.
        watch: Awaited before a step or an outcome is kept.
        admits: Changes what a row is admitted as; by default it is pending and claimed.
        prices: What each new unit was planned to cost.
    """

    def __init__(self) -> None:
        self.told: list[Told] = []
        self.fails: dict[str, Exception] = {}
        self.watch: Callable[[], Awaitable[None]] = _nothing
        self.admits: Callable[[Admission], Admission] = lambda admission: admission
        self.prices: list[int | None] = []
        self._rows = MemoryRecorder()

    @property
    def names(self) -> list[str]:
        return [told.what for told in self.told]

    async def admit(
        self,
        rows: Sequence[tuple[BatchRow, CountRule]],
        *,
        price: Callable[[Unit], int | None],
        unreadable: int = 0,
    ) -> list[Admission]:
        admissions = await self._rows.admit(rows)
        self.prices += [price(admission.unit) for admission in admissions]
        return [self.admits(admission) for admission in admissions]

    async def sent(self, unit_id: str, reserved_nano: int, *, cap_nano: int | None = None) -> None:
        await self._keep("sent", unit_id, reserved_nano=reserved_nano, cap_nano=cap_nano)

    async def record(self, unit_id: str, outcome: Outcome) -> None:
        await self._keep(type(outcome).__name__.lower(), unit_id, **attrs.asdict(outcome, recurse=False))

    async def aclose(self) -> None:
        """Nothing is open."""

    async def _keep(self, what: str, unit_id: str, **facts: object) -> None:
        await self.watch()
        if what in self.fails:
            raise self.fails[what]
        self.told.append(Told(what, unit_id, facts))
