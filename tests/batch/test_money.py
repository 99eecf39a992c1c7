"""What a batch pays, and what it says that it paid: every fault that can cost money, the budget, links, retries."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path

import pytest

from nanogpt_images import AsyncClient, RetryPolicy
from nanogpt_images.batch.journal import Journal
from nanogpt_images.batch.states import State
from nanogpt_images.errors import BudgetExceededError, Charge, DownloadError
from nanogpt_images.sandbox import Fault, Sandbox, SandboxModel

MODEL = "tiny-and-fast"
PRICE_USD = 0.0001
NANO = 100_000
ATTEMPTS = RetryPolicy().max_attempts

UNKNOWN = (State.UNKNOWN, Charge.UNKNOWN, 1)
CHARGED = (State.FAILED, Charge.CHARGED, 1)
REFUSED = (State.FAILED, Charge.REJECTED, 1)
POSTPONED = (State.PENDING, Charge.REJECTED, 1)
REPEATED = (State.FAILED, Charge.REJECTED, ATTEMPTS)
DONE = (State.DONE, None, 1)

OUTCOMES = {
    # The body was written, and no complete answer came.
    "refuse": UNKNOWN,
    "reset_before_body": UNKNOWN,
    "reset_in_body": UNKNOWN,
    "stall_before_body": UNKNOWN,
    "reset_after_body": UNKNOWN,
    "reset_after_body_unbilled": UNKNOWN,
    "close_after_body": UNKNOWN,
    "reset_in_headers": UNKNOWN,
    "reset_in_response_body": UNKNOWN,
    "close_in_response_body": UNKNOWN,
    "stall_before_headers": UNKNOWN,
    "stall_in_body": UNKNOWN,
    # A gateway that does not know either, and a failure that says nothing of money.
    "500": UNKNOWN,
    "502": UNKNOWN,
    "504": UNKNOWN,
    "524": UNKNOWN,
    "html_5xx": UNKNOWN,
    "empty_5xx": UNKNOWN,
    "html_200": UNKNOWN,
    # A success that cannot be used, and a failure that says that it was billed.
    "500_billed": CHARGED,
    "endless_body": CHARGED,
    "truncated_json": CHARGED,
    "garbage_base64": CHARGED,
    "truncated_base64": CHARGED,
    "zero_images": CHARGED,
    "missing_data": CHARGED,
    # Refusals that another attempt does not mend, or that ask for more patience than this client has.
    "400": REFUSED,
    "403": REFUSED,
    "404": REFUSED,
    "409": REFUSED,
    "413": REFUSED,
    "429": POSTPONED,
    "503": POSTPONED,
    "content_policy": REFUSED,
    "integer_code": REFUSED,
    "redirect": REFUSED,
    "unknown_error_shape": REFUSED,
    # Refusals that say that nothing was charged: they are sent again.
    "408": REPEATED,
    "500_not_billed": REPEATED,
    # Odd, and a success all the same.
    "reset_at_end": DONE,
    "reset_before_last_byte": DONE,
    "wrong_content_type": DONE,
    "fewer_images": DONE,
    "more_images": DONE,
    "not_an_image": DONE,
    "huge_dimensions": DONE,
    "null_entries": DONE,
    "null_fields": DONE,
    "unknown_fields": DONE,
    "data_last": DONE,
    "decimal_string_money": DONE,
    "header_money": DONE,
    "other_currency": DONE,
    "nano_money": DONE,
    "no_money": DONE,
}
IMPATIENT = {"timeout_s": 0.8, "max_image_bytes": 2**20}


@pytest.mark.parametrize("kind", OUTCOMES)
async def test_every_fault_has_its_state_its_charge_and_its_posts(open_job, kind: str) -> None:
    """One POST for whatever may have been charged; the journal counts at least what the ledger billed, and a rerun repeats only what cost nothing."""
    state, charge, posts = OUTCOMES[kind]
    async with open_job(Fault(kind), client=IMPATIENT) as job:
        (event,), report = await job.run(job.rows(1, count=2))
        assert (event.state, event.charge, len(job.sandbox.ledger.posts)) == (state, charge, posts)
        assert report.ok == (state is State.DONE)
        totals = await job.totals()
        assert totals.units[state] == 1
        assert totals.committed_nano >= round(job.sandbox.ledger.total_usd * 1e9)
        if charge in (None, Charge.REJECTED):
            assert totals.spent_usd == pytest.approx(job.sandbox.ledger.total_usd)
            assert totals.unknown_nano == 0
        assert report.cost_usd + report.unknown_usd == pytest.approx(totals.spent_usd + totals.unknown_usd)

        job.sandbox.set_faults()
        _, again = await job.run(job.rows(1, count=2))
        assert again.requests == (charge is Charge.REJECTED)
        assert len(job.billed) <= 1


@pytest.mark.parametrize("kind", ["garbage_base64", "reset_in_response_body", "reset_before_last_byte"])
async def test_images_that_came_whole_are_kept_from_a_broken_answer(open_job, kind: str) -> None:
    """What was paid for and can be used is on disk and in results.jsonl, whatever became of the rest."""
    async with open_job(Fault(kind), image_bytes=200_000) as job:
        (event,), report = await job.run(job.rows(1, count=4))
        whole = {"garbage_base64": 0, "reset_in_response_body": 1, "reset_before_last_byte": 4}[kind]
        assert len(job.files) == len(event.images) == report.images
        assert len(job.files) >= whole
        lines = (job.out / "results.jsonl").read_text().splitlines() if whole else []
        assert len(lines) == len(job.files)
        assert not [name for name in job.files if name.startswith(".")]


@pytest.mark.parametrize(("kind", "charge"), [("500", Charge.UNKNOWN), ("zero_images", Charge.CHARGED)])
async def test_what_ended_badly_is_listed(open_job, kind: str, charge: Charge) -> None:
    """The journal names the row, the error, the money and the request to ask support about."""
    async with open_job(Fault(kind)) as job:
        await job.run(job.rows(1, key="fox"))
        (ending,) = await job.endings()
        assert (ending.unit.row.key, ending.charge, ending.attempts) == ("fox", charge, 1)
        assert ending.request_id == job.sandbox.ledger.entries[0].request_id
        assert ending.cost_usd == pytest.approx(PRICE_USD)
        assert charge.sentence.removesuffix(".") in ending.error_text


# Budget


@pytest.mark.parametrize("concurrency", [1, 8, 64])
async def test_the_ledger_never_passes_the_budget(open_job, concurrency: int) -> None:
    """At any concurrency the dearest price is reserved, and what the cheaper cost leaves is used."""
    model = SandboxModel(
        id="two/prices",
        name="Two Prices",
        owner="sandbox",
        resolutions=("64x64", "256x256"),
        prices_usd={"64x64": 0.0001, "256x256": 0.0002},
        flat=True,
    )
    async with open_job(models=[model], latency_s=(0.0, 0.03)) as job:
        rows = [{"prompt": f"prompt {number}", "model": "two/prices"} for number in range(60)]
        events, report = await job.run(rows, budget_usd=20.5 * PRICE_USD, concurrency=concurrency)
        ledger = job.sandbox.ledger
        # Of 20.5 prices 19 are spent; with 1.5 left the reservation of two does not fit any more.
        assert (len(ledger.entries), len(events), report.images) == (19, 19, 19)
        assert ledger.total_usd <= 20.5 * PRICE_USD
        assert 2 * PRICE_USD * ledger.max_in_flight <= 20.5 * PRICE_USD
        assert isinstance(report.stopped, BudgetExceededError)
        totals = await job.totals()
        assert totals.spent_usd == pytest.approx(ledger.total_usd)
        assert totals.reserved_nano == 0


async def test_what_is_reserved_counts_while_it_is_under_way(open_job) -> None:
    """As seen by the ledger, no more requests are at work at once than the budget covers."""
    async with open_job(latency_s=0.05) as job:
        await job.run(job.rows(30, resolution="64x64"), budget_usd=5 * PRICE_USD, concurrency=30)
        assert job.sandbox.ledger.max_in_flight <= 5
        assert len(job.sandbox.ledger.posts) == 5


async def test_a_resumed_job_counts_what_was_spent_before(open_job) -> None:
    """The budget is the job's, not the run's; a larger one goes on where the smaller ended."""
    async with open_job() as job:
        rows = job.rows(20, resolution="64x64")
        await job.run(rows, budget_usd=10 * PRICE_USD)
        assert len(job.billed) == 10
        _, report = await job.run(rows, budget_usd=10 * PRICE_USD)
        assert (report.requests, len(job.sandbox.ledger.posts)) == (0, 10)
        assert isinstance(report.stopped, BudgetExceededError)
        await job.run(rows, budget_usd=15 * PRICE_USD)
        assert len(job.billed) == len(set(job.billed)) == 15


async def test_an_unknown_outcome_keeps_its_worst_case_reserved(open_job) -> None:
    """It may have been paid, so its money is not given to another request, now or in a later run."""
    async with open_job(Fault("500", times=4)) as job:
        rows = job.rows(20, resolution="64x64")
        _, report = await job.run(rows, budget_usd=10 * PRICE_USD, concurrency=1)
        assert (report.unknown, report.images) == (4, 6)
        assert report.unknown_usd == pytest.approx(4 * PRICE_USD)
        _, again = await job.run(rows, budget_usd=10 * PRICE_USD)
        assert again.requests == 0


async def test_a_refusal_gives_its_money_back(open_job) -> None:
    """What was certainly not charged is spent on the rows behind it."""
    async with open_job(Fault("400", times=5)) as job:
        _, report = await job.run(job.rows(20, resolution="64x64"), budget_usd=10 * PRICE_USD, concurrency=1)
        assert (report.failed, report.images) == (5, 10)


async def test_two_processes_share_the_budget(open_job) -> None:
    """The journal counts what both have reserved and spent."""
    async with open_job(latency_s=0.01) as job:
        rows = job.rows(40, resolution="64x64")
        await asyncio.gather(
            *(
                job.run(rows, join=True, budget_usd=10 * PRICE_USD, concurrency=concurrency)
                for concurrency in (4, 8)
            )
        )
        assert 0 < len(job.sandbox.ledger.entries) <= 10


async def test_a_request_that_can_never_fit_stops_the_run_with_the_way_on(open_job) -> None:
    """A budget of nothing sends nothing."""
    async with open_job() as job:
        _, report = await job.run(job.rows(3), budget_usd=0)
        assert "Raise the budget" in str(report.stopped)
        assert job.sandbox.ledger.posts == []


UNPRICED = SandboxModel(id="no/price", name="No Price", owner="sandbox", unlisted_price_usd=0.01)


async def test_a_model_without_a_price_is_refused_under_a_budget(open_job) -> None:
    """A budget cannot be kept blindly; the text names the option."""
    async with open_job(models=[UNPRICED]) as job:
        job.sandbox.set_faults(Fault("404", route="estimate"))
        (event,), _ = await job.run([{"prompt": "a fox", "model": "no/price"}], budget_usd=1)
        assert isinstance(event.error, BudgetExceededError)
        assert (event.state, event.charge) == (State.FAILED, Charge.NOT_SENT)
        assert "assume_price_usd" in str(event.error)
        assert job.sandbox.ledger.posts == []


async def test_an_assumed_price_is_reserved(open_job) -> None:
    """With one, the model is used within the budget."""
    async with open_job(models=[UNPRICED]) as job:
        rows = [{"prompt": f"fox {number}", "model": "no/price"} for number in range(10)]
        _, report = await job.run(rows, budget_usd=0.05, assume_price_usd=0.02, concurrency=4)
        # Each reserves 0.02 and costs 0.01: with 0.01 left the next does not fit.
        assert (report.images, job.sandbox.ledger.total_usd) == (4, pytest.approx(0.04))


async def test_without_a_budget_a_model_without_a_price_is_used(open_job) -> None:
    """Nothing has to be known about money then; the service's own word is counted."""
    async with open_job(models=[UNPRICED]) as job:
        _, report = await job.run([{"prompt": "a fox", "model": "no/price"}])
        assert report.cost_usd == pytest.approx(0.01)


# Links


def links(job, count: int = 1, **fields: object) -> list[dict[str, object]]:
    """Rows whose answers are signed URLs."""
    return job.rows(count, route="openai", response_format="url", **fields)


@pytest.mark.parametrize("kind", ["url_503", "url_reset"])
async def test_a_failed_download_is_made_up_for_without_paying_again(open_job, kind: str) -> None:
    """The image stays linked, is not counted as failed, and the next run downloads it."""
    async with open_job(Fault(kind)) as job:
        (event,), report = await job.run(links(job))
        assert (event.state, event.charge) == (State.LINKED, Charge.CHARGED)
        assert isinstance(event.error, DownloadError)
        assert (report.open_downloads, report.failed, report.ok, job.files) == (1, 0, False, [])
        assert (await job.totals()).spent_usd == pytest.approx(PRICE_USD)
        job.sandbox.set_faults()
        (event,), again = await job.run(links(job))
        assert event.state is State.DONE
        assert (again.cost_usd, again.images, len(job.files)) == (0, 1, 1)
        assert (await job.totals()).spent_usd == pytest.approx(PRICE_USD)
        assert len(job.sandbox.ledger.posts) == 1


async def test_a_retry_downloads_what_is_linked(open_job) -> None:
    """`retry_batch` needs no rows to finish a download."""
    async with open_job(Fault("url_503")) as job:
        await job.run(links(job, count=2))
        job.sandbox.set_faults()
        _, report = await job.retry()
        assert (report.images, len(job.sandbox.ledger.posts)) == (2, 2)


async def test_a_download_that_breaks_off_goes_on_where_it_was(open_job) -> None:
    """Within the run and without a charge; the second request asks for the rest alone."""
    async with open_job(Fault("url_cut", times=1), image_bytes=400_000) as job:
        _, report = await job.run(links(job))
        first, second = job.sandbox.visits
        assert "Range" not in first.headers
        assert second.headers["Range"].startswith("bytes=")
        assert (report.images, len(job.sandbox.ledger.posts)) == (1, 1)


async def test_a_page_instead_of_the_image_leaves_the_link_open(open_job) -> None:
    """HTML is not taken for an image."""
    async with open_job(Fault("url_html")) as job:
        (event,), _ = await job.run(links(job))
        assert (event.state, job.files) == (State.LINKED, [])


@pytest.mark.parametrize(("refusals", "events"), [(1, 1), (3, 1), (4, 2), (30, 2)])
async def test_a_refused_download_is_made_up_for_in_the_same_run(
    open_job, refusals: int, events: int
) -> None:
    """A fresh URL that answers 404 is asked for again; what was put off ends with a second event, counted once."""
    async with open_job(Fault("404", route="files", times=refusals)) as job:
        told, report = await job.run(links(job))
        assert [event.state for event in told] == [State.LINKED, State.DONE][-events:]
        assert sum(event.cost_usd for event in told) == pytest.approx(PRICE_USD)
        assert (report.images, report.done, report.requests, report.open_downloads) == (1, 1, 1, 0)
        assert report.ok
        assert report.cost_usd == pytest.approx(PRICE_USD)
        assert (len(job.sandbox.visits), len(job.sandbox.ledger.posts)) == (refusals + 1, 1)


async def test_a_download_that_stays_refused_is_left_to_later_runs_until_its_life_is_over(
    open_job, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The run ends, bounded, with the request linked; only a run after the URL's hour finds it lost."""
    async with open_job(Fault("url_404")) as job:
        (event,), report = await job.run(links(job))
        assert (event.state, report.open_downloads, report.ok) == (State.LINKED, 1, False)
        (event,), _ = await job.run(links(job))
        assert event.state is State.LINKED
        monkeypatch.setattr(job.client._downloads, "clock", lambda: time.time() + 86_400)
        (event,), _ = await job.run(links(job))
        assert (event.state, event.charge) == (State.FAILED, Charge.CHARGED)
        assert len(job.sandbox.ledger.posts) == 1


async def test_one_lost_image_does_not_take_the_others_along(
    open_job, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What came of the same request is on disk and in the results."""
    async with open_job(Fault("404", route="files", times=1)) as job:
        monkeypatch.setattr(job.client._downloads, "clock", lambda: time.time() + 86_400)
        (event,), report = await job.run(job.rows(1, route="openai", response_format="url", count=2))
        assert (event.state, report.failed) == (State.FAILED, 1)
        assert len(job.files) == 1
        assert (await job.totals()).images == 1


@pytest.mark.parametrize("kind", ["url_expired"])
async def test_an_expired_link_is_charged_and_lost_and_never_paid_again_silently(open_job, kind: str) -> None:
    """A rerun leaves it alone and so does a plain retry; asked for by name it is paid for a second time."""
    async with open_job(Fault(kind)) as job:
        (event,), report = await job.run(links(job))
        assert (event.state, event.charge, report.failed) == (State.FAILED, Charge.CHARGED, 1)
        assert report.cost_usd == pytest.approx(PRICE_USD)
        job.sandbox.set_faults()
        _, again = await job.run(links(job))
        _, retried = await job.retry()
        assert (again.requests, retried.requests, len(job.sandbox.ledger.posts)) == (0, 0, 1)
        _, paid = await job.retry(unknown=True)
        assert (paid.images, len(job.sandbox.ledger.posts)) == (1, 2)
        assert (await job.totals()).spent_usd == pytest.approx(2 * PRICE_USD)


async def test_the_key_goes_to_no_signed_url(open_job) -> None:
    """Not in a header, nor anywhere in the directory."""
    async with open_job() as job:
        await job.run(links(job, count=2))
        assert job.sandbox.visits
        assert not any(job.sandbox.api_key in str(visit.headers) for visit in job.sandbox.visits)
        files = [path for path in job.out.rglob("*") if path.is_file()]
        assert not any(job.sandbox.api_key.encode() in path.read_bytes() for path in files)


# Retry


async def test_an_unknown_outcome_is_sent_again_on_request_alone(open_job) -> None:
    """Neither a rerun nor a plain retry pays for it; with `unknown` it is done, and its first attempt stays counted."""
    async with open_job(Fault("504", times=1)) as job:
        rows = job.rows(2, resolution="64x64")
        await job.run(rows)
        await job.run(rows)
        _, plain = await job.retry()
        assert (plain.requests, len(job.sandbox.ledger.posts)) == (0, 2)
        _, report = await job.retry(unknown=True)
        assert (report.images, len(job.sandbox.ledger.posts)) == (1, 3)
        totals = await job.totals()
        assert (totals.units[State.DONE], totals.spent_nano, totals.unknown_nano) == (2, 2 * NANO, NANO)


async def test_a_plain_retry_sends_what_failed_without_a_charge(open_job) -> None:
    """And what an interrupted run never sent."""
    async with open_job(Fault("400", times=2)) as job:
        await job.run(job.rows(5))
        _, report = await job.retry()
        assert (report.images, len(job.billed)) == (2, 5)


async def test_a_retry_keeps_to_the_budget(open_job) -> None:
    """What may have been spent by the first attempt counts against it."""
    async with open_job(Fault("504", times=1)) as job:
        await job.run(job.rows(1, resolution="64x64"))
        _, report = await job.retry(unknown=True, budget_usd=1.5 * PRICE_USD)
        assert isinstance(report.stopped, BudgetExceededError)
        assert len(job.sandbox.ledger.posts) == 1


async def test_the_looser_policy_counts_each_attempt_that_may_have_been_charged(open_job) -> None:
    """Who asks for the documented retries gets them in a batch too, and the books show what they may cost."""
    documented = RetryPolicy(repeat_unknown=True, initial_delay_s=0)
    async with open_job(Fault("504", times=2), client={"retry": documented}) as job:
        _, report = await job.run(job.rows(1, resolution="64x64"), budget_usd=3 * PRICE_USD)
        totals = await job.totals()
        assert (report.images, len(job.sandbox.ledger.posts)) == (1, 3)
        assert (totals.spent_nano, totals.unknown_nano) == (NANO, 2 * NANO)
        assert job.sandbox.ledger.total_usd == pytest.approx(totals.spent_usd + totals.unknown_usd)
        assert report.unknown_usd == pytest.approx(2 * PRICE_USD)


async def test_the_looser_policy_keeps_to_the_budget(open_job) -> None:
    """Where the money for another attempt is missing, the outcome stays unknown."""
    documented = RetryPolicy(repeat_unknown=True, initial_delay_s=0)
    async with open_job(Fault("504"), client={"retry": documented}) as job:
        (event,), _ = await job.run(job.rows(1, resolution="64x64"), budget_usd=2 * PRICE_USD)
        assert (event.state, len(job.sandbox.ledger.posts)) == (State.UNKNOWN, 2)
        assert (await job.totals()).unknown_nano == 2 * NANO


# Images that outlived a kill


async def test_an_image_that_reached_the_disk_before_a_kill_is_not_paid_for_again(
    open_job, monkeypatch
) -> None:
    """The journal did not learn of it; the next run finds it under its name and counts it as done."""
    async with open_job() as job:
        await strand(job, monkeypatch, job.rows(3, count=2))
        assert (await job.totals()).units[State.UNKNOWN] == 3
        _, report = await job.run(job.rows(3, count=2))
        assert (report.requests, report.skipped, len(job.sandbox.ledger.posts)) == (0, 3, 3)
        totals = await job.totals()
        assert (totals.units[State.DONE], totals.images) == (3, 6)
        assert len((job.out / "results.jsonl").read_text().splitlines()) == 6


@pytest.mark.parametrize("spoiled", ["gone", "cut", "no image"])
async def test_an_image_that_is_not_whole_is_no_proof(open_job, monkeypatch, spoiled: str) -> None:
    """Of a file that a power cut damaged, or that is missing, the request stays unknown."""
    async with open_job() as job:
        await strand(job, monkeypatch, job.rows(1, count=2))
        path = job.out / "images" / job.files[0]
        if spoiled == "gone":
            path.unlink()
        else:
            path.write_bytes(path.read_bytes()[:-4] if spoiled == "cut" else b"text")
        await job.run(job.rows(1, count=2))
        assert (await job.totals()).units[State.UNKNOWN] == 1


async def test_a_file_of_another_request_is_no_proof(open_job, monkeypatch) -> None:
    """A name that an edited row shares with a finished one belongs to that one."""
    async with open_job(Fault("504", prompt_contains="second")) as job:
        await job.run([{"prompt": "first", "model": MODEL, "key": "fox"}])
        await job.run([{"prompt": "second", "model": MODEL, "key": "fox"}])
        await job.run([])
        assert (await job.totals()).units[State.UNKNOWN] == 1


async def strand(job, monkeypatch, rows) -> None:
    """Run *rows* in a batch that dies between the disk and the journal."""
    with monkeypatch.context() as patch:
        patch.setattr(Journal, "record", dead)
        with pytest.raises(RuntimeError, match="killed"):
            await job.run(rows)


async def dead(*_: object, **__: object) -> None:
    """What a killed process records."""
    raise RuntimeError("killed")


async def test_a_rerun_tells_of_what_it_may_not_send_again(tmp_path: Path) -> None:
    """A request that is unknown from before is skipped by a rerun, which is not a success because of it."""
    rows = [{"prompt": "a red fox", "model": "tiny-and-fast"}, {"prompt": "a hare", "model": "tiny-and-fast"}]
    fault = Fault("reset_after_body", prompt_contains="hare", times=1)
    async with Sandbox(requests_per_second=None, faults=[fault]) as sandbox:
        async with AsyncClient(sandbox.api_key, sandbox.url) as client:
            assert (await client.run_batch(rows, out=tmp_path)).unknown == 1
            again = await client.run_batch(rows, out=tmp_path)
    assert (again.requests, again.skipped, again.unresolved, again.ok) == (0, 2, 1, False)
