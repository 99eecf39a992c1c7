"""The way of one paid request: what is written down before it leaves, and what becomes of each kind of answer."""

from __future__ import annotations

import asyncio
import base64
import json
from collections.abc import Callable
from contextlib import asynccontextmanager
from pathlib import Path

import attrs
import pytest
from fakes import PNG, Reply, ScriptedTransport
from recorders import FakeRecorder, SignedUrl, unit_of

from nanogpt_images import AsyncClient, GenerateRequest, HttpRequest, RetryPolicy
from nanogpt_images.batch.batch_options import BatchOptions
from nanogpt_images.batch.events import Tally
from nanogpt_images.batch.rows import BatchRow
from nanogpt_images.batch.run.concurrency import ConcurrencyLimit
from nanogpt_images.batch.run.executor import Executor
from nanogpt_images.batch.run.settlement import Settlement, Task
from nanogpt_images.batch.run.stop_signal import StopSignal
from nanogpt_images.batch.states import State
from nanogpt_images.client import pipeline_of
from nanogpt_images.errors import (
    BudgetExceededError,
    Charge,
    JournalError,
    OutcomeUnknownError,
    ParameterError,
)
from nanogpt_images.money.budget import Budget
from nanogpt_images.money.budget_gate import BudgetGate
from nanogpt_images.money.nano import to_nano

PRICE = to_nano(0.04)
IMAGE = base64.b64encode(PNG).decode()
SUCCESS = Reply(200, json.dumps({"data": [{"b64_json": IMAGE}], "cost": 0.03}).encode())
BUSY = Reply(429, b'{"error": {"code": "rate_limit_exceeded"}}', {"Retry-After": "0"})
LOST = OutcomeUnknownError("lost", charge=Charge.UNKNOWN)


class WatchedTransport(ScriptedTransport):
    """Tells what a recorder had been told when each request left."""

    def __init__(self, recorder: FakeRecorder, *script: Reply | Exception) -> None:
        super().__init__(*script)
        self.told_before: list[list[str]] = []
        self._recorder = recorder

    @asynccontextmanager
    async def send(self, request: HttpRequest):
        self.told_before.append(self._recorder.names)
        async with super().send(request) as response:
            yield response


class FakePacer:
    """Gives every place at once; `taken` is called for each."""

    def __init__(self) -> None:
        self.steps: list[object] = []
        self.taken: Callable[[], None] = lambda: None

    async def take(self) -> None:
        self.steps.append("taken")
        self.taken()

    def started(self) -> None:
        self.steps.append("started")

    def pause(self, seconds: float) -> None:
        self.steps.append(seconds)


@attrs.frozen
class Case:
    """An executor, and what it works with."""

    executor: Executor
    recorder: FakeRecorder
    budget: Budget
    stop_signal: StopSignal
    tally: Tally
    transport: WatchedTransport
    task: Task

    @property
    def money(self) -> tuple[int, int]:
        """Spent and reserved."""
        return self.budget.spent, self.budget.reserved


OpenCase = Callable[..., Case]


@pytest.fixture
def case(tmp_path: Path) -> OpenCase:
    """An executor of one request at PRICE, whose POSTs are answered by *script*; the client repeats at once."""
    (tmp_path / "images").mkdir()

    def opened(
        *script: Reply | Exception,
        policy: RetryPolicy | None = None,
        cap_nano: int = 10 * PRICE,
        pacer: FakePacer | None = None,
    ) -> Case:
        recorder = FakeRecorder()
        transport = WatchedTransport(recorder, *script)
        policy = policy or RetryPolicy(max_attempts=3)
        client = AsyncClient(
            "sk-nano-test",
            "http://localhost",
            transport=transport,
            retry=attrs.evolve(policy, initial_delay_s=0, jitter=0),
            requests_per_second=None,
        )
        budget, tally, stop_signal = Budget(cap_nano), Tally(), StopSignal(patience=9)
        shared = {
            "images": pipeline_of(client),
            "recorder": recorder,
            "budget_gate": BudgetGate(budget),
            "stop_signal": stop_signal,
            "tally": tally,
        }
        executor = Executor(
            **shared,
            concurrency_limit=ConcurrencyLimit(1),
            settlement=Settlement(**shared, options=BatchOptions(out=tmp_path)),
            pacers=[] if pacer is None else [pacer],
        )
        unit = unit_of(BatchRow("a fox", "m", key="fox"))
        request = GenerateRequest(model="m", prompt="a fox")
        task = Task(unit=unit, request=request, price_nano=PRICE, expected_nano=PRICE)
        return Case(executor, recorder, budget, stop_signal, tally, transport, task)

    return opened


async def test_the_intent_is_written_down_before_the_request_leaves(case: OpenCase) -> None:
    """A crash may strand a paid request, and never repeat one."""
    made = case(SUCCESS)
    event = await made.executor.execute(made.task)
    assert event is not None
    assert made.transport.told_before == [["sent"]]
    assert made.recorder.names == ["sent", "done"]
    sent = made.recorder.told[0]
    assert (sent["reserved_nano"], sent["cap_nano"]) == (PRICE, 10 * PRICE)
    assert (event.state, made.money) == (State.DONE, (to_nano(0.03), 0))


async def test_what_cannot_be_written_down_is_not_sent(case: OpenCase) -> None:
    """A full disk stops the batch before the request, which stays pending and costs nothing."""
    made = case(SUCCESS)
    made.recorder.fails["sent"] = JournalError("full")
    assert await made.executor.execute(made.task) is None
    assert (made.transport.requests, made.recorder.names, made.money) == ([], [], (0, 0))
    assert isinstance(made.stop_signal.reason, JournalError)


async def test_a_batch_that_stops_while_it_waits_for_the_pace_sends_nothing(case: OpenCase) -> None:
    """The place is given back unused, and so is the money."""
    pacer = FakePacer()
    made = case(SUCCESS, pacer=pacer)
    pacer.taken = made.stop_signal.stop
    assert await made.executor.execute(made.task) is None
    assert (made.transport.requests, made.recorder.names, made.money) == ([], [], (0, 0))


async def test_a_place_counts_from_the_moment_the_request_leaves(case: OpenCase) -> None:
    """It is taken before the journal, and starts with the first byte."""
    pacer = FakePacer()
    made = case(SUCCESS, pacer=pacer)
    seen: list[list[object]] = []

    async def watch() -> None:
        seen.append(list(pacer.steps))

    made.recorder.watch = watch
    await made.executor.execute(made.task)
    assert seen == [["taken"], ["taken", "started"]]


async def test_a_refusal_for_load_holds_up_the_whole_job(case: OpenCase) -> None:
    """The limit is the key's: what the service asked of one process holds for all that share the directory."""
    pacer = FakePacer()
    busy = attrs.evolve(BUSY, headers={"Retry-After": "7"})
    made = case(busy, policy=RetryPolicy(max_attempts=1), pacer=pacer)
    await made.executor.execute(made.task)
    assert 7.0 in pacer.steps
    assert made.executor.concurrency_limit.throttle.startswith("paused for 7 s")


async def test_a_request_refused_for_load_to_the_end_stays_pending(case: OpenCase) -> None:
    """Every attempt is closed in the journal before the next one, and none costs anything."""
    made = case(BUSY, BUSY, BUSY)
    event = await made.executor.execute(made.task)
    assert event is not None
    assert made.recorder.names == ["sent", "refused"] * 3
    assert (event.state, len(made.transport.requests), made.money) == (State.PENDING, 3, (0, 0))


async def test_a_refusal_for_load_that_was_charged_has_failed(case: OpenCase) -> None:
    """It is not left to a later run, which would pay for it again."""
    billed = Reply(429, b'{"error": {"message": "This request has been billed."}}')
    made = case(billed, SUCCESS)
    event = await made.executor.execute(made.task)
    assert event is not None
    assert (event.state, event.charge, len(made.transport.requests)) == (State.FAILED, Charge.CHARGED, 1)
    assert made.money == (PRICE, 0)


async def test_an_unknown_outcome_is_not_repeated(case: OpenCase) -> None:
    """It may have been charged."""
    made = case(LOST, SUCCESS)
    event = await made.executor.execute(made.task)
    assert event is not None
    assert (event.state, len(made.transport.requests), made.money) == (State.UNKNOWN, 1, (PRICE, 0))


async def test_a_policy_that_repeats_unknown_outcomes_pays_for_each(case: OpenCase) -> None:
    """The lost attempt stays counted, in the journal, the budget and the report."""
    made = case(LOST, SUCCESS, policy=RetryPolicy.documented())
    event = await made.executor.execute(made.task)
    assert event is not None
    assert made.recorder.names == ["sent", "repeated", "sent", "done"]
    assert (event.state, made.tally.unknown_nano) == (State.DONE, PRICE)
    assert made.money == (PRICE + to_nano(0.03), 0)


async def test_an_attempt_that_the_budget_does_not_hold_is_not_repeated(case: OpenCase) -> None:
    """One attempt fits, a second one would pass the cap."""
    made = case(LOST, SUCCESS, policy=RetryPolicy.documented(), cap_nano=2 * PRICE - 1)
    event = await made.executor.execute(made.task)
    assert event is not None
    assert (event.state, len(made.transport.requests), made.money) == (State.UNKNOWN, 1, (PRICE, 0))


async def test_what_does_not_fit_the_budget_stops_the_batch(case: OpenCase) -> None:
    """Nothing is written down or sent for it."""
    made = case(SUCCESS, cap_nano=PRICE - 1)
    assert await made.executor.execute(made.task) is None
    assert (made.transport.requests, made.recorder.names, made.money) == ([], [], (0, 0))
    assert isinstance(made.stop_signal.reason, BudgetExceededError)


async def test_a_request_that_is_broken_off_after_it_left_may_have_been_charged(case: OpenCase) -> None:
    """It is unknown in the journal, and its worst case stays spent."""
    reached = asyncio.Event()

    async def never() -> None:
        reached.set()
        await asyncio.Event().wait()

    made = case(Reply(200, [never]))
    running = asyncio.ensure_future(made.executor.execute(made.task))
    await reached.wait()
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    assert made.recorder.names == ["sent", "failed"]
    assert (made.recorder.told[1]["charge"], made.money) == (Charge.UNKNOWN, (PRICE, 0))


async def test_a_row_with_a_problem_is_not_sent(case: OpenCase) -> None:
    """Its event tells the problem; no money was ever set aside."""
    made = case(SUCCESS)
    problem = ParameterError("no such resolution")
    event = await made.executor.execute(attrs.evolve(made.task, problem=problem))
    assert event is not None
    assert (event.state, event.error, made.recorder.names) == (State.FAILED, problem, ["failed"])
    assert (made.transport.requests, made.money) == ([], (0, 0))


async def test_an_open_download_is_not_paid_for_again(case: OpenCase) -> None:
    """Where the links are known only they are fetched, and the key does not go along."""
    made = case(Reply(200, PNG))
    links = [SignedUrl(index=0, url="https://files.example/fox.png?signed=1")]
    event = await made.executor.execute(Task(unit=made.task.unit, links=links))
    assert event is not None
    (request,) = made.transport.requests
    assert (request.method, request.paid, "Authorization" in request.headers) == ("GET", False, False)
    assert (event.state, made.recorder.names, made.money) == (State.DONE, ["done"], (0, 0))
