"""The manifest of a batch, as its journal remembers it."""

from __future__ import annotations

import asyncio
from collections import Counter
from functools import partial
from pathlib import Path

import pytest

from nanogpt_images import read_manifest
from nanogpt_images.batch.journal import Journal, ManifestRecord
from nanogpt_images.batch.manifest.reader import ManifestRows
from nanogpt_images.batch.manifest.source import record_of, rows_again
from nanogpt_images.batch.rows import BatchRow
from nanogpt_images.errors import ManifestError
from nanogpt_images.types.parameters import CountRule

from ..conftest import MODEL, OpenJob

ROWS = 400


def write(path: Path, *prompts: str) -> Path:
    path.write_text("".join(f"{prompt}\n" for prompt in prompts))
    return path


def manifest_of(path: Path, **options) -> ManifestRows:
    rows = read_manifest(path, **options)
    assert isinstance(rows, ManifestRows)
    return rows


async def rows_of(path: Path, **options) -> ManifestRows:
    return await asyncio.to_thread(partial(manifest_of, path, model=MODEL, **options))


async def recorded(path: Path, model: str) -> ManifestRecord:
    return await asyncio.to_thread(lambda: record_of(manifest_of(path, model=model), {}))


@pytest.fixture
def many(tmp_path: Path) -> Path:
    """A manifest that a batch does not read in one go."""
    return write(tmp_path / "many.txt", *(f"prompt {number}" for number in range(ROWS)))


async def test_a_batch_that_was_left_is_finished(open_job: OpenJob, many: Path) -> None:
    """A retry reads the rows that were never read, by the options of the batch, and asks for nothing else."""
    async with open_job() as job:
        rows = await rows_of(many, defaults={"count": 2})
        async with job.client.batch(
            rows, out=job.out, defaults={"resolution": "64x64"}, concurrency=4
        ) as run:
            async for _ in run:
                break
        report = run.report
        assert (report.manifest_rows, report.ok) == (ROWS, False)
        assert 0 < report.unread == (await job.totals()).unread_rows < ROWS
        _, report = await job.retry()
        assert (report.unread, report.ok) == (0, True)
        assert set(Counter(job.billed).values()) == {1}
        assert (len(job.billed), job.sandbox.ledger.total_images) == (ROWS, 2 * ROWS)
        async with await Journal.open(job.out, service=None, read_only=True) as journal:
            parameters = [unit.unit.row.parameters async for unit in journal.units()]
        assert parameters == [{"resolution": "64x64"}] * ROWS


async def test_a_retry_leaves_open_requests_of_other_rows_alone_but_once(
    open_job: OpenJob, many: Path
) -> None:
    """What the journal holds beside the rows of the manifest is sent by the same retry."""
    async with open_job() as job:
        for rows in (job.rows(3, seed=1), await rows_of(many)):
            await job.run(rows, budget_usd=0.0)
        assert not job.billed
        _, report = await job.retry()
        assert (report.unread, report.ok) == (0, True)
        assert len(job.billed) == ROWS + 3


async def test_a_later_batch_replaces_the_manifest_and_one_that_joins_adds_its_own(
    tmp_path: Path, open_job: OpenJob
) -> None:
    """A job is about its last manifest; processes that share it may have one each."""
    one, other = (write(tmp_path / f"{name}.txt", name) for name in ("one", "other"))
    async with open_job() as job:
        for path in (one, other):
            await job.run(await rows_of(path))
        assert [found.path for found in (await job.totals()).manifests] == [str(other)]
        await job.run(await rows_of(one), join=True)
        assert {found.path for found in (await job.totals()).manifests} == {str(one), str(other)}
        write(one, "one", "more")
        _, report = await job.run(await rows_of(one), join=True)
        assert (report.manifest_rows, report.skipped, report.unread) == (2, 1, 0)
        assert (await job.totals()).manifest_rows == 3


async def test_what_was_read_stays_read(tmp_path: Path) -> None:
    """A rerun that stops sooner than the run before it does not forget what that one read; another option does."""
    rows = [(BatchRow(f"{number}", "m"), CountRule()) for number in range(5)]
    path = write(tmp_path / "m.txt", *"abcdefg")
    record = await recorded(path, "m")
    for some, read in ((3, 3), (1, 3), (5, 5)):
        async with await Journal.open(tmp_path / "out", service=None) as journal:
            await journal.follow(record)
            await journal.admit(rows[:some])
            totals = await journal.totals()
        assert (totals.manifests[0].read, totals.unread_rows) == (read, 7 - read)
    async with await Journal.open(tmp_path / "out", service=None) as journal:
        other = await journal.follow(await recorded(path, "other"))
        assert (other.read, (await journal.totals()).manifest_rows) == (0, 7)


async def test_a_pass_of_its_own(tmp_path: Path) -> None:
    """Rows that stand in two manifests of one process are the same rows, as they are for two processes."""
    row = (BatchRow("a fox", "m", count=2), CountRule())
    async with await Journal.open(tmp_path / "out", service=None) as journal:
        found = []
        for name in "ab":
            record = await recorded(write(tmp_path / f"{name}.txt", "a fox"), name)
            await journal.follow(record, beside_others=True)
            found.append([admission.unit.id for admission in await journal.admit([row])])
    assert found[0] == found[1]


def test_the_way_back(tmp_path: Path) -> None:
    """The same options give the same rows; a file that is gone, changed or no manifest any more gives none."""
    path = tmp_path / "m.csv"
    path.write_text("prompt,style,Seed\na fox,oil,7\nan owl,,\n")
    options = {"model": "m", "defaults": {"count": 3}, "known_parameters": ["style", "seed"]}
    record = record_of(manifest_of(path, **options), {"resolution": "64x64", "count": 9, "n": 2})
    assert (record.rows, record.path) == (2, str(path))
    again = rows_again(record)
    assert again is not None
    expected = read_manifest(path, **(options | {"defaults": {"count": 3, "resolution": "64x64"}}))
    assert [(row, row.count) for row in again.again()] == [(row, row.count) for row in expected]
    path.write_text("prompt\nan owl\n")
    assert rows_again(record) is None
    path.unlink()
    assert rows_again(record) is None


def test_options_that_cannot_be_kept(tmp_path: Path) -> None:
    """What no row could be made with is refused before anything is sent."""
    rows = manifest_of(write(tmp_path / "m.txt", "a"), model="m", defaults={"style": object()})
    with pytest.raises(ManifestError, match="Nothing was sent"):
        record_of(rows, {})


def test_unread_is_never_negative() -> None:
    """A file that grew while it was read has no rows left."""
    assert ManifestRecord(path="/m", sha256="", rows=3, options={}, read=5).unread == 0
