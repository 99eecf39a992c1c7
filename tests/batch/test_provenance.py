"""Records in the images of a batch: the journal tells of the files on disk, also after a kill."""

from __future__ import annotations

import hashlib
import json
import logging
import sqlite3
from contextlib import closing

import anyio.to_thread
import pytest

from nanogpt_images import ParameterError, Provenance, read_provenance
from nanogpt_images.sandbox import Fault

from .conftest import MODEL, OpenJob


async def _told(job, line: dict) -> Provenance | None:
    return await anyio.to_thread.run_sync(read_provenance, job.out / line["file"])


def _lines(job) -> list[dict]:
    return [json.loads(line) for line in (job.out / "results.jsonl").read_text().splitlines()]


def _agrees(job, line: dict) -> bool:
    data = (job.out / line["file"]).read_bytes()
    return (len(data), hashlib.sha256(data).hexdigest()) == (line["bytes"], line["sha256"])


@pytest.mark.parametrize("fields", [{}, {"route": "openai", "response_format": "url"}])
async def test_the_journal_tells_of_the_files_on_disk(open_job: OpenJob, fields: dict) -> None:
    """Size and digest are those of the file with its record, whether it came in the answer or by a URL."""
    async with open_job() as job:
        _, report = await job.run(job.rows(3, **fields), provenance=True)
        assert report.ok
        lines = _lines(job)
        assert len(lines) == 3
        for line in lines:
            assert _agrees(job, line)
            record = await _told(job, line)
            assert (record.prompt, record.model, record.request_id) == (
                line["prompt"],
                MODEL,
                line["request_id"],
            )
            assert record.service == job.sandbox.url


async def test_images_of_a_killed_run_are_adopted(open_job: OpenJob) -> None:
    """An image with a record that was on disk before its journal could say so counts as done, as it is."""
    async with open_job() as job:
        rows = job.rows(2)
        await job.run(rows, provenance=True)
        # What a kill between the image and its record in the journal leaves behind.
        with closing(sqlite3.connect(job.out / "journal.db")) as journal, journal:
            journal.execute("DELETE FROM image")
            journal.execute("UPDATE stored SET images = 0, results_bytes = 0")
            journal.execute("UPDATE unit SET state = 'unknown', charge = 'unknown'")
        (job.out / "results.jsonl").unlink()
        _, report = await job.run(rows, provenance=True)
        assert (report.skipped, report.unresolved) == (2, 0)
        assert len(job.billed) == 2
        assert all(_agrees(job, line) for line in _lines(job))
        assert len(_lines(job)) == 2


async def test_a_download_of_a_later_run_knows_its_request(open_job: OpenJob) -> None:
    """The ID of the request is in the journal, so an image that is downloaded later tells it as well."""
    async with open_job(Fault("url_503")) as job:
        rows = job.rows(1, route="openai", response_format="url")
        _, report = await job.run(rows, provenance=True)
        assert report.open_downloads == 1
        job.sandbox.set_faults()
        _, report = await job.run(rows, provenance=True)
        assert report.ok
        (line,) = _lines(job)
        assert line["request_id"]
        assert (await _told(job, line)).request_id == line["request_id"]


async def test_a_retry_writes_records_too(open_job: OpenJob) -> None:
    """`retry_batch` takes the same option."""
    async with open_job(Fault("400", times=1)) as job:
        _, report = await job.run(job.rows(1))
        assert report.failed == 1
        await job.retry(provenance=True)
        (line,) = _lines(job)
        assert await _told(job, line) is not None


async def test_a_batch_without_files_has_no_place_for_records(open_job: OpenJob) -> None:
    """provenance=True needs out=, and says so before anything is sent."""
    async with open_job() as job:
        with pytest.raises(ParameterError, match="pass out="):
            job.client.batch(job.rows(1), provenance=True)


async def test_unfit_images_are_told_of_once(open_job: OpenJob, caplog: pytest.LogCaptureFixture) -> None:
    """Images without a place for a record are kept as they came, and one line in the log says why."""
    async with open_job(Fault("not_an_image")) as job:
        with caplog.at_level(logging.WARNING, "nanogpt_images.batch"):
            events, report = await job.run(job.rows(3), provenance=True)
        assert report.ok
        assert [len(event.result.problems) for event in events] == [2, 2, 2]
        (told,) = caplog.records
        assert "no provenance in it: an unknown format has no place for it" in told.message
        assert all(_agrees(job, line) for line in _lines(job))


async def test_a_damaged_image_is_put_right_in_a_thread(open_job: OpenJob) -> None:
    """An image that breaks off is stored as it came, without stalling the loop (the guard of all tests would tell)."""
    async with open_job(Fault("huge_dimensions")) as job:
        events, report = await job.run(job.rows(1), provenance=True)
        assert report.ok
        assert "no provenance" in events[0].result.problems[-1]
        (line,) = _lines(job)
        assert _agrees(job, line)
