"""A distributed batch, its coordinator and workers in one process: who pays for what, whoever dies."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from functools import partial
from pathlib import Path

import attrs
import pytest

from nanogpt_images import AsyncClient
from nanogpt_images.batch.journal import Journal
from nanogpt_images.batch.manifest.reader import ManifestRows
from nanogpt_images.batch.manifest.source import record_of
from nanogpt_images.batch.states import State
from nanogpt_images.distributed.messages import ApiKey
from nanogpt_images.errors import AuthenticationError, BudgetExceededError, JournalError
from nanogpt_images.sandbox import Fault

from .conftest import MODEL, OpenSetup

ONE = "sk-nano-00000000-0000-4000-8000-000000000001"
TWO = "sk-nano-00000000-0000-4000-8000-000000000002"
THREE = "sk-nano-00000000-0000-4000-8000-000000000003"


async def test_states_money_and_files_are_those_of_a_local_batch(setup: OpenSetup) -> None:
    """The same rows done by workers leave the same report, results and journal as done here."""
    rows = [
        {"prompt": "plain", "model": MODEL},
        {"prompt": "two", "model": MODEL, "count": 2, "key": "fox"},
        {"prompt": "linked", "model": MODEL, "route": "openai", "response_format": "url"},
        {"prompt": "refused", "model": MODEL},
        {"prompt": "no such model", "model": "no-such-model"},
    ]
    found = []
    for distributed in (True, False):
        async with setup(Fault("content_policy", prompt_contains="refused")) as here:
            here.out = here.out.with_name(f"out-{distributed}")
            if distributed:
                _, report = await here.run(rows)
            else:
                async with AsyncClient(here.sandbox.api_key, here.sandbox.url) as client:
                    report = await client.run_batch(rows, out=here.out)
            lines = [json.loads(line) for line in (here.out / "results.jsonl").read_text().splitlines()]
            facts = sorted(
                (line["prompt"], line["index"], line["file"], line["sha256"], line["cost_usd"])
                for line in lines
            )
            totals = await here.totals()
            found.append((report.to_json(), facts, totals, here.files, here.billed))
    assert found[0] == found[1]
    assert found[0][0]["done"] == 3


async def test_a_job_of_another_service_is_refused(setup: OpenSetup) -> None:
    """A coordinator holds to the service of a journal as a batch here does: nothing is sent to another one."""
    async with setup() as here:
        async with await Journal.open(here.out, service="loopback:1"):
            pass
        with pytest.raises(
            JournalError, match=r"made with loopback:1, .* talks to sandbox\. Nothing was sent"
        ):
            await here.run(here.rows(3))
        assert here.billed == []


async def test_a_job_moves_between_here_and_there(setup: OpenSetup) -> None:
    """What the one has done the other skips, in both directions."""
    async with setup() as here:
        async with AsyncClient(here.sandbox.api_key, here.sandbox.url) as client:
            await client.run_batch(here.rows(3), out=here.out)
            _, report = await here.run(here.rows(6))
            assert (report.done, report.skipped) == (3, 3)
            again = await client.run_batch(here.rows(9), out=here.out)
            assert (again.done, again.skipped) == (3, 6)
        assert len(set(here.billed)) == len(here.billed) == 9


async def test_events_tell_of_images_and_errors(setup: OpenSetup) -> None:
    """Each paid request has an event with the paths of its images, or with its error."""
    async with setup(Fault("content_policy", prompt_contains="prompt 1")) as here:
        events, _ = await here.run(here.rows(3))
        by_prompt = {event.row.prompt: event for event in events}
        assert by_prompt["prompt 0"].images[0].path in (here.out / "images").iterdir()
        assert by_prompt["prompt 0"].images[0].data is None
        assert by_prompt["prompt 1"].error is not None


async def test_the_budget_is_the_jobs(setup: OpenSetup) -> None:
    """Several workers together never spend more than the budget, and the run says that it stopped there."""
    async with setup() as here:
        _, report = await here.run(here.rows(20), budget_usd=0.00055, workers=3)
        assert isinstance(report.stopped, BudgetExceededError)
        assert len(here.billed) == 5
        _, report = await here.run(here.rows(20))
        assert len(here.billed) == 20


async def test_each_key_has_its_own_budget(setup: OpenSetup) -> None:
    """A key that has spent its budget stops, the others carry on, and a later run that names them in another order knows."""
    async with setup() as here:
        keys = [ApiKey(key=ONE, budget_usd=0.00025), ApiKey(key=TWO)]
        _, report = await here.run(here.rows(12), keys=keys)
        assert (report.done, report.stopped) == (12, None)
        by_key = Counter(entry.key for entry in here.sandbox.ledger.billed)
        assert sorted(by_key.values()) == [2, 10]
        spent = min(by_key, key=by_key.__getitem__)
        reordered = [ApiKey(key=THREE), *reversed(keys)]
        _, report = await here.run([*here.rows(12), *here.rows(4, seed=1)], keys=reordered, workers=3)
        assert report.done == 4
        assert Counter(entry.key for entry in here.sandbox.ledger.billed)[spent] == 2


async def test_each_key_has_its_own_pace(setup: OpenSetup) -> None:
    """Two keys start twice as many requests, and none more than its share, by the clock of the service."""
    async with setup(requests_per_second=5) as here:
        keys = [ApiKey(key=ONE), ApiKey(key=TWO)]
        await here.run(here.rows(14), keys=keys, requests_per_second=5, concurrency=14)
        assert here.sandbox.ledger.statuses == {200: 14}
        assert set(Counter(entry.key for entry in here.sandbox.ledger.billed).values()) == {7}


async def test_a_key_that_is_refused_ends_the_job_only_where_it_is_the_last(setup: OpenSetup) -> None:
    """A 401 of the only key stops everything, and nothing is left unknown."""
    async with setup(Fault("401")) as here:
        _, report = await here.run(here.rows(5))
        assert isinstance(report.stopped, AuthenticationError)
        assert (await here.totals()).units[State.PENDING] == 5


async def test_a_manifest_is_known_to_its_end(setup: OpenSetup, tmp_path: Path) -> None:
    """The journal keeps the file that the rows come from, and a retry says how many of its rows were never read."""
    file = tmp_path / "many.txt"
    file.write_text("".join(f"prompt {number}\n" for number in range(60)))
    async with setup() as here:
        rows = await asyncio.to_thread(partial(ManifestRows, file, model=MODEL))
        record = await asyncio.to_thread(record_of, rows, {})
        for _ in range(2):
            _, report = await here.run(rows, manifest=record)
            assert (report.manifest_rows, report.unread, report.ok) == (60, 0, True)
        assert [found.read for found in (await here.totals()).manifests] == [60]
        assert len(set(here.billed)) == len(here.billed) == 60
        async with await Journal.open(here.out, service=None) as journal:
            await journal.follow(attrs.evolve(record, options={}), beside_others=True)
        _, report = await here.run(None)
        assert (report.unread, report.ok) == (60, False)


async def test_a_second_coordinator_is_refused(setup: OpenSetup) -> None:
    """The journal of a job that is under way cannot be opened by another run."""
    async with setup(latency_s=0.3) as here, here.batch(here.rows(2)) as run:
        with pytest.raises(JournalError, match="in use"):
            await here.run(here.rows(2))
        await run.wait()


async def test_the_requests_of_a_lost_worker_become_unknown(setup: OpenSetup) -> None:
    """What a lost worker had sent is unknown and not sent again; what it had not sent is done by another one."""
    async with setup(Fault("stall_before_headers", prompt_contains="prompt 3")) as here:
        async with here.batch(here.rows(30), workers=2, concurrency=4) as run:
            assert here.cluster is not None
            while not any(entry.prompt == "prompt 3" for entry in here.sandbox.ledger.billed):
                await asyncio.sleep(0.01)
            here.cluster.kill_worker(here.cluster.holder("prompt 3"))
            await run.wait()
        unknown = {ending.unit.row.prompt for ending in await here.unknowns()}
        assert "prompt 3" in unknown
        assert len(unknown) <= 2
        assert (run.report.done, run.report.unknown) == (30 - len(unknown), len(unknown))
        assert len(set(here.billed)) == len(here.billed)
        here.sandbox.set_faults()
        _, report = await here.run(None, retry_unknown=True)
        assert (report.done, report.unknown) == (len(unknown), 0)
        assert here.billed.count("prompt 3") == 2


async def test_while_the_coordinator_is_gone_nothing_is_sent(setup: OpenSetup) -> None:
    """Requests in flight end and are reported to the one that follows; nothing is charged twice, nothing unknown."""
    async with setup(latency_s=(0.05, 0.2)) as here:
        async with here.batch(here.rows(40), workers=2, concurrency=8) as run:
            cluster = here.cluster
            assert cluster is not None
            while len(here.billed) < 10:
                await asyncio.sleep(0.01)
            await cluster.crash_coordinator()
            await asyncio.sleep(0.5)
            sent = len(here.sandbox.ledger.posts)
            await asyncio.sleep(0.5)
            assert len(here.sandbox.ledger.posts) == sent < 40
            cluster.restart_coordinator()
            await run.wait()
        assert (run.report.done, run.report.unknown, run.report.skipped) == (40, 0, 0)
        assert len(set(here.billed)) == len(here.billed) == 40
        assert len(here.files) == 40


async def test_a_worker_that_was_taken_for_dead_may_still_report(setup: OpenSetup) -> None:
    """What it had sent ends by its word after all, and it sends nothing more without being known again."""
    async with setup(latency_s=0.3) as here:
        async with here.batch(here.rows(20), workers=2, concurrency=4) as run:
            assert here.cluster is not None
            while len(here.sandbox.ledger.posts) < 4:
                await asyncio.sleep(0.01)
            await here.cluster.wire.lost(next(iter(here.cluster.workers)))
            await run.wait()
        assert (run.report.done, run.report.unknown) == (20, 0)
        assert len(set(here.billed)) == len(here.billed) == 20


@pytest.mark.parametrize("call", ["send", "report", "lease", "hello", "give_back", "started"])
async def test_a_lost_answer_pays_for_nothing_twice(setup: OpenSetup, call: str) -> None:
    """Whatever answer of the coordinator gets lost, each row is paid for once, and none stays open."""
    async with setup() as here:
        async with here.batch(here.rows(12)) as run:
            assert here.cluster is not None
            here.cluster.wire.lose_answer_to += [call] * 3
            await run.wait()
        assert run.report.done == 12
        assert len(set(here.billed)) == len(here.billed) == 12
        assert (await here.totals()).units[State.DONE] == 12


async def test_equal_rows_are_told_apart_after_a_restart(setup: OpenSetup) -> None:
    """A coordinator that follows another is told all rows again, so equal ones are made as often as they stand there."""
    async with setup(latency_s=0.05) as here:
        rows = iter([{"prompt": "the same", "model": MODEL} for _ in range(20)])
        async with here.batch(rows, concurrency=2) as run:
            assert here.cluster is not None
            while len(here.billed) < 5:
                await asyncio.sleep(0.01)
            await here.cluster.crash_coordinator()
            here.cluster.restart_coordinator()
            await run.wait()
        assert (run.report.done, len(here.billed), len(here.files)) == (20, 20, 20)


async def test_draining_leaves_the_rest_for_the_next_run(setup: OpenSetup) -> None:
    """A drained run ends what is under way and leaves no request unknown."""
    async with setup(latency_s=0.1) as here:
        async with here.batch(here.rows(120)) as run:
            async for _ in run:
                run.drain()
        assert 0 < run.report.done < 120
        totals = await here.totals()
        assert totals.units[State.UNKNOWN] == totals.units[State.SENT] == 0
        _, report = await here.run(here.rows(120))
        assert report.done + report.skipped == 120
        assert len(set(here.billed)) == len(here.billed) == 120


async def test_the_reasons_of_failures_are_in_the_report(setup: OpenSetup) -> None:
    """As with a local batch, whichever worker met them."""
    async with setup(Fault("400", prompt_contains="prompt 1")) as here:
        _, report = await here.run(here.rows(12))
        (failure,) = report.failures
        assert (failure.error, failure.model, failure.count) == ("BadRequestError", MODEL, 3)
        assert report.failed == 3


async def test_links_of_an_answer_that_broke_off_are_not_paid_for_again(setup: OpenSetup) -> None:
    """Workers download the whole URLs of half an answer, in the same run or in a later one; what is missing stays unknown."""
    cut = Fault("close_in_response_body", times=1)
    async with setup(cut, Fault("url_503")) as job:
        rows = job.rows(1, count=4, route="openai", response_format="url")
        _, report = await job.run(rows)
        assert (report.images, report.unknown, report.open_downloads, report.requests) == (0, 1, 0, 1)
        job.sandbox.set_faults()
        events, report = await job.run(rows)
        assert [event.state for event in events] == [State.UNKNOWN]
        assert report.images == len(job.files) > 0
        assert (report.skipped, report.unresolved, report.unknown, report.ok) == (1, 1, 0, False)
        job.sandbox.set_faults(Fault("close_in_response_body", times=1))
        others = job.rows(1, key="other", count=4, route="openai", response_format="url")
        _, report = await job.run(others)
        assert (report.unknown, report.requests) == (1, 1)
        assert report.images > 0
        assert len(job.billed) == 2
        assert (await job.totals()).followed_links == 0
