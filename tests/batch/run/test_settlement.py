"""What a request that ended badly brought all the same: images, and signed URLs that are followed up without paying again."""

from __future__ import annotations

import time

import pytest

from nanogpt_images import Charge
from nanogpt_images.batch.journal import Journal
from nanogpt_images.batch.states import State
from nanogpt_images.sandbox import Fault

CUT = Fault("close_in_response_body", times=1)


def linked(job, count: int = 4) -> list[dict[str, object]]:
    """A row whose answer is signed URLs."""
    return job.rows(1, count=count, route="openai", response_format="url")


async def test_links_of_an_answer_that_broke_off_are_downloaded(open_job) -> None:
    """Whole URLs of half an answer become images at once; the request stays unknown for what is missing."""
    async with open_job(CUT) as job:
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
