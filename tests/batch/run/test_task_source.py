"""From rows to tasks: what is read when, what is sent at what price, and what is not sent at all."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Callable, Iterator

import attrs
import pytest
from fakes import Reply, ScriptedTransport
from recorders import FakeRecorder, SignedUrl

from nanogpt_images import AsyncClient, RetryPolicy
from nanogpt_images.batch.batch_options import BatchOptions
from nanogpt_images.batch.events import Tally
from nanogpt_images.batch.journal import Admission
from nanogpt_images.batch.rows import BatchRow
from nanogpt_images.batch.run.settlement import Task
from nanogpt_images.batch.run.task_source import TaskSource
from nanogpt_images.batch.states import State
from nanogpt_images.errors import (
    BudgetExceededError,
    ConnectError,
    ManifestError,
    NotFoundError,
    ParameterError,
)
from nanogpt_images.money.nano import to_nano

PRICES = {"1024x1024": 0.01, "2048x2048": 0.03}
MODELS = [
    {
        "id": "m",
        "pricing": {"per_image": PRICES},
        "supported_parameters": {"resolutions": list(PRICES), "max_images": 4},
    },
    {"id": "unpriced", "supported_parameters": {"max_images": 1}},
]
LISTING = Reply(200, json.dumps({"object": "list", "data": MODELS}).encode())

Collect = Callable[..., TaskSource]


@pytest.fixture
def recorder() -> FakeRecorder:
    return FakeRecorder()


@pytest.fixture
def source(recorder: FakeRecorder) -> Collect:
    """A source of tasks over a catalogue of two models; *script* answers instead."""

    def made(*script: Reply | Exception, needs_price: bool = False, **options: object) -> TaskSource:
        transport = ScriptedTransport(*(script or [LISTING, LISTING, *[Reply(404)] * 4]))
        client = AsyncClient(
            "sk-nano-test", "http://localhost", transport=transport, retry=RetryPolicy.none()
        )
        return TaskSource(
            catalog=client.catalog,
            recorder=recorder,
            tally=Tally(),
            options=BatchOptions(**options),
            needs_price=needs_price,
        )

    return made


async def tasks_of(source: TaskSource, *rows: object) -> list[Task]:
    return [task async for task in source.tasks(list(rows))]


def row(**fields: object) -> dict[str, object]:
    return {"prompt": "a fox", "model": "m", **fields}


async def test_a_task_reserves_the_dearest_reading_of_its_row(source: Collect) -> None:
    """Without a resolution the service may take any: the worst case is the dearest, the expected one is less."""
    (task,) = await tasks_of(source(), row(count=2))
    assert (task.price_nano, task.expected_nano) == (to_nano(0.06), to_nano(0.02))


async def test_a_row_becomes_as_many_tasks_as_its_model_needs(source: Collect) -> None:
    """Ten images at four a request."""
    tasks = await tasks_of(source(), row(count=10))
    assert [task.request.n for task in tasks if task.request] == [4, 4, 2]


async def test_a_new_request_is_planned_at_its_expected_price(
    source: Collect, recorder: FakeRecorder
) -> None:
    """Nothing is planned for one that will not be sent, and no price is invented for one without any."""
    rows = [row(resolution="2048x2048"), row(resolution="9x9"), row(model="unpriced")]
    await tasks_of(source(), *rows)
    assert recorder.prices == [to_nano(0.03), 0, None]


async def test_what_is_done_is_left_out(source: Collect, recorder: FakeRecorder) -> None:
    """A rerun pays for nothing that the journal has; it counts what it skips."""
    recorder.admits = lambda admission: attrs.evolve(admission, state=State.DONE, claimed=False)
    made = source()
    assert await tasks_of(made, row()) == []
    assert (made.tally.rows, made.tally.skipped) == (1, 1)


async def test_an_open_download_is_a_task_without_a_request(source: Collect, recorder: FakeRecorder) -> None:
    """Its images are paid for: nothing but their links is left to be done."""
    links = (SignedUrl(index=0, url="https://files.example/fox.png"),)

    def linked(admission: Admission) -> Admission:
        return attrs.evolve(admission, state=State.LINKED, links=links, linked_at=3.0, request_id="r-1")

    recorder.admits = linked
    (task,) = await tasks_of(source(), row())
    assert (task.request, task.price_nano, task.links) == (None, 0, links)
    assert (task.linked_at, task.request_id) == (3.0, "r-1")


async def test_an_unknown_model_is_a_problem_unless_nothing_is_checked(source: Collect) -> None:
    """With validate=False the service decides."""
    (task,) = await tasks_of(source(), row(model="no-such-model"))
    assert isinstance(task.problem, NotFoundError)
    (task,) = await tasks_of(source(validate=False), row(model="no-such-model"))
    assert (task.problem, task.request is not None) == (None, True)


async def test_what_the_model_does_not_offer_is_not_sent(source: Collect) -> None:
    """The row fails by itself; those beside it go on."""
    bad, good = await tasks_of(source(), row(resolution="9x9"), row())
    assert (bad.request, good.problem) == (None, None)
    assert isinstance(bad.problem, ParameterError)


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        ({"needs_price": True}, BudgetExceededError),
        ({"needs_price": True, "assume_price_usd": 0.05}, None),
        ({}, None),
    ],
)
async def test_a_budget_needs_a_price(
    source: Collect, options: dict[str, object], problem: type[Exception] | None
) -> None:
    """A model without one is not sent where money is counted, unless the caller assumes one."""
    (task,) = await tasks_of(source(**options), row(model="unpriced"))
    assert (type(task.problem) if task.problem else None) is problem
    assert task.price_nano == (to_nano(0.05) if "assume_price_usd" in options else 0)


async def test_a_price_that_cannot_be_right_is_not_paid(source: Collect) -> None:
    """A thousand dollars for one request is a mistake of the catalogue, or of the caller."""
    (task,) = await tasks_of(source(assume_price_usd=1001), row(model="unpriced"))
    assert isinstance(task.problem, ParameterError)


async def test_rows_are_read_as_they_are_wanted(source: Collect) -> None:
    """The first request of a million rows leaves after some dozen were read."""
    read: list[int] = []

    def rows() -> Iterator[dict[str, object]]:
        for number in range(1000):
            read.append(number)
            yield row(prompt=f"fox {number}")

    tasks = source().tasks(rows())
    assert (await anext(tasks)).unit.row.prompt == "fox 0"
    assert len(read) == 32
    await tasks.aclose()


async def test_rows_that_arrive_one_by_one_go_on_one_by_one(source: Collect) -> None:
    """Nobody knows how long the next one takes."""
    read: list[int] = []

    async def rows() -> AsyncIterator[dict[str, object]]:
        for number in range(3):
            read.append(number)
            yield row(prompt=f"fox {number}")

    tasks = source().tasks(rows())
    await anext(tasks)
    assert read == [0]
    await tasks.aclose()


async def test_a_row_that_cannot_be_read_is_named_by_its_place(source: Collect) -> None:
    """The first two are fine, the third has no prompt."""
    with pytest.raises(ManifestError, match="3"):
        await tasks_of(source(), row(), row(prompt="a hare"), {"model": "m"})


async def test_defaults_fill_what_rows_lack(source: Collect) -> None:
    """The model of the batch, and its parameters."""
    (task,) = await tasks_of(source(model="m", defaults={"resolution": "2048x2048"}), "a fox")
    assert task.unit.row == BatchRow("a fox", "m", resolution="2048x2048")


async def test_a_service_that_is_not_there_ends_the_reading(source: Collect) -> None:
    """It is better said once than for every row."""
    with pytest.raises(ConnectError):
        await tasks_of(source(ConnectError("no"), ConnectError("no")), row())


async def test_a_catalogue_that_fails_does_not_stop_the_rows(source: Collect) -> None:
    """They go out unchecked, one image each."""
    (task, _) = await tasks_of(source(Reply(500), Reply(500)), row(count=2))
    assert (task.problem, task.request.n if task.request else None) == (None, 1)


async def test_what_the_journal_holds_open_becomes_tasks(source: Collect, recorder: FakeRecorder) -> None:
    """A retry has no rows of its own."""
    (done,) = await tasks_of(source(), row())

    async def open_units() -> AsyncIterator[Admission]:
        yield Admission(unit=done.unit, state=State.PENDING, claimed=True)

    (task,) = [task async for task in source().resumed(open_units())]
    assert (task.unit, task.price_nano) == (done.unit, to_nano(0.03))
