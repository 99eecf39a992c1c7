"""Disks that are full or read-only, and files that may not grow: a clear error, and a rerun that loses and repeats nothing."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from nanogpt_images import AsyncClient, Charge, JournalError, NanoGPTError, OutputError, RetryPolicy
from nanogpt_images.batch.journal import Journal
from nanogpt_images.batch.states import State
from nanogpt_images.sandbox import Sandbox

MODEL = "tiny-and-fast"
KIB = 1024
Mount = Callable[..., None]


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[tuple[Path, Mount]]:
    """A small file system in memory, and a function that changes its options."""
    path = tmp_path / "disk"
    path.mkdir()

    def mount(*options: str) -> None:
        command = ["mount", "-t", "tmpfs", "-o", ",".join(options), "tmpfs", str(path)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            pytest.skip(f"no file system can be mounted here: {done.stderr.strip()}")

    if sys.platform != "linux" or os.geteuid() != 0:
        pytest.skip("mounting needs Linux and root")
    mount("size=600k")
    try:
        yield path, lambda *options: mount("remount", *options)
    finally:
        subprocess.run(["umount", "--lazy", str(path)], check=True)


def client_of(sandbox: Sandbox) -> AsyncClient:
    return AsyncClient(
        sandbox.api_key, sandbox.url, requests_per_second=None, retry=RetryPolicy(initial_delay_s=0)
    )


def rows(count: int = 30) -> list[dict[str, object]]:
    """Every third one delivers a link."""
    linked = {"route": "openai", "response_format": "url"}
    return [
        {"prompt": f"fox {number}", "model": MODEL, **(linked if number % 3 == 0 else {})}
        for number in range(count)
    ]


async def check_books(sandbox: Sandbox, out: Path, count: int) -> None:
    """Each request was billed at most once; what was billed is whole on the disk or told as lost; no other file is left."""
    billed = Counter(entry.prompt for entry in sandbox.ledger.billed if entry.prompt != "fox")
    assert set(billed.values()) == {1}
    async with await Journal.open(out, service=None, read_only=True) as journal:
        endings = [ending async for ending in journal.failures()]
        endings += [ending async for ending in journal.unknowns()]
        totals = await journal.totals()
    lines = [json.loads(line) for line in (out / "results.jsonl").read_text().splitlines()]
    for line in lines:
        assert hashlib.sha256((out / line["file"]).read_bytes()).hexdigest() == line["sha256"]
    assert len(lines) == len(list((out / "images").iterdir()))
    told = {ending.unit.row.prompt for ending in endings}
    assert {line["prompt"] for line in lines} | told == {f"fox {number}" for number in range(count)}
    assert totals.units[State.DONE] + len(endings) == count
    assert totals.committed_nano >= round(1e9 * 0.0001 * billed.total())


@pytest.mark.parametrize("image_kib", [8, 60])
async def test_a_batch_on_a_full_disk(disk: tuple[Path, Mount], image_kib: int) -> None:
    """It stops, says what to do, and goes on where there is space: nothing is paid for twice, nothing is lost unseen."""
    path, remount = disk
    out = path / "out"
    async with Sandbox(requests_per_second=None, image_bytes=image_kib * KIB) as sandbox:
        async with client_of(sandbox) as client:
            stopped: NanoGPTError | None = None
            in_memory: list[bytes] = []
            for number in range(4):
                remount(f"size={600 + 100 * number}k")
                try:
                    async with client.batch(rows(60), out=out, concurrency=4) as run:
                        async for event in run:
                            in_memory += [image.data for image in event.images if image.data]
                    stopped = run.report.stopped
                except NanoGPTError as error:
                    stopped = error
                assert isinstance(stopped, (JournalError, OutputError)), stopped
                assert "space" in str(stopped) or "full" in str(stopped)
            remount("size=64m")
            report = await client.run_batch(rows(60), out=out, concurrency=4)
            assert report.stopped is None
    await check_books(sandbox, out, 60)


async def test_a_batch_on_a_read_only_disk(disk: tuple[Path, Mount]) -> None:
    """It says so before anything is sent, new or resumed, and goes on once the disk can be written."""
    path, remount = disk
    out = path / "out"
    async with Sandbox(requests_per_second=None) as sandbox:
        async with client_of(sandbox) as client:
            remount("ro")
            with pytest.raises(OutputError, match=r"Read-only|cannot be"):
                await client.run_batch(rows(6), out=out)
            assert sandbox.ledger.posts == []
            remount("rw")
            await client.run_batch(rows(6), out=out)
            remount("ro")
            with pytest.raises(OutputError, match="permissions"):
                await client.run_batch(rows(9), out=out)
            async with await Journal.open(out, service=None, read_only=True) as journal:
                assert (await journal.totals()).units[State.DONE] == 6
            remount("rw")
            await client.run_batch(rows(9), out=out)
    await check_books(sandbox, out, 9)


async def test_generate_to_on_a_full_disk(disk: tuple[Path, Mount]) -> None:
    """The paid image is in the error, no half file stays, and the next call with space succeeds."""
    path, remount = disk
    remount("size=40k")
    async with Sandbox(requests_per_second=None, image_bytes=100 * KIB) as sandbox:
        async with client_of(sandbox) as client:
            with pytest.raises(OutputError, match=r"No space left.*charged.*`partial`") as caught:
                await client.images.generate_to(path, "a fox", model=MODEL, n=2)
            assert caught.value.charge is Charge.CHARGED
            images = caught.value.partial.images
            assert [len(image.data) >= 100 * KIB for image in images] == [True, True]
            assert list(path.iterdir()) == []
            remount("size=1m")
            saved = await images[0].save(path / "rescued")
            assert saved.read_bytes() == images[0].data
            assert (await client.images.generate_to(path, "a fox", model=MODEL)).images[0].path.exists()
    assert len(sandbox.ledger.billed) == 2


async def test_generate_to_on_a_read_only_disk(disk: tuple[Path, Mount]) -> None:
    """It is told before anything is paid."""
    path, remount = disk
    remount("ro")
    async with Sandbox(requests_per_second=None) as sandbox:
        async with client_of(sandbox) as client:
            for directory in (path, path / "deeper"):
                with pytest.raises(OutputError, match="cannot write to"):
                    await client.images.generate_to(directory, "a fox", model=MODEL)
    assert sandbox.ledger.posts == []


LIMITED = """
import asyncio, json, resource, signal, sys
import nanogpt_images as ngi
url, key, out, number, limit = sys.argv[1:]

async def main():
    async with ngi.AsyncClient(key, url, requests_per_second=None, retry=ngi.RetryPolicy(initial_delay_s=0)) as client:
        # What is imported late is imported now.
        await client.run_batch([{"prompt": "fox", "model": "tiny-and-fast", "route": "openai"}])
        kind = getattr(resource, number)
        resource.setrlimit(kind, (int(limit), resource.getrlimit(kind)[1]))
        try:
            report = await client.run_batch(json.loads(sys.stdin.read()), out=out, concurrency=4)
        except ngi.NanoGPTError as error:
            print(type(error).__name__, error)
        else:
            print(type(report.stopped).__name__, report.stopped)

asyncio.run(main())
"""


async def run_limited(sandbox: Sandbox, out: Path, number: str, limit: int) -> str:
    """What a batch says that runs under a limit of its process."""
    import anyio

    done = await anyio.run_process(
        [
            sys.executable,
            "-W",
            "error",
            "-c",
            LIMITED,
            sandbox.url,
            sandbox.api_key,
            str(out),
            number,
            str(limit),
        ],
        input=json.dumps(rows()).encode(),
        check=False,
    )
    # The log may tell of a results.jsonl that is mended later.
    assert done.returncode == 0, done.stderr.decode()
    assert b"Traceback" not in done.stderr
    return done.stdout.decode()


@pytest.mark.skipif(sys.platform == "win32", reason="limits of a process")
@pytest.mark.parametrize("limit_kib", [20, 70, 150])
async def test_files_that_may_not_grow(tmp_path: Path, limit_kib: int) -> None:
    """A limit on the size of files is a full disk, for the journal first or for the images first."""
    async with Sandbox(requests_per_second=None, image_bytes=100 * KIB) as sandbox:
        said = await run_limited(sandbox, tmp_path / "out", "RLIMIT_FSIZE", limit_kib * KIB)
        assert said.startswith(("OutputError", "JournalError")), said
        async with client_of(sandbox) as client:
            assert (await client.run_batch(rows(), out=tmp_path / "out")).stopped is None
    await check_books(sandbox, tmp_path / "out", 30)


@pytest.mark.skipif(sys.platform == "win32", reason="limits of a process")
@pytest.mark.parametrize("descriptors", [8, 12, 16, 20])
async def test_a_process_without_descriptors(tmp_path: Path, descriptors: int) -> None:
    """Too few descriptors for connections, journal and images: an error of this package, and a rerun that goes on."""
    async with Sandbox(requests_per_second=None) as sandbox:
        said = await run_limited(sandbox, tmp_path / "out", "RLIMIT_NOFILE", descriptors)
        assert said.split()[0].endswith(("Error", "NoneType")), said
        async with client_of(sandbox) as client:
            assert (await client.run_batch(rows(), out=tmp_path / "out")).stopped is None
    await check_books(sandbox, tmp_path / "out", 30)
