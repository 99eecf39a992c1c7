"""From rows to tasks: read lazily, plan, admit to the journal in chunks."""

from __future__ import annotations

import itertools
from collections.abc import AsyncIterable, AsyncIterator, Iterable, Iterator, Mapping, Sequence
from functools import partial
from typing import Final, TypeAlias, TypeVar

import attrs

from ..._base.threads import in_thread
from ...errors import (
    BudgetExceededError,
    ConnectError,
    ManifestError,
    NanoGPTError,
    NotFoundError,
    ParameterError,
)
from ...money.nano import MAX_REQUEST_USD, to_nano
from ...resources.catalog import Catalog
from ...resources.checks import checked
from ...resources.moderation_price import ModerationPrice
from ...resources.pricing import needs_offers
from ...types.model import Model
from ...types.parameters import ONE_IMAGE, CountRule
from ..events import Tally
from ..journal import Admission
from ..planning.pricing import Price, unit_price
from ..planning.requests import problem_of, request_of
from ..recorder import Recorder
from ..rows import BatchRow
from ..states import State
from ..units import Unit
from .settlement import Task

Row: TypeAlias = BatchRow | Mapping[str, object] | str
Rows: TypeAlias = Iterable[Row] | AsyncIterable[Row]
_Known: TypeAlias = tuple[Model | None, NanoGPTError | None]
T = TypeVar("T")

# The first chunk is small so that the first request leaves at once; later ones share a commit.
_FIRST_CHUNK: Final = 32
_CHUNK: Final = 256


@attrs.frozen(kw_only=True)
class TaskSource:
    """
    Makes tasks.

    Attributes:
        model: ID for rows that name none.
        defaults: Parameters for rows that lack them.
        validate: Check rows against the catalogue.
        assume_price_usd: USD per image where no price is known.
        needs_price: A budget is set, so a request without a known price cannot be sent.
        moderation: What a check of each request costs on top.
    """

    catalog: Catalog
    recorder: Recorder
    tally: Tally
    model: str | None = None
    defaults: Mapping[str, object] = attrs.field(factory=dict[str, object])
    validate: bool = True
    assume_price_usd: float | None = None
    needs_price: bool = False
    moderation: ModerationPrice = attrs.field(factory=lambda: ModerationPrice({}))

    async def tasks(self, rows: Rows) -> AsyncIterator[Task]:
        """
        Tasks of *rows*, in order; what is done already is left out.

        Raises:
            ManifestError: A row cannot be read.
        """
        number = itertools.count(1)
        async for chunk in chunks(rows):
            planned: list[tuple[BatchRow, Model | None, NanoGPTError | None]] = []
            for item in chunk:
                position = next(number)
                row = BatchRow.of(item, model=self.model, defaults=self.defaults, line=_line(item, position))
                model, problem = await self._model(row)
                planned.append((row, model, problem))
            rules = [(row, _rule(model)) for row, model, _ in planned]
            self.tally.rows += len(chunk)
            by_row = {id(row): (model, problem) for row, model, problem in planned}
            price = partial(self._planned, by_row)
            for admission in await self.recorder.admit(rules, price=price):
                model, problem = by_row.get(id(admission.unit.row), (None, None))
                if admission.claimed:
                    yield self.task(admission, model, problem)
                else:
                    self.tally.skip(admission.state)

    async def resumed(self, admissions: AsyncIterator[Admission]) -> AsyncIterator[Task]:
        """Tasks of what the journal itself holds open."""
        async for admission in admissions:
            model, problem = await self._model(admission.unit.row)
            yield self.task(admission, model, problem)

    def task(self, admission: Admission, model: Model | None, problem: NanoGPTError | None) -> Task:
        """What is to be done for one unit."""
        unit = admission.unit
        if admission.state is State.LINKED:
            return Task(
                unit=unit,
                links=admission.links,
                linked_at=admission.linked_at,
                request_id=admission.request_id,
            )
        if problem is not None:
            return Task(unit=unit, problem=problem)
        try:
            request = request_of(unit.row, unit.n)
            if self.validate and model is not None:
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
        return unit_price(priced, unit.row, unit.images, self.assume_price_usd)

    def _planned(self, by_row: Mapping[int, _Known], unit: Unit) -> int | None:
        """What a new unit is planned to cost; nothing where it will not be sent."""
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
        if price is None:
            return _unpriced(unit.row.model) if self.needs_price else None
        return _beyond_measure(unit) if price.high_nano > to_nano(MAX_REQUEST_USD) else None

    async def _model(self, row: BatchRow) -> tuple[Model | None, NanoGPTError | None]:
        model = self.catalog.cached(row.model)
        if model is None:
            try:
                model = await self.catalog.get(row.model)
            except NotFoundError as error:
                return None, error if self.validate else None
            except ConnectError:
                # Nobody is there: better to say so once than for every row.
                raise
            except NanoGPTError:
                return None, None
        problem = problem_of(row, model) if self.validate else None
        if problem is None and self.needs_price:
            model = await self._priced(row, model)
        return model, problem

    async def _priced(self, row: BatchRow, model: Model) -> Model:
        """*model* with all prices that a budget needs for *row*."""
        try:
            request = request_of(row, None)
            priced = await self.catalog.priced(model.id) if needs_offers(model, request) else model
            return priced if self.assume_price_usd is not None else await self.catalog.filled(priced, request)
        except NanoGPTError:
            return model


async def chunks(rows: Rows) -> AsyncIterator[Sequence[Row]]:
    """
    *rows* in chunks, read only as they are wanted.

    A list or tuple is sliced in place; any other iterable may do I/O of its own and is read in a thread. Rows of
    an async iterable go on one by one: nobody knows how long the next one takes.
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
            chunk: Sequence[Row] = _take(iterator, size)
        else:
            chunk = await in_thread(_take, iterator, size)
        if not chunk:
            return
        yield chunk
        size = _CHUNK


def _take(iterator: Iterator[T], size: int) -> list[T]:
    return list(itertools.islice(iterator, size))


def _line(item: Row, position: int) -> int | None:
    return item.line if isinstance(item, BatchRow) else position


def _rule(model: Model | None) -> CountRule:
    return ONE_IMAGE if model is None else model.count_rule


def _unpriced(model_id: str) -> BudgetExceededError:
    return BudgetExceededError(
        f"no price is known for {model_id}, so a budget cannot be kept. Nothing was sent; "
        "pass assume_price_usd (--assume-price) or leave the budget out."
    )


def _beyond_measure(unit: Unit) -> ParameterError:
    return ParameterError(
        f"{unit.images:,} image(s) of {unit.row.model} would cost more than ${MAX_REQUEST_USD:,} by the catalogue or "
        "assume_price_usd, which cannot be right. Nothing was sent.",
        model=unit.row.model,
    )
