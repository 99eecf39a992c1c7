"""A directory whose journal is gone: refused, or taken over so that nothing that is there is paid for again."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from nanogpt_images.batch.states import State
from nanogpt_images.errors import JournalError

MODEL = "tiny-and-fast"
ROWS: list[dict[str, object]] = [
    {"prompt": "a fox", "model": MODEL, "key": "fox", "count": 6},
    {"prompt": "a fox", "model": MODEL, "key": "fox", "count": 6},
    {"prompt": "a hare", "model": MODEL},
    {"prompt": "a hare", "model": MODEL, "seed": 7, "count": 2},
    {"prompt": "a hare", "model": MODEL, "route": "openai"},
    {"prompt": "a hare", "model": MODEL, "route": "openai", "size": "64x64"},
]
IMAGES = 17


def lose_journal(out: Path) -> None:
    for path in out.glob("journal.db*"):
        path.unlink()


def lines(out: Path) -> list[dict[str, object]]:
    return [json.loads(line) for line in (out / "results.jsonl").read_text().splitlines()]


@pytest.mark.parametrize("harm", ["gone", "empty", "without tables"])
async def test_images_without_a_journal_are_refused(open_job, harm: str) -> None:
    """Nothing is sent and nothing overwritten; the text names both ways on."""
    async with open_job() as job:
        await job.run(ROWS)
        listed = (job.out / "results.jsonl").read_bytes()
        posts = len(job.sandbox.ledger.posts)
        lose_journal(job.out)
        if harm != "gone":
            (job.out / "journal.db").touch()
        for _ in range(2):
            with pytest.raises(JournalError, match=r"another directory.*--adopt \(adopt=True\)"):
                await job.run(ROWS)
        assert (job.out / "results.jsonl").read_bytes() == listed
        assert len(job.sandbox.ledger.posts) == posts
        assert harm != "gone" or not (job.out / "journal.db").exists()


@pytest.mark.parametrize("journal", ["gone", "empty"])
@pytest.mark.parametrize("listing", ["gone", "empty"])
async def test_images_without_journal_and_list_are_refused(open_job, journal: str, listing: str) -> None:
    """The images alone say that they were paid for; the text names the ways on, and the list put back is one."""
    async with open_job() as job:
        await job.run(ROWS)
        files, posts = job.files, len(job.sandbox.ledger.posts)
        lose_journal(job.out)
        listed = (job.out / "results.jsonl").rename(job.out / "kept.jsonl")
        for name, harm in {"journal.db": journal, "results.jsonl": listing}.items():
            if harm == "empty":
                (job.out / name).touch()
        for _ in range(2):
            with pytest.raises(
                JournalError, match=r"another directory.*put results.jsonl back.*\(adopt=True\)"
            ):
                await job.run(ROWS)
        assert (job.files, len(job.sandbox.ledger.posts)) == (files, posts)
        listed.rename(job.out / "results.jsonl")
        _, report = await job.run(ROWS, adopt=True)
        assert (report.requests, report.ok, job.files) == (0, True, files)


async def test_images_without_a_list_are_left_alone_where_that_is_asked_for(open_job, caplog) -> None:
    """With adopt, nothing can be matched: the log says so, all is bought, and the old files stay."""
    async with open_job() as job:
        await job.run(ROWS)
        files = job.files
        lose_journal(job.out)
        (job.out / "results.jsonl").unlink()
        for images in (IMAGES, 0):
            _, report = await job.run(ROWS, adopt=True)
            assert (report.images, report.ok) == (images, True)
        assert set(files) < set(job.files)
        assert len(job.files) == 2 * IMAGES
        assert sum("no image in" in record.getMessage() for record in caplog.records) == 1


@pytest.mark.parametrize(
    "name",
    [
        None,
        "fox.png",
        "fox-3f9a12c.png",
        "3f9a12c4.png",
        "notes-3f9a12c4",
        "x-20240101.png",
        "x-3f9a12c4.png",
    ],
)
async def test_other_files_are_in_nobodys_way(open_job, name: str | None) -> None:
    """An empty directory of images and foreign names refuse nothing."""
    async with open_job() as job:
        (job.out / "images").mkdir(parents=True)
        if name is not None:
            (job.out / "images" / name).touch()
        _, report = await job.run(job.rows(1))
        assert report.ok
        assert name is None or (job.out / "images" / name).read_bytes() == b""


async def test_a_name_that_is_a_requests_own_is_refused_wherever_its_row_stands(open_job) -> None:
    """Rows of other batches go first; the one whose image is there stops the batch, and its file stays as it is."""
    async with open_job() as job:
        rows = job.rows(3)
        await job.run(rows[2:])
        files, posts = job.files, len(job.sandbox.ledger.posts)
        lose_journal(job.out)
        (job.out / "results.jsonl").unlink()
        with pytest.raises(JournalError, match=r"holds images of this batch.*Nothing was sent"):
            await job.run(rows)
        assert (job.files, len(job.sandbox.ledger.posts)) == (files, posts)


async def test_an_image_of_a_late_row_is_met_by_every_run(open_job) -> None:
    """The rows before it may have been sent when it is met; a run after that refuses again, and buys it never."""
    async with open_job() as job:
        rows = job.rows(40)
        await job.run(rows[-1:])
        last = job.sandbox.ledger.entries[0].prompt
        lose_journal(job.out)
        (job.out / "results.jsonl").unlink()
        for _ in range(3):
            with pytest.raises(JournalError, match="holds images of this batch"):
                await job.run(rows)
        assert [entry.prompt for entry in job.sandbox.ledger.entries].count(last) == 1


async def test_a_journal_that_knows_requests_goes_on_beside_images_it_did_not_list(open_job) -> None:
    """A run that was killed between a file and its commit has an image, a request and no list."""
    async with open_job() as job:
        await job.run(job.rows(1), budget_usd=0)
        (job.out / "images" / "fox-3f9a12c4.png").touch()
        _, report = await job.run(job.rows(1))
        assert (report.images, report.ok) == (1, True)


@pytest.mark.parametrize("again", [1, 2])
async def test_what_is_there_is_not_paid_for_again(open_job, again: int) -> None:
    """With adopt, every row is done, whatever its route, count or twins; the list and the sums are as before."""
    async with open_job() as job:
        await job.run(ROWS)
        before, listed, posts = await job.totals(), lines(job.out), len(job.sandbox.ledger.posts)
        lose_journal(job.out)
        for _ in range(again):
            _, report = await job.run(ROWS, adopt=True)
            assert (report.requests, report.ok) == (0, True)
        assert len(job.sandbox.ledger.posts) == posts
        after = await job.totals()
        assert (
            (after.images, after.spent_nano)
            == (before.images, before.spent_nano)
            == (IMAGES, after.spent_nano)
        )
        assert after.units[State.DONE] == IMAGES
        assert sorted(map(str, lines(job.out))) == sorted(map(str, listed))


async def test_only_what_is_missing_is_bought(open_job) -> None:
    """A file that is gone, or is not what the list says, is bought anew; the old list is kept beside the new one."""
    async with open_job() as job:
        await job.run(ROWS)
        listed = lines(job.out)
        lose_journal(job.out)
        (job.out / str(listed[0]["file"])).unlink()
        spoiled = next(
            line for line in listed if line["prompt"] == "a hare" and line["parameters"] == {"seed": 7}
        )
        (job.out / str(spoiled["file"])).write_bytes(b"another")
        with (job.out / "results.jsonl").open("a") as file:
            file.write('not JSON\n{"file": "images/x.png"}\n[]\n{"file":"../../etc/passwd","prompt":"a"}\n')
        posts = len(job.sandbox.ledger.posts)
        _, report = await job.run(ROWS, adopt=True)
        assert (report.images, report.ok) == (2, True)
        assert len(job.sandbox.ledger.posts) == posts + 2
        assert len(lines(job.out)) == IMAGES
        assert (job.out / "results.before-adopt.jsonl").exists()
        _, again = await job.run(ROWS)
        assert again.requests == 0


async def test_a_budget_counts_what_was_taken_over(open_job) -> None:
    """The costs of the list are spent: a cap is not begun again by a lost journal."""
    async with open_job() as job:
        _, report = await job.run(ROWS, budget_usd=1)
        lose_journal(job.out)
        more = {"prompt": "a whale", "model": MODEL}
        _, again = await job.run([*ROWS, more], adopt=True, budget_usd=report.cost_usd)
        assert (again.requests, again.stopped is not None) == (0, True)


async def test_adopt_does_nothing_where_there_is_a_journal(open_job) -> None:
    """The flag may stay in a script."""
    async with open_job() as job:
        for posts in (1, 1):
            await job.run(job.rows(1), adopt=True)
            assert len(job.sandbox.ledger.posts) == posts
