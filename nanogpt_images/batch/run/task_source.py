"""From rows to tasks: read lazily, plan, admit to the journal in chunks."""

from __future__ import annotations

import itertools
from collections.abc import AsyncIterable, AsyncIterator, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from functools import partial
from typing import Final, TypeAlias, TypeVar

import attrs

from ..._base.threads import in_thread
from ...errors import (
    ConnectError,
    ManifestError,
    NanoGPTError,
    NotFoundError,
    ParameterError,
)
from ...money.nano import MAX_REQUEST_USD, to_nano
from ...resources.catalog import Catalog
from ...resources.checks import checked
from ...resources.prices.moderation_price import ModerationPrice
from ...resources.prices.pricing import budget_fault
from ...types.model import Model
from ...types.parameters import ONE_IMAGE, CountRule
from ..batch_options import BatchOptions
from ..events import Tally
from ..journal import Admission
from ..journal.results import divide_images
from ..manifest.reader import ManifestRows
from ..planning.listed import with_listed
from ..planning.pricing import Price, unit_price
from ..planning.requests import problem_of, request_of
from ..recorder import Recorder
from ..rows import BatchRow
from ..sweeps import rows_of
from ..units import Unit
from .settlement import Task

Row: TypeAlias = BatchRow | Mapping[str, object] | str
Rows: TypeAlias = Iterable[Row] | AsyncIterable[Row]
_Known: TypeAlias = tuple[Model | None, NanoGPTError | None]
T = TypeVar("T")

# The first chunk is small so that the first request leaves at once; later ones share a commit.
_FIRST_CHUNK: Final = 32
_CHUNK: Final = 256
_MANY_UNITS: Final = 10_000


@attrs.frozen(kw_only=True)
class TaskSource:
    """
    Makes tasks of rows.

    Attributes:
        options: The batch's.
        needs_price: A budget is set, so a request without a known price cannot be sent.
        moderation: What a check of each request costs on top.
    """

    catalog: Catalog
    recorder: Recorder
    tally: Tally
    options: BatchOptions
    needs_price: bool = False
    moderation: ModerationPrice = attrs.field(factory=lambda: ModerationPrice({}))

    async def tasks(self, rows: Rows) -> AsyncIterator[Task]:
        """
        Yield the tasks of *rows*, in order, without those that are done already.

        A row that cannot be read fails by itself: requests of other rows may have been paid for.

        Raises:
            ManifestError: A row among the first ones cannot be read, before any request was made.
        """
        number = itertools.count(1)
        items: Iterable[Row | ManifestError] | AsyncIterable[Row] = rows
        if isinstance(rows, ManifestRows):
            items = rows.rest()
        async for chunk in chunks(items):
            await self._divide_images()
            # One row of a caller may be a sweep of many.
            made = (row for item in chunk for row in self._rows_of(item, next(number)))
            while found := _take(made, _CHUNK):
                rows_made = [row for row in found if isinstance(row, BatchRow)]
                unreadable = [error for error in found if isinstance(error, ManifestError)]
                if unreadable and self.tally.rows == 0:
                    raise unreadable[0]
                self.tally.rows += len(unreadable)
                for error in unreadable:
                    yield _unreadable(error, self.options.model)
                planned = [await self._planned_row(row) for row in rows_made]
                rules = [(row, _rule(model)) for row, model, _ in planned]
                self.tally.rows += len(planned)
                by_row = {id(row): (model, problem) for row, model, problem in planned}
                price = partial(self._planned, by_row)
                for admission in await self.recorder.admit(rules, price=price, unreadable=len(unreadable)):
                    model, problem = by_row.get(id(admission.unit.row), (None, None))
                    self.tally.units += 1
                    if admission.claimed:
                        yield self.task(admission, model, problem)
                    else:
                        self.tally.skip(admission.state)

    def _rows_of(self, item: Row | ManifestError, position: int) -> Iterator[BatchRow | ManifestError]:
        options = self.options
        if isinstance(item, ManifestError):
            yield item
            return
        line = item.line if isinstance(item, BatchRow) else position
        try:
            yield from rows_of(
                item, model=options.model, defaults=options.defaults, line=line, number=position
            )
        except ManifestError as error:
            yield error

    async def _planned_row(self, row: BatchRow) -> tuple[BatchRow, Model | None, NanoGPTError | None]:
        model, problem = await self._model(row)
        if not row.columns or model is None:
            return row, model, problem
        try:
            listed = with_listed(row, model)
        except ManifestError as error:
            return row, model, problem or error
        # What it is checked and priced by are all of its parameters.
        if listed.parameters != row.parameters:
            model, problem = await self._model(listed)
        return listed, model, problem

    async def resumed(self, admissions: AsyncIterator[Admission]) -> AsyncIterator[Task]:
        """Yield the tasks of what the journal itself holds open."""
        await self._divide_images()
        async for admission in admissions:
            model, problem = await self._model(admission.unit.row)
            yield self.task(admission, model, problem)

    async def _divide_images(self) -> None:
        """Have images go into folders from now on, where the job turns out to be large."""
        tally, out = self.tally, self.options.out
        if out is None or tally.is_divided or max(tally.units_expected, tally.units) <= _MANY_UNITS:
            return
        await in_thread(divide_images, out)
        tally.is_divided = True

    def task(self, admission: Admission, model: Model | None, problem: NanoGPTError | None) -> Task:
        """Make the task of one unit."""
        unit = admission.unit
        if admission.links:
            return Task(
                unit=unit,
                links=admission.links,
                linked_at=admission.linked_at,
                request_id=admission.request_id,
                kept=admission.kept,
                charge=admission.charge,
            )
        if problem is not None:
            return Task(unit=unit, problem=problem)
        try:
            request = request_of(unit.row, unit.n)
            if self.options.validate and model is not None:
                request = checked(request, model)
        except NanoGPTError as error:
            return Task(unit=unit, problem=error)
        price = self._price(unit, model)
        if (fault := self._price_fault(unit, price)) is not None:
            return Task(unit=unit, problem=fault)
        check_nano = self.moderation.reserve_nano
        return Task(
            unit=unit,
            request=request,
            price_nano=(price.high_nano if price else 0) + check_nano,
            expected_nano=(price.expected_nano if price else 0) + check_nano,
        )

    def _price(self, unit: Unit, model: Model | None) -> Price | None:
        priced = model or Model(id=unit.row.model)
        return unit_price(priced, unit.row, unit.images, self.options.assume_price_usd)

    def _planned(self, by_row: Mapping[int, _Known], unit: Unit) -> int | None:
        """Return what a new unit is planned to cost (nano-USD); 0 where it will not be sent, None where that is unknown."""
        model, problem = by_row.get(id(unit.row), (None, None))
        if problem is not None:
            return 0
        try:
            price = self._price(unit, model)
        except ManifestError:
            return 0
        if self._price_fault(unit, price) is not None:
            return 0
        return None if price is None else price.expected_nano

    def _price_fault(self, unit: Unit, price: Price | None) -> NanoGPTError | None:
        if self.needs_price and (fault := budget_fault(unit.row.model, price)) is not None:
            return fault
        too_much = price is not None and price.high_nano > to_nano(MAX_REQUEST_USD)
        return _beyond_measure(unit) if too_much else None

    async def _model(self, row: BatchRow) -> tuple[Model | None, NanoGPTError | None]:
        model = self.catalog.cached(row.model)
        if model is None:
            try:
                model = await self.catalog.get(row.model)
            except NotFoundError as error:
                return None, error if self.options.validate else None
            except ConnectError:
                # The service is unreachable: say so once, not for every row.
                raise
            except NanoGPTError:
                return None, None
        problem = problem_of(row, model) if self.options.validate else None
        if problem is None and self.needs_price:
            # What the endpoint metadata states dearer than the listings is what a budget must count with.
            with suppress(NanoGPTError):
                model = await self.catalog.priced(model.id)
                if self.options.assume_price_usd is None:
                    model = await self.catalog.filled(model, request_of(row, None))
        return model, problem


async def chunks(rows: Iterable[T] | AsyncIterable[T]) -> AsyncIterator[Sequence[T]]:
    """
    Read *rows* in chunks, only as they are needed.

    A list or tuple is sliced in place; any other iterable may do I/O of its own and is read in a thread. Rows of
    an async iterable are passed on one by one: the next one may take any time.
    """
    if isinstance(rows, AsyncIterable):
        async for row in rows:
            yield [row]
        return
    in_memory = isinstance(rows, Sequence)
    iterator = iter(rows)
    size = _FIRST_CHUNK
    while True:
        if in_memory:
            chunk: Sequence[T] = _take(iterator, size)
        else:
            chunk = await in_thread(_take, iterator, size)
        if not chunk:
            return
        yield chunk
        size = _CHUNK


def _take(iterator: Iterator[T], size: int) -> list[T]:
    return list(itertools.islice(iterator, size))


def _unreadable(error: ManifestError, model: str | None) -> Task:
    """Make the task of a row that cannot be read: it has nothing but its place and what is wrong."""
    place = "a row" if error.line is None else f"line {error.line}"
    row = BatchRow("-", model or "-", key=place).evolved(prompt="", model=model or "", line=error.line)
    unit = Unit(id="", row=row, n=None, images=0, part=0, parts=1, first_index=0, replica=0)
    return Task(unit=unit, problem=error, is_readable=False)


def row_of(item: Row, position: int, options: BatchOptions) -> BatchRow:
    """Make the row at *position* of its source, counted from 1, with what *options* say for rows that lack it."""
    line = item.line if isinstance(item, BatchRow) else position
    return BatchRow.of(item, model=options.model, defaults=options.defaults, line=line, number=position)


def _rule(model: Model | None) -> CountRule:
    return ONE_IMAGE if model is None else model.count_rule


def _beyond_measure(unit: Unit) -> ParameterError:
    return ParameterError(
        f"{unit.images:,} image(s) of {unit.row.model} would cost more than ${MAX_REQUEST_USD:,} by the catalogue or "
        "assume_price_usd, which cannot be right.",
        model=unit.row.model,
    )
