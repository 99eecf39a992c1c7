"""Keys and names that try to leave the directory, or to take each other's place, through the whole flow."""

from __future__ import annotations

import json
import os
import unicodedata
from pathlib import Path

import pytest
from fakes import connected, unmarked

from nanogpt_images import JournalError, NanoGPTError, OutputError
from nanogpt_images.batch.journal import Journal

MODEL = "tiny-and-fast"
KEYS = [
    "../../escaped",
    "/etc/escaped",
    "C:\\Windows\\escaped",
    "..",
    "CON",
    "NUL.txt",
    "fox",
    "fox.",
    "fox ",
    "Fox",
    "x" * 300,
    "狐" * 300,
    "line\nbreak",
    "nul\0byte",
    "a\u2215b",
    "a\uff0fb",
    "caf\u00e9",
    "cafe\u0301",
    "\u202egnp.xof",
    "-rf",
    ".hidden",
    "*?<>|:\"'",
]
RESERVED = {"con", "prn", "aux", "nul"}


def files_below(directory: Path) -> set[Path]:
    return {path for path in directory.rglob("*") if path.is_file()}


def check_name(name: str) -> None:
    """A name that every file system takes, as one component that stays what it is."""
    assert os.path.basename(name) == name
    assert len(name.encode()) <= 255
    assert name.partition(".")[0].lower() not in RESERVED
    assert not set(name) & set('/\\:*?"<>|\n\0')
    assert name[0] not in ".-"
    assert not name.endswith((".", " "))
    assert unicodedata.is_normalized("NFC", name)


async def test_hostile_keys_of_a_batch_stay_inside_and_apart(tmp_path: Path) -> None:
    """Every row has its own file in DIR/images, whatever its key; nothing appears anywhere else."""
    out = tmp_path / "deep" / "out"
    async with connected() as (client, _):
        rows = [
            {"prompt": "a fox", "model": MODEL, "key": key, "count": 1 + index % 2}
            for index, key in enumerate(KEYS)
        ]
        report = await client.run_batch(rows, out=out)
    assert (report.failed, report.unknown) == (0, 0)
    images = files_below(tmp_path) - {path for path in files_below(out) if path.parent == out}
    assert {path.parent for path in images} == {out / "images"}
    assert len(images) == report.images == sum(row["count"] for row in rows)
    for path in images:
        check_name(path.name)
    results = [json.loads(line) for line in (out / "results.jsonl").read_text("utf-8").splitlines()]
    assert {out / result["file"] for result in results} == images
    assert {result["key"] for result in results} == set(KEYS)


@pytest.mark.parametrize("name", KEYS, ids=ascii)
async def test_a_hostile_name_stays_inside(name: str, tmp_path: Path) -> None:
    """`generate_to` makes one file in its directory, whatever name it is given."""
    async with connected() as (client, _):
        result = await client.images.generate_to(tmp_path / "out", "a fox", model=MODEL, name=name)
    (path,) = files_below(tmp_path)
    assert (path, path.parent) == (result.images[0].path, tmp_path / "out")
    check_name(path.name)


async def test_keys_that_differ_in_case_alone_keep_their_images(tmp_path: Path) -> None:
    """Where the file system takes `Fox` for `fox`, each image has a name of its own all the same."""
    async with connected() as (client, _):
        rows = [{"prompt": key, "model": MODEL, "key": key} for key in ("fox", "Fox", "FOX")]
        report = await client.run_batch(rows, out=tmp_path, concurrency=1)
    assert report.images == 3
    names = [path.stem.lower() for path in (tmp_path / "images").iterdir()]
    assert len(set(names)) == 3
    assert {unmarked(name) for name in names} == {"fox"}


async def test_a_directory_in_the_way_is_an_error_of_ours(tmp_path: Path) -> None:
    """A file where the directory should be stops the call before anything is paid."""
    (tmp_path / "out").write_text("in the way")
    async with connected() as (client, sandbox):
        with pytest.raises(OutputError):
            await client.images.generate_to(tmp_path / "out", "a fox", model=MODEL)
        assert not sandbox.ledger.posts


@pytest.mark.parametrize("name", ["x" * 300, "nul\0byte"])
async def test_a_name_that_cannot_be_saved_is_an_error_of_ours(name: str, tmp_path: Path) -> None:
    """A path of the caller's that the operating system refuses leaves the image in memory and no file behind."""
    async with connected() as (client, _):
        result = await client.images.generate("a fox", model=MODEL)
        with pytest.raises(OutputError) as caught:
            await result.images[0].save(tmp_path / name)
    assert ".part" not in str(caught.value)
    assert result.images[0].data
    assert not files_below(tmp_path)


@pytest.mark.parametrize("directory", ["x" * 300, "nul\0byte"])
async def test_a_directory_that_cannot_be_is_an_error_of_ours(directory: str, tmp_path: Path) -> None:
    """A path that the operating system refuses stops call and batch before anything is paid."""
    async with connected() as (client, sandbox):
        with pytest.raises(NanoGPTError):
            await client.images.generate_to(tmp_path / directory, "a fox", model=MODEL)
        with pytest.raises(NanoGPTError):
            await client.run_batch([{"prompt": "a fox", "model": MODEL}], out=tmp_path / directory)
        with pytest.raises(JournalError):
            await Journal.open(tmp_path / directory, service=None, read_only=True)
        assert not sandbox.ledger.posts
