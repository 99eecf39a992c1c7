"""Exports of a batch, read back with the libraries that their readers use."""

from __future__ import annotations

import csv
import errno
import io
import json
import os
import subprocess
import sys
import tarfile
from pathlib import Path

import anyio.to_thread
import attrs
import pyarrow.parquet as pq
import pytest
from fakes import connected
from PIL import Image

from nanogpt_images import export_batch, export_failed, read_manifest
from nanogpt_images.batch.journal import ResultRecord
from nanogpt_images.errors import ConfigurationError, JournalError, OutputError, ParameterError
from nanogpt_images.export import csv_file, webdataset
from nanogpt_images.sandbox import Fault

ROWS = [
    {"prompt": 'ein "Fuchs" 🦊,\nzwei Zeilen; =1+1', "model": "tiny-and-fast", "key": "fox v1.5", "count": 2,
     "resolution": "64x64"},
    {"prompt": "a hare", "model": "formats/jpeg"},
]  # fmt: skip


@pytest.fixture
async def out(tmp_path: Path) -> Path:
    """The directory of a batch of three images."""
    async with connected() as (client, _):
        report = await client.run_batch(ROWS, out=tmp_path / "out")
    assert report.images == 3
    return tmp_path / "out"


def results(out: Path) -> list[dict]:
    return [json.loads(line) for line in (out / "results.jsonl").read_text().splitlines()]


def listing(directory: Path) -> list[str]:
    # A reader of the journal leaves SQLite's files behind.
    return sorted(name for name in os.listdir(directory) if not name.startswith("journal.db-"))


async def test_csv(out: Path) -> None:
    """A CSV holds the fields of results.jsonl, whatever a prompt is made of."""
    report = await export_batch(out, to="csv")
    assert (report.path, report.images, report.missing) == (out / "export.csv", 3, 0)
    assert report.size_bytes == report.path.stat().st_size
    with report.path.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    for row, line in zip(rows, results(out), strict=True):
        assert list(row) == list(line)
        assert json.loads(row.pop("parameters")) == line.pop("parameters")
        assert row == {name: "" if value is None else str(value) for name, value in line.items()}


async def test_parquet(out: Path) -> None:
    """A Parquet file holds the same fields, typed."""
    report = await export_batch(out, to="parquet", path=out / "deeper" / "images.parquet")
    table = pq.read_table(report.path)
    for row, line in zip(table.to_pylist(), results(out), strict=True):
        assert list(row) == list(line)
        assert {**row, **{name: json.loads(row[name]) for name in ("parameters", "metadata")}} == line
    assert listing(out / "deeper") == ["images.parquet"]


async def test_parquet_with_images(out: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The bytes of the files stand in a column that `datasets` shows as pictures; groups stay small."""
    monkeypatch.setattr("nanogpt_images.export.parquet._GROUP_BYTES", 1)
    report = await export_batch(out, to="parquet", embed_images=True)
    file = pq.ParquetFile(report.path)
    assert file.num_row_groups == 3
    for row in file.read().to_pylist():
        data = (out / row["file"]).read_bytes()
        assert row["image"] == {"bytes": data, "path": Path(row["file"]).name}
        assert Image.open(io.BytesIO(data)).size == (row["width"], row["height"])
    described = json.loads(file.schema_arrow.metadata[b"huggingface"])
    assert described["info"]["features"] == {"image": {"_type": "Image"}}


READ_SHARDS = """
import json, sys, webdataset
for sample in webdataset.WebDataset(sys.argv[1:], shardshuffle=False).decode("pil"):
    (picture,) = [value for name, value in sample.items() if name in ("png", "jpg")]
    print(json.dumps([picture.size, sample["txt"], sample["json"]]))
"""


async def test_webdataset(out: Path) -> None:
    """The webdataset library decodes picture, prompt and fields of each sample, from several shards."""
    report = await export_batch(out, to="webdataset", max_shard_bytes=1)
    shards = [report.path / name for name in listing(report.path)]
    assert [shard.name for shard in shards] == ["000000.tar", "000001.tar", "000002.tar"]
    assert report.size_bytes == sum(shard.stat().st_size for shard in shards)
    # In a process of its own: the library leaves its files to the garbage collector, which is an error here.
    read = [sys.executable, "-c", READ_SHARDS, *shards]
    done = await anyio.to_thread.run_sync(
        lambda: subprocess.run(read, capture_output=True, check=True, timeout=60)
    )
    for text, line in zip(done.stdout.splitlines(), results(out), strict=True):
        size, prompt, fields = json.loads(text)
        assert (size, prompt, fields) == ([line["width"], line["height"]], line["prompt"], line)


async def test_a_shard_holds_samples_until_it_is_full(out: Path) -> None:
    """By default a few images make one shard, and the same batch makes the same bytes."""
    first = await export_batch(out, to="webdataset", path=out / "a")
    second = await export_batch(out, to="webdataset", path=out / "b")
    assert listing(first.path) == ["000000.tar"]
    with tarfile.open(first.path / "000000.tar") as tar:
        suffixes = [Path(name).suffix for name in tar.getnames()]
        stems = [Path(name).stem for name in tar.getnames()]
    assert suffixes == [".png", ".txt", ".json", ".png", ".txt", ".json", ".jpg", ".txt", ".json"]
    keys = {
        json.dumps([line["key"], line["index"]]): stem
        for line, stem in zip(results(out), stems[::3], strict=True)
    }
    assert keys['["fox v1.5", 0]'].startswith("fox_v1_5-")
    assert keys['["fox v1.5", 1]'].endswith("-1")
    assert len(set(stems)) == 3
    assert (first.path / "000000.tar").read_bytes() == (second.path / "000000.tar").read_bytes()


@pytest.mark.parametrize("to", ["webdataset", "parquet"])
async def test_images_that_are_gone_are_counted(out: Path, to: str) -> None:
    """An image that was removed from the disk is left out, and the report says how many were."""
    (out / results(out)[0]["file"]).unlink()
    report = await export_batch(out, to=to, embed_images=to == "parquet")
    assert (report.images, report.missing) == ((2, 1) if to == "webdataset" else (3, 1))
    if to == "parquet":
        assert pq.read_table(report.path)["image"][0].as_py()["bytes"] is None


@pytest.mark.parametrize("to", ["csv", "parquet", "webdataset"])
async def test_nothing_is_replaced_unasked(out: Path, to: str) -> None:
    """What exists stays, with a word on what to do."""
    report = await export_batch(out, to=to)
    with pytest.raises(OutputError, match="exists; choose another path"):
        await export_batch(out, to=to)
    if to == "webdataset":
        with pytest.raises(OutputError, match="exists"):
            await export_batch(out, to=to, overwrite=True)
    else:
        assert await export_batch(out, to=to, overwrite=True) == report


@pytest.mark.parametrize(
    ("to", "where"), [("csv", csv_file.CsvWriter), ("webdataset", webdataset.ShardWriter)]
)
async def test_a_full_disk_leaves_nothing_behind(
    out: Path, to: str, where: type, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An export that fails in the middle names its file and leaves neither it nor a part of it."""
    before = listing(out)

    def full(self: object, images: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(where, "write", full)
    with pytest.raises(OutputError, match=r"cannot write .*export.*: No space left on device"):
        await export_batch(out, to=to)
    assert listing(out) == before


async def test_a_batch_at_work_can_be_exported(tmp_path: Path) -> None:
    """An export while the batch runs holds what is done by then."""
    async with connected() as (client, _), client.batch(ROWS, out=tmp_path / "out", concurrency=1) as run:
        await anext(run)
        report = await export_batch(tmp_path / "out", to="csv")
    assert 1 <= report.images <= 3


async def test_a_batch_without_images(tmp_path: Path) -> None:
    """A journal without images makes files that readers open all the same."""
    async with connected() as (client, _):
        await client.run_batch([], out=tmp_path)
    await export_batch(tmp_path, to="csv")
    await export_batch(tmp_path, to="webdataset")
    report = await export_batch(tmp_path, to="parquet", embed_images=True)
    assert report.images == 0
    assert pq.read_table(report.path).num_rows == 0


async def test_pages_of_the_journal_are_complete(out: Path) -> None:
    """However small the pages, each image comes once, with the fields of results.jsonl."""
    from nanogpt_images.batch.journal import Journal

    async with await Journal.open(out, service=None, read_only=True) as journal:
        pages = [page async for page in journal.results(chunk=2)]
    assert [len(page) for page in pages] == [2, 1]
    assert [attrs.asdict(image) for page in pages for image in page] == results(out)


async def test_wrong_options(out: Path) -> None:
    """What contradicts itself is refused before anything is written."""
    before = listing(out)
    with pytest.raises(ParameterError, match="to must be one of"):
        await export_batch(out, to="xlsx")  # type: ignore[arg-type]
    for to in ("csv", "webdataset"):
        with pytest.raises(ParameterError, match="embed_images requires to='parquet'"):
            await export_batch(out, to=to, embed_images=True)
    with pytest.raises(ParameterError, match="max_shard_bytes"):
        await export_batch(out, to="webdataset", max_shard_bytes=0)
    assert listing(out) == before


async def test_without_a_journal(tmp_path: Path) -> None:
    """A directory without a batch is an error, and stays as it is."""
    with pytest.raises(JournalError, match="there is no journal"):
        await export_batch(tmp_path, to="csv")
    assert listing(tmp_path) == []


async def test_without_pyarrow_the_extra_is_named(out: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where pyarrow is absent the error says how to get it."""
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(ConfigurationError, match=r'pip install "pyarrow>='):
        await export_batch(out, to="parquet")
    assert "export.parquet" not in await anyio.to_thread.run_sync(listing, out)


def test_exporting_loads_no_library_of_another_format() -> None:
    """Importing the package's export loads neither pyarrow nor tarfile."""
    code = "import sys, nanogpt_images.export; print('pyarrow' in sys.modules, 'webdataset' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["False", "False"]


FORMULAS = ["=1+1", "+1", "-1", "@SUM(A1)", "\t=1", "\r=1", '=HYPERLINK("http://x","y")']
HARMLESS = ["a fox", "1-1", "'=1", " =1", "", "1.5"]


@pytest.mark.parametrize("prompt", [*FORMULAS, *HARMLESS])
@pytest.mark.parametrize("raw", [False, True])
def test_csv_disarms_formulas(tmp_path: Path, prompt: str, raw: bool) -> None:
    """A text that a spreadsheet would carry out begins with an apostrophe, in any column, unless it is to be raw."""
    record = ResultRecord(
        key=prompt, index=0, prompt=prompt, model="m", parameters={"a": "=1"}, file="f.png", media_type="image/png",
        width=-5, height=None, bytes=9, sha256="0", cost_usd=-0.25, request_id=prompt,
    )  # fmt: skip
    writer = csv_file.CsvWriter(tmp_path / "a.csv", raw=raw)
    writer.write([record])
    writer.close()
    with (tmp_path / "a.csv").open(encoding="utf-8", newline="") as file:
        (row,) = csv.DictReader(file)
    shown = f"'{prompt}" if prompt in FORMULAS and not raw else prompt
    assert (row["key"], row["prompt"], row["request_id"]) == (shown, shown, shown)
    assert (row["width"], row["cost_usd"], row["parameters"]) == ("-5", "-0.25", '{"a":"=1"}')


async def test_raw_goes_with_csv(out: Path) -> None:
    """The option reaches the file, and is refused where there are no formulas."""
    await export_batch(out, to="csv", raw=True)
    with pytest.raises(ParameterError, match="raw requires to='csv'"):
        await export_batch(out, to="parquet", raw=True)


async def test_webdataset_samples_are_named_by_key(tmp_path: Path) -> None:
    """`__key__` is the row's key where it can be; rows of the same key in one shard stay apart."""
    rows = [
        {"prompt": "a", "model": "tiny-and-fast", "key": "fox"},
        {"prompt": "b", "model": "tiny-and-fast", "key": "fox"},
        {"prompt": "c", "model": "tiny-and-fast", "key": "hare-7"},
        {"prompt": "d", "model": "tiny-and-fast", "key": "den", "count": 2},
    ]
    async with connected() as (client, _):
        await client.run_batch(rows, out=tmp_path / "out", concurrency=1)
    report = await export_batch(tmp_path / "out", to="webdataset")
    with tarfile.open(report.path / "000000.tar") as tar:
        stems = {Path(name).stem for name in tar.getnames()}
    again = stems - {"fox", "hare-7", "den-0", "den-1"}
    assert len(again) == 1
    assert again.pop().startswith("fox-")
    assert len(stems) == 5


async def test_parquet_in_shards(out: Path) -> None:
    """With a size, Parquet becomes a directory of files, which together hold all rows in order."""
    report = await export_batch(out, to="parquet", embed_images=True, max_shard_bytes=1)
    assert report.path == out / "export-parquet"
    assert listing(report.path) == ["000000.parquet", "000001.parquet", "000002.parquet"]
    assert (report.images, report.missing) == (3, 0)
    assert pq.read_table(report.path)["sha256"].to_pylist() == [line["sha256"] for line in results(out)]
    large = await export_batch(out, to="parquet", path=out / "large", max_shard_bytes=10**9)
    assert listing(large.path) == ["000000.parquet"]
    with pytest.raises(ParameterError, match="CSV is one file"):
        await export_batch(out, to="csv", max_shard_bytes=1)
    with pytest.raises(ParameterError, match="at least 1"):
        await export_batch(out, to="parquet", max_shard_bytes=0)


async def test_failed_rows_are_a_manifest(tmp_path: Path) -> None:
    """Each failed row comes once, as it was, with the images that it lacks; the manifest runs in another directory."""
    rows = [
        {"prompt": "a fox", "model": "tiny-and-fast", "key": "fox"},
        {
            "prompt": "bad fox",
            "model": "tiny-and-fast",
            "key": "bad",
            "resolution": "64x64",
            "count": 10,
            "Category": "Animals",
        },
        {"prompt": "bad hare", "model": "formats/jpeg", "route": "openai", "parameters": {"seed": 3}},
    ]
    async with connected(Fault("content_policy", prompt_contains="bad")) as (client, _):
        first = await client.run_batch(rows, out=tmp_path / "out")
        assert first.failed > 2
    report = await export_failed(tmp_path / "out")
    assert report == attrs.evolve(report, path=tmp_path / "out" / "failed.jsonl", images=2, missing=0)
    lines = [json.loads(line) for line in report.path.read_text("utf-8").splitlines()]
    assert {"rejected by the safety system" in line.pop("error") for line in lines} == {True}
    assert lines == [
        {"key": "bad", "prompt": "bad fox", "model": "tiny-and-fast", "count": 10, "parameters": {"resolution": "64x64"}, "Category": "Animals"},
        {"prompt": "bad hare", "model": "formats/jpeg", "count": 1, "route": "openai", "parameters": {"seed": 3}},
    ]  # fmt: skip
    with pytest.raises(OutputError, match="exists"):
        await export_failed(tmp_path / "out")
    async with connected() as (client, sandbox):
        again_rows = await anyio.to_thread.run_sync(lambda: list(read_manifest(report.path)))
        again = await client.run_batch(again_rows, out=tmp_path / "again")
    assert (again.ok, again.images, sandbox.ledger.total_images) == (True, 11, 11)


async def test_no_failed_rows_are_an_empty_manifest(out: Path) -> None:
    """Where nothing failed, the file is empty and says so by its number of rows."""
    report = await export_failed(out, path=out / "none.jsonl")
    assert (report.images, report.path.read_bytes()) == (0, b"")
