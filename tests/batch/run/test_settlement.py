"""How a paid request ends: what the journal is told, and what becomes of the money."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import attrs
import pytest
from fakes import PNG, Reply, ScriptedTransport
from recorders import FakeRecorder, SignedUrl, unit_of

from nanogpt_images import AsyncClient, RetryPolicy
from nanogpt_images._base.sniff import sniff
from nanogpt_images.batch.batch_options import BatchOptions
from nanogpt_images.batch.events import Tally
from nanogpt_images.batch.journal import Journal
from nanogpt_images.batch.rows import BatchRow
from nanogpt_images.batch.run.later import Later
from nanogpt_images.batch.run.settlement import Phase, Settlement, Task
from nanogpt_images.batch.run.stop_signal import StopSignal
from nanogpt_images.batch.states import State
from nanogpt_images.client import pipeline_of
from nanogpt_images.errors import (
    AuthenticationError,
    BadRequestError,
    Charge,
    ContentPolicyError,
    JournalError,
    OutcomeUnknownError,
    ParameterError,
    RateLimitError,
    ResponseDecodeError,
)
from nanogpt_images.money.budget import Budget
from nanogpt_images.money.budget_gate import BudgetGate
from nanogpt_images.money.nano import to_nano
from nanogpt_images.outputs import MemoryStore
from nanogpt_images.sandbox import Fault
from nanogpt_images.types.result import GenerationResult, Image, ReceivedImage

WORST, EXPECTED = to_nano(0.05), to_nano(0.04)
LINK = "https://files.example/fox.png?signed=1"


@attrs.frozen
class Case:
    """A settlement, and what it works with."""

    settlement: Settlement
    recorder: FakeRecorder
    budget: Budget
    stop_signal: StopSignal
    tally: Tally
    task: Task
    transport: ScriptedTransport

    @property
    def money(self) -> tuple[int, int]:
        """Spent and reserved."""
        return self.budget.spent, self.budget.reserved

    def result(self, images: int = 1, **facts: object) -> GenerationResult:
        """An answer with so many images on the disk."""
        kept = [Image(index=i, path=self.path(i), media_type="image/png", sha256="d") for i in range(images)]
        return GenerationResult(**{"images": tuple(kept), "model": "m", "prompt": "a fox", **facts})

    def path(self, index: int) -> Path:
        out = self.settlement.out
        assert out is not None
        return out / "images" / f"fox-{index}.png"

    @property
    def linked(self) -> GenerationResult:
        """An answer whose image waits behind its link."""
        return attrs.evolve(self.result(0), images=(Image(index=0, url=LINK),))


OpenCase = Callable[..., Case]


@pytest.fixture
def case(tmp_path: Path) -> OpenCase:
    """A settlement of a request for *count* images whose worst case is reserved; *script* answers its downloads."""
    (tmp_path / "images").mkdir()

    def opened(
        *script: Reply | Exception, count: int = 1, later: Later | None = None, **options: object
    ) -> Case:
        transport = ScriptedTransport(*script)
        client = AsyncClient(
            "sk-nano-test", "http://localhost", transport=transport, retry=RetryPolicy.none()
        )
        recorder, budget, tally = FakeRecorder(), Budget(to_nano(1)), Tally()
        stop_signal = StopSignal(patience=9)
        settlement = Settlement(
            images=pipeline_of(client),
            recorder=recorder,
            budget_gate=BudgetGate(budget),
            stop_signal=stop_signal,
            tally=tally,
            options=BatchOptions(out=tmp_path, **options),
            later=later,
        )
        unit = unit_of(BatchRow("a fox", "m", key="fox", count=count))
        task = Task(unit=unit, price_nano=WORST, expected_nano=EXPECTED)
        assert budget.reserve(task.price_nano)
        return Case(settlement, recorder, budget, stop_signal, tally, task, transport)

    return opened


async def test_a_stated_cost_is_spent_and_written_down(case: OpenCase) -> None:
    """What the service says it cost takes the place of the reservation."""
    made = case()
    event = await made.settlement.succeeded(made.task, made.result(cost_usd=0.02, request_id="r-7"))
    (told,) = made.recorder.told
    assert (told.what, told["cost_nano"], told["request_id"]) == ("done", to_nano(0.02), "r-7")
    assert (event.state, event.cost_usd, made.money) == (State.DONE, 0.02, (to_nano(0.02), 0))


async def test_an_unstated_cost_is_the_expected_one(case: OpenCase) -> None:
    """Where the answer is silent, the catalogue's price is counted, and not the worst case."""
    made = case()
    await made.settlement.succeeded(made.task, made.result())
    assert (made.recorder.told[0]["cost_nano"], made.money) == (EXPECTED, (EXPECTED, 0))


async def test_a_link_is_written_down_before_its_download(case: OpenCase) -> None:
    """A download that breaks off can be repeated, because its address was kept first."""

    async def seen() -> None:
        assert made.recorder.names == ["linked"]

    made = case(Reply(200, [seen, PNG]))
    event = await made.settlement.succeeded(made.task, made.linked)
    assert made.recorder.names == ["linked", "done"]
    assert made.recorder.told[0]["links"] == [SignedUrl(index=0, url=LINK)]
    assert (event.state, made.money) == (State.DONE, (EXPECTED, 0))


async def test_a_download_that_fails_for_now_stays_open(case: OpenCase) -> None:
    """One refusal of a fresh link proves nothing: it waits for another try."""
    later = Later(1, RetryPolicy(max_attempts=2))
    made = case(Reply(404), later=later)
    event = await made.settlement.succeeded(made.task, made.linked)
    assert made.recorder.names == ["linked", "postponed"]
    assert (event.state, made.tally.open_downloads, len(later._waiting)) == (State.LINKED, 1, 1)


async def test_a_link_whose_life_is_over_is_lost(case: OpenCase) -> None:
    """It was charged, and says so; nothing is settled a second time."""
    made = case(Reply(404))
    task = attrs.evolve(made.task, linked_at=0.0)
    event = await made.settlement.download(task, made.linked, cost=0)
    (told,) = made.recorder.told
    assert (told.what, told["charge"], event.state) == ("failed", Charge.CHARGED, State.FAILED)
    assert made.money == (0, WORST)


@pytest.mark.parametrize("charge", [Charge.NOT_SENT, Charge.REJECTED])
async def test_a_refusal_frees_its_reservation(case: OpenCase, charge: Charge) -> None:
    """Nothing was charged, so nothing is spent."""
    made = case()
    error = BadRequestError("too long", status=400, charge=charge)
    event = await made.settlement.failed(made.task, error, journalled=True)
    assert event is not None
    (told,) = made.recorder.told
    assert (told.what, told["charge"], told["cost_nano"]) == ("failed", charge, None)
    assert (event.state, event.cost_usd, made.money) == (State.FAILED, 0.0, (0, 0))


async def test_the_stated_cost_of_a_charged_failure_is_written_down(case: OpenCase) -> None:
    """A moderation that blocked cost a little, and not the price of the image that it blocked."""
    made = case()
    error = ContentPolicyError("no", status=400, charge=Charge.CHARGED, cost_usd=0.001)
    event = await made.settlement.failed(made.task, error, journalled=True)
    assert event is not None
    assert made.recorder.told[0]["cost_nano"] == to_nano(0.001)
    assert (event.cost_usd, made.money) == (0.001, (to_nano(0.001), 0))


async def test_a_charged_answer_without_an_image_costs_what_it_says(case: OpenCase) -> None:
    """The cost of a broken answer is known from the answer itself."""
    made = case(count=2)
    error = ResponseDecodeError("broken", charge=Charge.CHARGED)
    error.partial = made.result(images=1, cost_usd=0.03)
    await made.settlement.failed(made.task, error, journalled=True)
    (told,) = made.recorder.told
    assert (told.what, told["cost_nano"], len(told["images"])) == ("failed", to_nano(0.03), 1)
    assert made.money == (to_nano(0.03), 0)


async def test_a_charged_failure_of_unknown_cost_is_counted_at_its_worst(case: OpenCase) -> None:
    """No answer says less."""
    made = case()
    error = ResponseDecodeError("broken", charge=Charge.CHARGED)
    await made.settlement.failed(made.task, error, journalled=True)
    assert (made.recorder.told[0]["cost_nano"], made.money) == (WORST, (WORST, 0))


async def test_an_unknown_outcome_is_counted_at_its_worst(case: OpenCase) -> None:
    """It may have been charged; what it cost is not invented for the journal."""
    made = case()
    event = await made.settlement.failed(
        made.task, OutcomeUnknownError("lost", charge=Charge.UNKNOWN), journalled=True
    )
    assert event is not None
    (told,) = made.recorder.told
    assert (told["charge"], told["cost_nano"]) == (Charge.UNKNOWN, None)
    assert (event.state, made.tally.unknown_nano, made.money) == (State.UNKNOWN, WORST, (WORST, 0))


async def test_all_images_in_spite_of_an_error_are_a_success(case: OpenCase) -> None:
    """Only the end of the JSON was missing: asking again would pay again."""
    made = case(count=2)
    error = OutcomeUnknownError("cut", charge=Charge.UNKNOWN)
    error.partial = made.result(images=2)
    event = await made.settlement.failed(made.task, error, journalled=True)
    assert event is not None
    assert (made.recorder.names, event.state) == (["done"], State.DONE)
    assert "all images came" in event.result.problems[0]


@pytest.mark.parametrize(("journalled", "told"), [(True, ["refused"]), (False, [])])
async def test_what_concerns_all_requests_leaves_this_one_pending(
    case: OpenCase, journalled: bool, told: list[str]
) -> None:
    """A wrong key stops the batch; the request that found out cost nothing, and is sent by the next run."""
    made = case()
    error = AuthenticationError("no", status=401, charge=Charge.REJECTED)
    assert await made.settlement.failed(made.task, error, journalled=journalled) is None
    assert (made.recorder.names, made.stop_signal.reason, made.money) == (told, error, (0, 0))


async def test_a_row_with_a_problem_settles_nothing(case: OpenCase) -> None:
    """It was never reserved, so nothing is given back for it."""
    made = case()
    problem = ParameterError("no such resolution")
    task = attrs.evolve(made.task, problem=problem)
    event = await made.settlement.failed(task, problem, journalled=False)
    assert event is not None
    assert (event.state, made.recorder.names, made.money) == (State.FAILED, ["failed"], (0, WORST))


async def test_a_journal_that_cannot_write_settles_all_the_same(case: OpenCase) -> None:
    """The money is spent, whatever the disk says."""
    made = case()
    made.recorder.fails["done"] = JournalError("full")
    with pytest.raises(JournalError):
        await made.settlement.succeeded(made.task, made.result(cost_usd=0.02))
    assert made.money == (to_nano(0.02), 0)


async def test_a_refusal_for_load_stays_pending(case: OpenCase) -> None:
    """It cost nothing and may be sent at any later time; nobody is told once the batch stops."""
    made = case()
    error = RateLimitError("busy", status=429, charge=Charge.REJECTED)
    event = await made.settlement.refused(made.task, error, journalled=True)
    assert event is not None
    assert (event.state, made.recorder.names, made.money) == (State.PENDING, ["refused"], (0, 0))
    made.stop_signal.stop()
    assert made.budget.reserve(WORST)
    assert await made.settlement.refused(made.task, error, journalled=True) is None


@pytest.mark.parametrize(
    ("phase", "told", "money"),
    [
        (Phase.WAITING, [], (0, 0)),
        (Phase.RECORDING, ["refused"], (0, 0)),
        (Phase.SENT, ["failed"], (WORST, 0)),
    ],
)
async def test_a_cancelled_request_is_counted_once_it_was_sent(
    case: OpenCase, phase: Phase, told: list[str], money: tuple[int, int]
) -> None:
    """Before it left, nothing was spent; afterwards it may have been charged."""
    made = case()
    await made.settlement.cancelled(made.task, phase, MemoryStore())
    assert (made.recorder.names, made.money) == (told, money)
    assert [entry["charge"] for entry in made.recorder.told] == [
        Charge.UNKNOWN if what == "failed" else None for what in told
    ]


@pytest.mark.parametrize(("arrived", "told"), [(1, "failed"), (2, "done")])
async def test_a_cancelled_request_keeps_what_came(case: OpenCase, arrived: int, told: str) -> None:
    """All of its images make it done; some are kept, and the rest stays unknown."""
    made = case(count=2)
    kept = [
        ReceivedImage(index=index, info=sniff(PNG), size_bytes=len(PNG), path=made.path(index))
        for index in range(arrived)
    ]
    await made.settlement.cancelled(
        made.task, Phase.SENT, SimpleNamespace(kept=kept, links=(), request_id=None)
    )
    (entry,) = made.recorder.told
    assert (entry.what, len(entry["images"])) == (told, arrived)


async def test_images_that_are_elsewhere_have_no_path(case: OpenCase) -> None:
    """Their files are gone once they are in the store, so no event names them."""
    made = case(images_url="s3://bucket")
    event = await made.settlement.succeeded(made.task, made.result())
    assert [image.path for image in event.images] == [None]


CUT = Fault("close_in_response_body", times=1)


def linked(job, count: int = 4) -> list[dict[str, object]]:
    """A row whose answer is signed URLs."""
    return job.rows(1, count=count, route="openai", response_format="url")


@pytest.mark.parametrize("repeat_unknown", [False, True])
async def test_links_of_an_answer_that_broke_off_are_downloaded(open_job, repeat_unknown: bool) -> None:
    """
    Whole URLs of half an answer become images at once; the request stays unknown for what is missing.

    A policy that repeats unknown outcomes does not repeat this one: what came would be bought twice, and be lost.
    """
    policy = RetryPolicy(initial_delay_s=0, repeat_unknown=repeat_unknown)
    async with open_job(CUT, client={"retry": policy}) as job:
        (event,), report = await job.run(linked(job))
        assert (event.state, event.charge) == (State.UNKNOWN, Charge.UNKNOWN)
        kept = [image for image in event.images if image.path is not None]
        assert 0 < len(kept) < 4
        assert (report.images, report.unknown, report.done) == (len(kept), 1, 0)
        assert len(job.files) == len(kept) == (await job.totals()).images
        assert len((job.out / "results.jsonl").read_text().splitlines()) == len(kept)
        assert (await job.totals()).followed_links == 0
        # What is missing is bought only on request, and the images stay.
        _, again = await job.run(linked(job))
        assert (again.skipped, again.unresolved, len(job.billed)) == (1, 1, 1)
        await job.retry(unknown=True)
        assert len(job.billed) == 2


@pytest.mark.parametrize("how", ["resume", "join", "retry", "retry unknown"])
async def test_links_that_could_not_be_downloaded_are_tried_by_the_next_run(open_job, how: str) -> None:
    """A later run downloads what an answer brought, whatever it is asked for, and does not pay for it again."""
    async with open_job(CUT, Fault("url_503")) as job:
        (event,), report = await job.run(linked(job))
        assert (event.state, report.images, report.unknown) == (State.UNKNOWN, 0, 1)
        assert (await job.totals()).followed_links == 1
        job.sandbox.set_faults()
        if how in ("resume", "join"):
            events, again = await job.run(linked(job), join=how == "join")
        else:
            events, again = await job.retry(unknown=how == "retry unknown")
        assert len(job.billed) == 1
        assert again.images == len(job.files) > 0
        assert [found.state for found in events] == [State.UNKNOWN]
        assert (again.skipped, again.unresolved, again.ok) == (1, 1, False)
        totals = await job.totals()
        assert (totals.units[State.UNKNOWN], totals.followed_links) == (1, 0)
        assert totals.images == again.images


async def test_a_request_whose_links_bring_all_images_is_done(open_job) -> None:
    """Where the images on disk and those behind the links are all that was asked for, nothing is unknown any more."""
    async with open_job(CUT, Fault("url_503")) as job:
        await job.run(linked(job))
        job.sandbox.set_faults()
        async with await Journal.open(job.out, service=None) as journal:
            # As of a request for as many images as came.
            await journal._run(
                lambda store: store.connection.execute("UPDATE unit SET images = json_array_length(links)")
            )
        (event,), report = await job.retry()
        assert (event.state, report.done, report.unresolved) == (State.DONE, 1, 0)
        assert report.images == len(job.files) > 0
        totals = await job.totals()
        assert (totals.units[State.DONE], totals.unknown_nano) == (1, 0)
        assert totals.spent_nano > 0
        assert len(job.billed) == 1


@pytest.mark.parametrize("refusals", [4, 30])
async def test_links_that_answer_late_are_downloaded_in_the_same_run(open_job, refusals: int) -> None:
    """What was put off comes with a second event, and is counted once."""
    async with open_job(CUT, Fault("404", route="files", times=refusals)) as job:
        events, report = await job.run(linked(job))
        assert [event.state for event in events] == [State.UNKNOWN, State.UNKNOWN]
        assert (report.unknown, report.requests, report.images) == (1, 1, len(job.files))
        assert report.images > 0


async def test_links_whose_life_is_over_are_given_up(open_job, monkeypatch) -> None:
    """Links that are refused after their hour leave the request unknown, and no further run asks for them."""
    async with open_job(CUT, Fault("404", route="files")) as job:
        monkeypatch.setattr(job.client._downloads, "clock", lambda: time.time() + 86_400)
        _, report = await job.run(linked(job))
        assert (report.images, report.unknown) == (0, 1)
        totals = await job.totals()
        assert (totals.units[State.UNKNOWN], totals.followed_links) == (1, 0)
        await job.retry(unknown=True)
        assert len(job.billed) == 2


async def test_a_damaged_answer_that_was_charged_keeps_its_links(open_job) -> None:
    """An answer of JSON that ends in its middle was charged for certain; its whole URLs become images as well."""
    async with open_job(Fault("truncated_json", times=1)) as job:
        (event,), report = await job.run(linked(job))
        assert (event.state, event.charge) == (State.FAILED, Charge.CHARGED)
        assert report.images == len(job.files) == (await job.totals()).images > 0
        assert len(job.billed) == 1


async def test_day_old_links_do_not_keep_a_request_from_being_bought(open_job, monkeypatch) -> None:
    """Files are kept for a day: after it `retry_batch(unknown=True)` pays again, whatever the links' host says."""
    async with open_job(CUT, Fault("url_503")) as job:
        await job.run(linked(job))
        job.sandbox.set_faults(Fault("url_503", times=1))
        async with await Journal.open(job.out, service=None) as journal:
            await journal._run(
                lambda store: store.connection.execute("UPDATE unit SET linked_at = linked_at - 100000")
            )
        _, report = await job.retry(unknown=True)
        assert (report.done, report.images, len(job.billed)) == (1, 4, 2)
