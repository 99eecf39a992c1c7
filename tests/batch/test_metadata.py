"""What a row came with goes with its images, through runs, journals of earlier versions and exports."""

import json
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from functools import partial
from pathlib import Path

import pandas as pd
from anyio import to_thread

from nanogpt_images import export_batch, read_manifest
from nanogpt_images.batch.planning.requests import request_of
from nanogpt_images.batch.rows import BatchRow

MODEL = "tiny-and-fast"


async def rows_of(path: Path, **options: object) -> Iterator[BatchRow]:
    return await to_thread.run_sync(partial(read_manifest, path, **options))


def lines(out: Path) -> list[dict[str, object]]:
    return [json.loads(line) for line in (out / "results.jsonl").read_text().splitlines()]


def labels(out: Path) -> list[tuple[object, object]]:
    return sorted((line["row"], line["metadata"].get("Category")) for line in lines(out))


async def test_every_image_joins_back(open_job, tmp_path: Path) -> None:
    """Events, results and exports say the row and its columns, and the service is sent none of them."""
    path = tmp_path / "m.tsv"
    path.write_text("Prompt\tCategory\tseed\na\tFood\t1\nb\tArt\t2\n\na\tFood\t1\n")
    async with open_job() as job:
        events, report = await job.run(path, model=MODEL)
        assert report.ok
        assert {(event.row.number, event.row.metadata["Category"]) for event in events} == {
            (1, "Food"), (2, "Art"), (3, "Food"),
        }  # fmt: skip
        assert labels(job.out) == [(1, "Food"), (2, "Art"), (3, "Food")]
        assert all(request_of(event.row, None).extra == {} for event in events)
        await export_batch(job.out, to="parquet")
        frame = pd.read_parquet(job.out / "export.parquet")
        assert sorted(frame["row"]) == [1, 2, 3]
        assert {json.loads(text)["Category"] for text in frame["metadata"]} == {"Food", "Art"}


async def test_rows_that_differ_in_metadata_alone_keep_their_own(open_job) -> None:
    """Two such rows are two images, whichever of them was tried first."""
    rows = [{"prompt": "a", "model": MODEL, "Category": name} for name in ("Food", "Art")]
    async with open_job() as job:
        await job.run([BatchRow.of(rows[1], number=2)])
        assert labels(job.out) == [(2, "Art")]
        _, report = await job.run(rows)
        assert report.requests == 1
        assert labels(job.out) == [(1, "Food"), (2, "Art")]
        _, report = await job.run(rows)
        assert report.requests == 0


async def test_a_note_that_changes_buys_nothing(open_job) -> None:
    """Metadata is no part of what tells rows apart: the images go with what the row says now."""
    async with open_job() as job:
        for note in ("first", "second"):
            await job.run([{"prompt": "a", "model": MODEL, "Category": note}])
        assert job.billed == ["a"]
        assert labels(job.out) == [(1, "second")]


async def test_a_directory_of_an_earlier_version_resumes(open_job) -> None:
    """Earlier versions sent every column of a mapping, and knew rows by them: those images are not bought again."""
    async with open_job() as job:
        await job.run([{"prompt": "a", "model": MODEL, "parameters": {"Category": "Food"}}])
        with closing(sqlite3.connect(job.out / "journal.db", isolation_level=None)) as connection:
            connection.execute("DELETE FROM meta WHERE name = 'metadata'")
        rows = [
            {"prompt": "a", "model": MODEL, "Category": "Food"},
            {"prompt": "b", "model": MODEL, "Category": "Art"},
        ]
        _, report = await job.run(rows)
        assert (report.requests, report.skipped) == (1, 1)
        assert job.billed == ["a", "b"]
        assert labels(job.out) == [(1, "Food"), (2, "Art")]


async def test_a_column_that_the_model_lists_is_sent(open_job, tmp_path: Path) -> None:
    """What the catalogue names as a parameter of the row's model goes to the service as such."""
    path = tmp_path / "m.csv"
    path.write_text("prompt,Category,Quality_Level,output_format\na,Food,x,png\n")
    async with open_job() as job:
        model = next(
            model for model in await job.client.catalog.list() if "output_format" in model.parameters
        )
        events, _ = await job.run(await rows_of(path, model=model.id))
        assert events[0].row.parameters["output_format"] == "png"
        assert events[0].row.metadata == {"Category": "Food", "Quality_Level": "x"}


async def test_a_sweep_in_a_row_is_many_rows(open_job) -> None:
    """Its combinations are rows of the batch, each with a key of its own, and a resumed batch knows them."""
    row = {"prompt": "a", "model": MODEL, "sweep": {"seed": "1..3"}, "Category": "Food"}
    async with open_job() as job:
        for requests in (3, 0):
            _, report = await job.run([row])
            assert (report.rows, report.requests) == (3, requests)
        assert sorted(line["key"].split("_")[1] for line in lines(job.out)) == ["seed-1", "seed-2", "seed-3"]
        assert labels(job.out) == [(1, "Food")] * 3


async def test_a_trial_is_part_of_the_whole(open_job, tmp_path: Path) -> None:
    """A sample and the first rows come first, and the rest pays for the rest alone."""
    path = tmp_path / "m.csv"
    path.write_text("prompt,Category\n" + "".join(f"p{number % 15},c{number}\n" for number in range(1, 21)))
    async with open_job() as job:
        for options, requests in [
            ({"sample": 6, "seed": 3}, 6),
            ({"where": ["Category=c20"]}, None),
            ({"limit": 9}, None),
            ({}, None),
        ]:
            _, report = await job.run(await rows_of(path, model=MODEL, **options))
            assert requests is None or report.requests == requests
            assert (report.ok, report.unread) == (True, 0)
        assert len(job.billed) == 20
        assert labels(job.out) == [(number, f"c{number}") for number in range(1, 21)]
