"""A batch from its rows to its report."""

from __future__ import annotations

import asyncio
import itertools
import json
import random
import re
import socket
import sqlite3
import time
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import closing
from pathlib import Path

import anyio
import attrs
import pytest
from fakes import unmarked
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from nanogpt_images import AsyncClient, RetryPolicy
from nanogpt_images.batch.events import BatchReport
from nanogpt_images.batch.journal import Admission, Journal
from nanogpt_images.batch.rows import BatchRow
from nanogpt_images.batch.run.concurrency import ConcurrencyLimit
from nanogpt_images.batch.runner import Batch
from nanogpt_images.batch.states import State
from nanogpt_images.errors import (
    AuthenticationError,
    BadRequestError,
    BudgetExceededError,
    Charge,
    ConfigurationError,
    ConnectError,
    ContentPolicyError,
    DailyLimitError,
    DownloadError,
    InsufficientBalanceError,
    JournalError,
    ManifestError,
    NotFoundError,
    OutputError,
    ParameterError,
    RateLimitError,
    ServerError,
)
from nanogpt_images.sandbox import Fault
from nanogpt_images.transport.pacing.limiter import RateLimiter
from nanogpt_images.transport.pacing.pacer import FILE_NAME
from nanogpt_images.transport.pacing.shared_window import SharedWindow, _read
from nanogpt_images.types.parameters import split_count

MODEL = "tiny-and-fast"


async def test_rows_become_files(open_job) -> None:
    """Each prompt is paid for once, and each image is a file of its own."""
    async with open_job() as job:
        events, report = await job.run(job.rows(10))
        assert report.ok
        assert (report.rows, report.requests, report.images) == (10, 10, 10)
        assert len(job.files) == 10
        assert job.billed == sorted(f"prompt {number}" for number in range(10))
        assert {event.key for event in events} == {unmarked(Path(name).stem) for name in job.files}
        assert report.cost_usd == job.sandbox.ledger.total_usd


async def test_a_rerun_sends_nothing(open_job) -> None:
    """What is done in a directory is not paid for again."""
    async with open_job() as job:
        await job.run(job.rows(10))
        posts = len(job.sandbox.ledger.posts)
        events, report = await job.run(job.rows(10))
        assert len(job.sandbox.ledger.posts) == posts
        assert (events, report.requests, report.skipped) == ([], 0, 10)


async def test_the_order_of_the_rows_does_not_matter(open_job) -> None:
    """The same rows shuffled, with counts and repetitions, are the same work."""
    async with open_job() as job:
        rows = [*job.rows(4, count=3), *job.rows(4), *job.rows(2)]
        _, report = await job.run(rows)
        random.Random(1).shuffle(rows)
        _, again = await job.run(rows)
        assert (again.requests, again.skipped) == (0, report.requests)


async def test_added_rows_are_the_only_new_work(open_job) -> None:
    """A manifest that grows costs what was added."""
    async with open_job() as job:
        await job.run(job.rows(3))
        await job.run(job.rows(5))
        assert job.billed == sorted(f"prompt {number}" for number in range(5))


async def test_identical_rows_are_told_apart(open_job) -> None:
    """Three times the same row makes three images, in this run and in the next ones."""
    async with open_job() as job:
        rows = [{"prompt": "a fox", "model": MODEL, "key": "fox"}] * 3
        await job.run(rows)
        _, again = await job.run(rows)
        assert sorted(map(unmarked, job.files)) == ["fox-r2.png", "fox-r3.png", "fox.png"]
        assert (len(job.billed), again.skipped) == (3, 3)


@pytest.mark.parametrize("read", ["generator", "async generator"])
async def test_rows_are_read_as_they_are_needed(open_job, read: str) -> None:
    """A million rows behind a generator are not fetched to pay for the first ones."""
    taken = 0

    def generate():
        nonlocal taken
        for number in range(1_000_000):
            taken += 1
            yield {"prompt": f"prompt {number}", "model": MODEL}

    async def generate_async():
        for row in generate():
            yield row

    async with open_job() as job:
        rows = generate() if read == "generator" else generate_async()
        async with job.client.batch(rows, out=job.out, concurrency=2) as run:
            await anext(run)
        # One chunk in the making, one of tasks, and what workers and events hold.
        assert taken <= 32 + 256 + 3 * 2 + 1


async def test_an_async_source_that_waits_for_ever_does_not_keep_a_left_batch_open(open_job) -> None:
    """Leaving early ends the wait for rows."""

    async def rows():
        for row in job.rows(32):
            yield row
        await asyncio.Event().wait()

    async with open_job() as job:
        with anyio.fail_after(20):
            async with job.client.batch(rows(), out=job.out, concurrency=2) as run:
                await anext(run)


async def test_one_failing_row_never_ends_the_run(open_job) -> None:
    """The others go on, and the failure is an event with its error and charge."""
    async with open_job(Fault("content_policy", prompt_contains="prompt 3")) as job:
        events, report = await job.run(job.rows(8))
        (failed,) = [event for event in events if not event.ok]
        assert (report.failed, report.images) == (1, 7)
        assert isinstance(failed.error, BadRequestError)
        assert (failed.state, failed.charge, failed.cost_usd) == (State.FAILED, Charge.REJECTED, 0.0)


async def test_a_rerun_sends_what_failed_without_a_charge_again(open_job) -> None:
    """A row that was refused has its chance in the next run."""
    async with open_job(Fault("content_policy", prompt_contains="prompt 3", times=1)) as job:
        await job.run(job.rows(8))
        _, report = await job.run(job.rows(8))
        assert (report.requests, report.images, report.skipped) == (1, 1, 7)
        assert len(job.billed) == 8


@pytest.mark.parametrize("count", [1, 4, 10])
async def test_counts_are_split_as_split_count_says(open_job, count: int) -> None:
    """What the ledger saw as n is what the model's rule gives, and the images are numbered through."""
    async with open_job() as job:
        rule = (await job.client.catalog.get(MODEL)).count_rule
        await job.run(job.rows(1, count=count, key="fox"))
        assert sorted(entry.n for entry in job.sandbox.ledger.entries) == sorted(split_count(count, rule))
        names = ["fox.png"] if count == 1 else [f"fox-{index}.png" for index in range(count)]
        assert sorted(map(unmarked, job.files)) == sorted(names)


async def test_a_model_of_a_least_count_gets_no_request_below_it(open_job) -> None:
    """Five images of a model that makes 2 to 4 are 3 and 2, never 4 and 1."""
    async with open_job() as job:
        await job.run([{"prompt": "a fox", "model": "pairs-and-more", "count": 5}])
        assert sorted(entry.n for entry in job.sandbox.ledger.entries) == [2, 3]


async def test_a_fixed_count_model_is_sent_no_n(open_job) -> None:
    """Its surplus images are kept and charged like the others."""
    async with open_job() as job:
        _, report = await job.run([{"prompt": "a fox", "model": "midjourney-like/grid", "count": 6}])
        assert [entry.n for entry in job.sandbox.ledger.entries] == [None, None]
        assert report.images == len(job.files) == job.sandbox.ledger.total_images == 8


async def test_the_openai_route_takes_its_own_parameters(open_job) -> None:
    """`size` goes out on the other route."""
    async with open_job() as job:
        await job.run(job.rows(2, route="openai", size="256x256"))
        assert {entry.route for entry in job.sandbox.ledger.entries} == {"openai"}
        assert job.sandbox.ledger.total_usd == pytest.approx(2 * 0.0002)


async def test_urls_are_in_the_journal_before_they_are_downloaded(open_job) -> None:
    """Whoever looks at the journal while the first download arrives finds its request linked."""
    states: list[list[str]] = []
    async with open_job() as job:
        downloads = job.client._downloads
        fetch_all = downloads.fetch_all

        async def watched(links, store, **more):
            def read():
                with closing(sqlite3.connect(job.out / "journal.db")) as journal, journal:
                    return [state for (state,) in journal.execute("SELECT state FROM unit")]

            states.append(await anyio.to_thread.run_sync(read))
            return await fetch_all(links, store, **more)

        downloads.fetch_all = watched
        _, report = await job.run(job.rows(1, route="openai", response_format="url"))
        assert states == [["linked"]]
        assert report.ok
        assert len(job.files) == 1


@pytest.mark.parametrize("join", [False, True])
async def test_a_download_stays_owed_whatever_becomes_of_its_row(open_job, join: bool) -> None:
    """A rerun whose manifest has lost the row downloads what was paid for, and buys nothing for it."""
    async with open_job() as job:
        downloads = job.client._downloads
        fetch_all = downloads.fetch_all

        async def unreachable(*_: object, **__: object) -> object:
            raise DownloadError("the host does not answer")

        downloads.fetch_all, retry = unreachable, downloads.retry
        downloads.retry = RetryPolicy.none()
        _, report = await job.run(job.rows(2, route="openai", response_format="url"))
        assert (report.open_downloads, job.files) == (2, [])
        downloads.fetch_all, downloads.retry = fetch_all, retry
        _, report = await job.run(job.rows(3)[2:], join=join)
        assert report.ok
        assert (report.done, report.images, len(job.files), len(job.billed)) == (3, 3, 3, 3)


async def test_a_b64_answer_to_a_url_request_is_a_normal_answer(open_job) -> None:
    """The documented fallback ends in a file like any other."""
    async with open_job(Fault("b64_fallback")) as job:
        _, report = await job.run(job.rows(3, route="openai", response_format="url"))
        assert report.ok
        assert len(job.files) == 3
        assert job.sandbox.visits == []


async def test_without_a_directory_images_stay_in_the_events(open_job) -> None:
    """Nothing is written, and identical rows are still two requests."""
    async with open_job() as job:
        rows = [{"prompt": "a fox", "model": MODEL}] * 2
        events, report = await job.run(rows, out=None)
        assert all(event.images[0].data.startswith(b"\x89PNG") for event in events)
        assert (report.images, len(job.billed)) == (2, 2)
        assert not job.out.exists()


async def test_without_a_directory_urls_stay_urls(open_job) -> None:
    """The caller asked for links and has no place for files."""
    async with open_job() as job:
        events, report = await job.run(job.rows(1, route="openai", response_format="url"), out=None)
        assert events[0].images[0].url.startswith(job.sandbox.files_url)
        assert report.ok


async def test_every_event_is_also_told_to_the_callback(open_job) -> None:
    """`on_event` sees what the iterator yields."""
    told = []
    async with open_job() as job:
        events, _ = await job.run(job.rows(5), on_event=told.append)
        assert Counter(map(id, told)) == Counter(map(id, events))


async def test_a_block_without_a_loop_runs_to_the_end(open_job) -> None:
    """Entering and leaving is enough."""
    async with open_job() as job:
        async with job.client.batch(job.rows(5), out=job.out) as run:
            pass
        assert run.report.images == 5


async def test_run_batch_gives_the_report(open_job) -> None:
    """The short form."""
    async with open_job() as job:
        assert (await job.client.run_batch(job.rows(5), out=job.out)).images == 5


async def test_leaving_early_lets_end_what_is_under_way_and_sends_nothing_more(open_job) -> None:
    """What was paid for is on disk and in the journal, the rest is pending; a rerun finishes."""
    async with open_job(latency_s=0.05) as job:
        async with job.client.batch(job.rows(50), out=job.out, concurrency=5) as run:
            await anext(run)
        totals = await job.totals()
        assert 1 <= len(job.billed) <= 15
        assert totals.units[State.DONE] == len(job.billed) == len(job.files)
        assert totals.units[State.SENT] == totals.units[State.UNKNOWN] == 0
        await job.run(job.rows(50))
        assert len(job.billed) == len(set(job.billed)) == 50


async def test_draining_does_not_wait_for_the_pace(open_job) -> None:
    """Requests that wait for their turn are not started one by one to find out that the batch stops."""
    async with open_job() as job:
        await job.client.catalog.list()
        job.client._sender.keys.lanes[0].limiter = RateLimiter(0.01)
        with anyio.fail_after(20):
            async with job.client.batch(job.rows(20), out=job.out, concurrency=10) as run:
                await anext(run)
        assert len(job.sandbox.ledger.posts) == 1


async def test_draining_does_not_wait_for_a_back_off(open_job) -> None:
    """A request that was refused and waits for its next attempt is pending when the batch is left."""
    patient = RetryPolicy(initial_delay_s=60, max_delay_s=60)
    async with open_job(Fault("503_limiter", prompt_contains="prompt 0"), client={"retry": patient}) as job:
        with anyio.fail_after(20):
            async with job.client.batch(job.rows(2), out=job.out) as run:
                await anext(run)
        assert (await job.totals()).units[State.PENDING] == 1


async def test_cancelling_makes_what_was_sent_unknown(open_job) -> None:
    """Broken off in flight, it may have been charged: it is listed, and not sent again by a rerun."""
    async with open_job(Fault("stall_before_headers", times=3)) as job:
        with anyio.move_on_after(30) as scope:
            async with job.client.batch(job.rows(6), out=job.out, concurrency=3):
                while len(job.sandbox.ledger.entries) < 3:
                    await asyncio.sleep(0.01)
                scope.cancel()
                await anyio.sleep_forever()
        assert scope.cancelled_caught
        totals = await job.totals()
        assert (totals.units[State.UNKNOWN], totals.units[State.PENDING]) == (3, 3)
        assert totals.unknown_nano == 3 * 100_000
        assert {ending.error_type for ending in await job.endings()} == {"CancelledError"}
        job.sandbox.set_faults()
        _, report = await job.run(job.rows(6))
        assert (report.requests, report.skipped) == (3, 3)


async def test_a_cancelled_task_breaks_off_what_is_under_way(open_job) -> None:
    """`task.cancel()` cancels once, unlike a cancel scope; the batch ends all the same, with the rest unsent."""
    async with open_job(Fault("stall_before_headers", times=3)) as job:

        async def work() -> None:
            async with job.client.batch(job.rows(6), out=job.out, concurrency=3):
                await asyncio.Event().wait()

        task = asyncio.create_task(work())
        while len(job.sandbox.ledger.entries) < 3:
            await asyncio.sleep(0.01)
        task.cancel()
        await asyncio.wait([task], timeout=30)
        assert task.cancelled()
        totals = await job.totals()
        assert (totals.units[State.UNKNOWN], totals.units[State.PENDING]) == (3, 3)


async def test_an_exception_in_the_block_lets_end_what_is_under_way(open_job) -> None:
    """A caller's mistake while handling an event costs no image."""
    async with open_job(latency_s=0.05) as job:
        with pytest.raises(ZeroDivisionError):
            await stumble(job.client.batch(job.rows(20), out=job.out, concurrency=4))
        totals = await job.totals()
        assert totals.units[State.DONE] == len(job.billed) == len(job.files)


async def stumble(batch: Batch) -> None:
    """Fail at the first event."""
    async with batch as run:
        async for _ in run:
            raise ZeroDivisionError


async def test_a_failing_callback_lets_end_what_is_under_way(open_job) -> None:
    """It is raised when the images that are being paid for are on disk."""

    def fail(_: object) -> None:
        raise ZeroDivisionError

    async with open_job(latency_s=0.05) as job:
        with pytest.raises(ZeroDivisionError):
            await job.run(job.rows(20), concurrency=4, on_event=fail)
        totals = await job.totals()
        assert totals.units[State.DONE] == len(job.billed) == len(job.files)
        assert totals.units[State.UNKNOWN] == 0


async def test_a_bad_row_further_down_fails_by_itself(open_job) -> None:
    """Requests have left by then: it is named, all others are made, and a rerun pays for none of them again."""
    async with open_job() as job:
        rows = [*job.rows(40), {"model": MODEL}, *job.rows(60)[40:]]
        for _ in range(2):
            events, report = await job.run(iter(rows), concurrency=4)
            (bad,) = [event for event in events if not event.ok]
            assert isinstance(bad.error, ManifestError)
            assert "41" in str(bad.error)
            assert "no prompt" in str(bad.error)
            assert (bad.state, bad.charge, bad.cost_usd, bad.images) == (State.FAILED, Charge.NOT_SENT, 0, ())
            assert (report.rows, report.failed, report.stopped) == (61, 1, None)
        totals = await job.totals()
        assert totals.units[State.DONE] == len(job.billed) == len(job.files) == 60


async def test_a_bad_row_among_the_first_ones_ends_the_batch_before_anything_is_sent(open_job) -> None:
    """It is more likely that all of them are wrong."""
    async with open_job() as job:
        rows = [*job.rows(10), {"model": MODEL}, *job.rows(60)]
        with pytest.raises(ManifestError, match=r"11.*no prompt"):
            await job.run(iter(rows))
        assert job.billed == []


@given(
    wrong=st.sets(st.integers(32, 99), max_size=20),
    stops=st.lists(st.integers(1, 60), max_size=2),
)
@settings(max_examples=15, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
async def test_wrong_rows_anywhere_in_a_manifest_cost_nothing_and_keep_nothing_back(
    open_job, tmp_path_factory: pytest.TempPathFactory, wrong: set[int], stops: list[int]
) -> None:
    """Whatever rows are wrong and however often the job is stopped, each right row is paid for once."""
    directory = tmp_path_factory.mktemp("job")
    manifest = directory / "rows.jsonl"
    texts = ["{" if number in wrong else json.dumps({"prompt": f"p{number}"}) for number in range(100)]
    manifest.write_text("\n".join(texts))
    async with open_job() as opened:
        job = attrs.evolve(opened, out=directory / "out")
        for stop in (*stops, None):
            async with job.client.batch(manifest, out=job.out, concurrency=4, model=MODEL) as run:
                seen = 0
                async for _ in run:
                    seen += 1
                    if seen == stop:
                        break
        assert run.report.failed == len(wrong)
        assert (run.report.rows, run.report.unread) == (100, 0)
        assert (await job.totals()).manifests[0].unread == 0
        assert job.billed == sorted(f"p{number}" for number in range(100) if number not in wrong)


async def test_a_source_that_breaks_costs_no_image(open_job) -> None:
    """The same for an exception of the caller's own generator."""

    def rows():
        yield from job.rows(40)
        raise KeyError("gone")

    async with open_job(latency_s=0.05) as job:
        with pytest.raises(KeyError, match="gone"):
            await job.run(rows(), concurrency=4)
        assert (await job.totals()).units[State.UNKNOWN] == 0


async def test_rows_that_no_model_accepts_fail_and_are_not_sent(open_job) -> None:
    """An unknown model and a wrong parameter are failed rows; near matches are named."""
    async with open_job() as job:
        rows = [
            {"prompt": "one", "model": "tiny-and-fats"},
            {"prompt": "two", "model": MODEL, "resolution": "9x9"},
            {"prompt": "three", "model": MODEL, "extra": 5},
            {"prompt": "four", "model": MODEL},
        ]
        events, report = await job.run(rows)
        errors = {event.unit.row.prompt: event for event in events if not event.ok}
        assert isinstance(errors["one"].error, NotFoundError)
        assert MODEL in str(errors["one"].error)
        assert isinstance(errors["two"].error, ParameterError)
        assert isinstance(errors["three"].error, ManifestError)
        assert {event.charge for event in errors.values()} == {Charge.NOT_SENT}
        assert job.billed == ["four"]
        assert (report.failed, report.stopped) == (3, None)


async def test_without_validation_a_row_that_makes_no_request_still_fails_alone(open_job) -> None:
    """What cannot be encoded is a failed row, checked or not."""
    async with open_job() as job:
        rows = [{"prompt": "one", "model": MODEL, "extra": 5}, {"prompt": "two", "model": MODEL}]
        _, report = await job.run(rows, validate=False)
        assert (report.failed, report.images) == (1, 1)


async def test_a_row_that_is_not_validated_is_judged_by_the_service(open_job) -> None:
    """An unknown model goes out and comes back as 404."""
    async with open_job() as job:
        events, _ = await job.run([{"prompt": "one", "model": "new/model"}], validate=False)
        assert isinstance(events[0].error, NotFoundError)
        assert (events[0].charge, len(job.sandbox.ledger.posts)) == (Charge.REJECTED, 1)


@pytest.mark.parametrize(
    ("kind", "error"),
    [("401", AuthenticationError), ("402", InsufficientBalanceError), ("429_daily", DailyLimitError)],
)
async def test_what_concerns_the_key_stops_the_run_and_leaves_the_rows_pending(open_job, kind, error) -> None:
    """The reason is in the report, no row fails for it, and a rerun goes on."""
    async with open_job(Fault(kind, skip=3)) as job:
        events, report = await job.run(job.rows(20), concurrency=2)
        assert isinstance(report.stopped, error)
        assert (len(events), report.failed, report.images) == (3, 0, 3)
        assert len(job.sandbox.ledger.posts) <= 3 + 2
        assert (await job.totals()).units[State.PENDING] == 17
        job.sandbox.set_faults()
        _, report = await job.run(job.rows(20))
        assert (report.images, report.stopped) == (17, None)


async def test_no_key_stops_before_anything_is_sent(open_job) -> None:
    """Both ways on are named."""
    async with open_job() as job, AsyncClient(base_url=job.sandbox.url) as client:
        report = await client.run_batch(job.rows(3), out=job.out)
        assert isinstance(report.stopped, ConfigurationError)
        assert "NANOGPT_API_KEY" in str(report.stopped)
        assert job.sandbox.ledger.posts == []


async def test_a_closed_port_is_one_clear_error(tmp_path) -> None:
    """Not one for each row."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        url = f"http://127.0.0.1:{server.getsockname()[1]}"
    async with AsyncClient("sk-nano-test", url, retry=RetryPolicy(initial_delay_s=0)) as client:
        rows = [{"prompt": str(number), "model": MODEL} for number in range(100)]
        with pytest.raises(ConnectError, match="Nothing was sent"):
            await client.run_batch(rows, out=tmp_path / "out")


async def test_a_service_that_goes_away_stops_the_run(open_job) -> None:
    """After a row of failures to connect the rest stays pending instead of failing."""
    async with open_job() as job:
        await job.client.catalog.list()
        job.client._sender._base_url = "http://127.0.0.1:9"
        _, report = await job.run(job.rows(100), concurrency=2)
        assert isinstance(report.stopped, ConnectError)
        assert report.failed == 7
        assert (await job.totals()).units[State.PENDING] == 32 - 7


async def test_a_disk_that_takes_no_images_stops_the_run(open_job) -> None:
    """What was paid for by then is told as charged; nothing more is sent."""
    async with open_job() as job:
        async with job.client.batch(job.rows(20), out=job.out, concurrency=1) as run:
            (job.out / "images").rmdir()
            (job.out / "images").write_text("in the way")
            events = [event async for event in run]
        assert isinstance(run.report.stopped, OutputError)
        assert [event.charge for event in events] == [Charge.CHARGED]
        assert len(job.billed) == 1


async def test_a_journal_that_cannot_be_written_stops_the_run(open_job, monkeypatch) -> None:
    """Without a record nothing more is sent; what is under way reaches the disk, and the next run finds it there."""
    async with open_job(latency_s=0.02) as job:
        record = Journal.record
        calls = itertools.count(1)

        async def full(self, *args, **named):
            if next(calls) >= 3:
                raise JournalError("the disk is full")
            await record(self, *args, **named)

        with monkeypatch.context() as patch:
            patch.setattr(Journal, "record", full)
            with pytest.raises(JournalError, match="disk is full"):
                await job.run(job.rows(20), concurrency=4)
        billed = len(job.billed)
        assert billed == len(job.files) < 20
        _, report = await job.run(job.rows(20))
        assert (report.skipped, report.images) == (billed, 20 - billed)
        assert len(job.billed) == len(set(job.billed)) == 20


async def test_no_start_stays_open(open_job) -> None:
    """Each place in the shared window is given back when its body leaves, also that of a request that is refused."""
    async with open_job(Fault("400", times=2), client={"requests_per_second": 100}) as job:
        await job.run(job.rows(10))
        now = time.monotonic()
        (window,) = job.out.glob(f"{FILE_NAME}-*")
        with window.open("rb") as file:
            times = _read(file.fileno()).starts
        assert len(times) == 10
        assert max(times) <= now


async def test_two_processes_do_not_pay_twice(open_job) -> None:
    """Two that joined one directory with the same rows share the work."""
    async with open_job(latency_s=0.01) as job:
        (_, one), (_, other) = await asyncio.gather(
            job.run(job.rows(60), join=True, concurrency=4), job.run(job.rows(60), join=True, concurrency=4)
        )
        assert len(job.billed) == len(set(job.billed)) == one.images + other.images == 60
        assert one.images > 0
        assert other.images > 0


async def test_a_model_that_changes_its_range_is_not_paid_twice(open_job) -> None:
    """What was made of a row counts, whatever its model makes per request now; only the rest is asked for."""
    async with open_job(Fault("content_policy", times=1)) as job:
        (model,) = (found for found in job.sandbox.models if found.id == MODEL)
        rows = job.rows(1, count=4)
        job.sandbox.set_models([attrs.evolve(model, images_max=1)])
        _, report = await job.run(rows)
        assert (report.images, report.failed, job.sandbox.ledger.total_images) == (3, 1, 3)
        job.sandbox.set_models([attrs.evolve(model, images_max=4)])
        await job.client.catalog.list(refresh=True)
        _, report = await job.run(rows, budget_usd=1)
        assert (report.images, report.skipped, job.sandbox.ledger.total_images) == (1, 3, 4)
        _, report = await job.run(rows)
        assert (report.requests, len(job.files)) == (0, 4)


async def test_the_first_does_what_one_that_joined_left(open_job) -> None:
    """Also the process that came first, without join, takes over what another claimed and did not do."""
    async with open_job(latency_s=0.01) as job:
        gone = asyncio.Event()

        async def slow_rows():
            await gone.wait()
            yield job.rows(1)[0]

        async def joins() -> None:
            async with job.client.batch(job.rows(30), out=job.out, join=True, concurrency=2) as run:
                async for _ in run:
                    break
            gone.set()

        async def first() -> BatchReport:
            async with job.client.batch(slow_rows(), out=job.out) as run:
                await joins()
                return await run.wait()

        await first()
        assert (await job.totals()).units[State.DONE] == 30
        assert len(job.billed) == len(set(job.billed)) == 30


async def test_a_refusal_of_one_process_slows_the_others(open_job, monkeypatch: pytest.MonkeyPatch) -> None:
    """The pause that the service asks for reaches the window that all processes of the job share."""
    pauses: list[float] = []
    pause = SharedWindow.pause
    monkeypatch.setattr(SharedWindow, "pause", lambda self, s: (pauses.append(s), pause(self, 0.0)))
    retry = RetryPolicy(initial_delay_s=0, max_retry_after_s=30)
    async with open_job(Fault("429", times=1), client={"requests_per_second": 100, "retry": retry}) as job:
        _, report = await job.run(job.rows(3))
    assert report.done == 3
    assert pauses
    assert all(seconds > 0 for seconds in pauses)


async def test_a_directory_in_use_is_refused_without_join(open_job) -> None:
    """The second process says who holds it, and sends nothing."""
    async with open_job() as job, job.client.batch(job.rows(1), out=job.out):
        with pytest.raises(JournalError, match="in use by process"):
            await job.run(job.rows(5))


async def test_a_joined_process_does_what_a_left_one_claimed(open_job) -> None:
    """Rows that a peer took and did not send are done by who stays."""
    there, left = asyncio.Event(), asyncio.Event()

    async with open_job() as job:

        async def leaves() -> None:
            await there.wait()
            async with job.client.batch(job.rows(40), out=job.out, join=True, concurrency=2) as run:
                await anext(run)
            left.set()

        async def nothing():
            there.set()
            await left.wait()
            for row in ():
                yield row

        _, (events, _) = await asyncio.gather(leaves(), job.run(nothing(), join=True))
        # One chunk was in the leaver's hands, or two.
        assert (await job.totals()).units[State.PENDING] == 0
        assert len(events) >= 20
        assert len(job.billed) == len(set(job.billed)) >= 32


@pytest.mark.parametrize("leaves", [True, False])
async def test_what_a_peer_leaves_behind_counts(open_job, monkeypatch, leaves: bool) -> None:
    """A joined run that is through is not all done where a peer stopped meanwhile, or still holds the rest."""
    looked = asyncio.Event()
    pending = Journal.pending

    async def watched(journal: Journal, **options) -> AsyncIterator[Admission]:
        async for found in pending(journal, **options):
            yield found
        looked.set()

    monkeypatch.setattr(Journal, "pending", watched)
    there, leave = asyncio.Event(), asyncio.Event()
    async with open_job() as job:

        async def peers() -> BatchReport:
            async with job.client.batch(job.rows(30), out=job.out, join=True, concurrency=1) as run:
                await anext(run)
                there.set()
                await leave.wait()
            return run.report

        peer = asyncio.create_task(peers())
        await there.wait()
        others = [{"prompt": f"another {number}", "model": MODEL} for number in range(3)]
        async with job.client.batch(others, out=job.out, join=True, concurrency=1) as run:
            # Its requests wait for a reader of events, and it has looked for what peers left.
            await looked.wait()
            if leaves:
                leave.set()
                await peer
            report = await run.wait()
        leave.set()
        of_the_peer = await peer
        left = (await job.totals()).units[State.PENDING]
        assert (report.done, report.failed, report.stopped) == (3, 0, None)
        assert left > 0
        assert not report.ok
        # What the living peer had claimed by then, it did some more of, and left the rest.
        assert report.pending == left if leaves else report.pending >= left
        assert report.held_by_others == (0 if leaves else report.pending)
        assert (of_the_peer.pending - of_the_peer.held_by_others, of_the_peer.ok) == (left, False)


async def test_a_joined_run_that_stops_says_what_it_leaves(open_job) -> None:
    """Its own claims are nobody's once it ends; a run that did all leaves nothing."""
    async with open_job() as job:
        _, report = await job.run(job.rows(30), join=True, budget_usd=0)
        assert isinstance(report.stopped, BudgetExceededError)
        assert (report.pending, report.ok) == (30, False)
        _, report = await job.run(job.rows(30), join=True)
        assert (report.done, report.pending, report.ok) == (30, 0, True)


async def test_pressure_lowers_the_concurrency_and_costs_no_row(open_job, monkeypatch) -> None:
    """A 503 is a sign for the whole batch; its request is sent again."""
    signs: list[str] = []

    def slower(concurrency_limit: ConcurrencyLimit, reason: str) -> None:
        signs.append(reason)

    monkeypatch.setattr(ConcurrencyLimit, "slower", slower)
    async with open_job(Fault("503", times=3), client={"retry": RetryPolicy()}) as job:
        job.client._sender._sleep = lambda _: asyncio.sleep(0)
        _, report = await job.run(job.rows(30), concurrency=10)
        assert (report.images, len(job.billed), len(job.sandbox.ledger.posts)) == (30, 30, 33)
        assert signs == ["503 provider_transient_error"] * 3


LOAD = pytest.mark.parametrize(
    ("kind", "error_type"), [("429", RateLimitError), ("503", ServerError), ("503_limiter", ServerError)]
)


@LOAD
async def test_a_service_that_refuses_everything_for_load_stops_the_batch(open_job, kind, error_type) -> None:
    """400 rows: at most 20 POSTs, no row fails, all stay pending, and the same batch goes on later."""
    async with open_job(Fault(kind)) as job:
        rows = job.rows(400)
        events, report = await job.run(rows)
        assert len(job.sandbox.ledger.posts) <= 20
        assert {event.state for event in events} <= {State.PENDING}
        assert (report.failed, report.unknown, report.done, report.ok) == (0, 0, 0, False)
        assert type(report.stopped) is error_type
        assert "20 requests in a row" in str(report.stopped)
        assert "later" in str(report.stopped)
        units = (await job.totals()).units
        assert units[State.PENDING] == sum(units.values())
        job.sandbox.set_faults()
        _, report = await job.run(rows)
        assert (report.done, report.ok, len(job.billed)) == (400, True, 400)


@LOAD
async def test_rows_refused_for_load_stay_pending_when_their_retries_are_used_up(
    open_job, kind, error_type
) -> None:
    """They are no failures: an event and the report say so, and a rerun sends them."""
    async with open_job(Fault(kind, prompt_contains="prompt 3")) as job:
        rows = job.rows(10)
        events, report = await job.run(rows)
        assert {type(event.error) for event in events if event.error} == {error_type}
        assert [event.state for event in events if event.key.startswith("prompt-3")] == [State.PENDING]
        assert (report.done, report.failed, report.pending, report.ok) == (9, 0, 1, False)
        assert report.stopped is None
        assert report.cost_usd == pytest.approx(job.sandbox.ledger.total_usd)
        assert (await job.totals()).units[State.PENDING] == 1
        job.sandbox.set_faults()
        _, report = await job.run(rows)
        assert (report.done, report.skipped, report.ok) == (1, 9, True)


async def test_a_503_that_may_have_been_charged_is_not_pending(open_job) -> None:
    """What speaks of money taken is unknown, like any other answer that leaves a doubt, and is not sent again."""
    async with open_job(Fault("503_deducted", prompt_contains="prompt 3")) as job:
        rows = job.rows(10)
        for done in (9, 0):
            _, report = await job.run(rows)
            assert (report.done, report.pending, len(job.sandbox.ledger.posts)) == (done, 0, 10)
        assert (await job.totals()).units[State.UNKNOWN] == 1


async def test_at_half_of_all_refused_no_row_fails(open_job) -> None:
    """400 rows: what is not done is pending, and runs of the same batch finish it without paying twice."""
    async with open_job(Fault("429", rate=0.5)) as job:
        rows = job.rows(400)
        for _ in range(60):
            _, report = await job.run(rows)
            units = (await job.totals()).units
            assert units[State.DONE] + units[State.PENDING] == sum(units.values())
            if report.ok:
                break
        assert (units[State.DONE], len(job.billed), len(set(job.billed))) == (400, 400, 400)


@pytest.mark.parametrize("keep_going", [False, True])
async def test_a_manifest_whose_content_is_refused_stops_unless_told_to_go_on(open_job, keep_going) -> None:
    """400 rows: the first 20 stop the batch, with those that were under way; `keep_going` sends them all."""
    async with open_job(Fault("content_policy")) as job:
        _, report = await job.run(job.rows(400), keep_going=keep_going)
        posts = len(job.sandbox.ledger.posts)
        units = (await job.totals()).units
        assert units[State.FAILED] == report.failed == posts
        if keep_going:
            assert (posts, report.stopped) == (400, None)
        else:
            assert 20 <= posts < 100
            assert units[State.PENDING] + units[State.FAILED] == sum(units.values())
            assert isinstance(report.stopped, ContentPolicyError)
            assert "--keep-going" in str(report.stopped)


@pytest.mark.parametrize("listing", ["image-models", "images/models", "catalog"])
async def test_an_outage_of_the_catalogue_is_asked_about_once(open_job, listing) -> None:
    """A batch of 200 rows makes one attempt at a listing that answers 503, and is done with what is there."""
    async with open_job(Fault("503", route=listing), client={"retry": RetryPolicy.none()}) as job:
        asked: list[str] = []
        fetch = job.client.catalog._fetch

        async def counted(path: str, *, params: dict[str, str] | None = None) -> object:
            asked.append(path)
            return await fetch(path, params=params)

        job.client.catalog._fetch = counted
        _, report = await job.run(job.rows(200))
        assert (report.images, len(job.billed)) == (200, 200)
        assert sorted(asked) == ["/api/v1/image-models", "/api/v1/images/models"]


async def test_rows_may_be_objects_and_take_the_batch_s_defaults(open_job) -> None:
    """`model` and `defaults` fill what a row leaves open."""
    async with open_job() as job:
        rows = [BatchRow("one", MODEL), {"prompt": "two"}, {"prompt": "three", "resolution": "64x64"}]
        await job.run(rows, model=MODEL, defaults={"resolution": "256x256"})
        assert job.sandbox.ledger.total_usd == pytest.approx(0.0002 + 0.0002 + 0.0001)


@pytest.mark.parametrize("options", [{"concurrency": 0}, {"budget_usd": -1}, {"budget_usd": float("nan")}])
async def test_a_number_out_of_range_is_refused(open_job, options) -> None:
    """Before anything is opened."""
    async with open_job() as job:
        with pytest.raises(ParameterError):
            job.client.batch(job.rows(1), out=job.out, **options)
        assert not job.out.exists()


@pytest.mark.parametrize("known", [True, False], ids=["from the start", "while it is read"])
async def test_images_of_a_large_job_are_in_folders(open_job, monkeypatch, known: bool) -> None:
    """Above a number of requests images go into 256 folders; what lies flat from before is kept and not paid for again."""
    async with open_job() as job:
        await job.run(job.rows(3))
        monkeypatch.setattr("nanogpt_images.batch.run.task_source._MANY_UNITS", 5)
        monkeypatch.setattr("nanogpt_images.batch.run.task_source._FIRST_CHUNK", 4)
        monkeypatch.setattr("nanogpt_images.batch.run.task_source._CHUNK", 4)
        rows = job.rows(40)
        events, report = await job.run(rows if known else iter(rows))
        assert (report.ok, report.skipped, len(job.billed)) == (True, 3, 40)
        assert {image.path.exists() for event in events for image in event.images if image.path} == {True}
        lines = [json.loads(line) for line in (job.out / "results.jsonl").read_text().splitlines()]
        folders = [line["file"].split("/")[1:-1] for line in lines]
        assert folders[:3] == [[]] * 3
        assert folders.count([]) in ((3,) if known else range(3, 9))
        assert all(folder == [] or re.fullmatch("[0-9a-f]{2}", folder[0]) for folder in folders)
        assert {(job.out / line["file"]).stat().st_size == line["bytes"] for line in lines} == {True}
        (job.out / "journal.db").unlink()
        for name in ("journal.db-wal", "journal.db-shm"):
            (job.out / name).unlink(missing_ok=True)
        _, again = await job.run(rows, adopt=True)
        assert (again.skipped, len(job.billed)) == (40, 40)
        (job.out / "journal.db").unlink()
        (job.out / "results.jsonl").unlink()
        with pytest.raises(JournalError, match="holds images of this batch"):
            await job.run(rows)
        assert len(job.billed) == 40
