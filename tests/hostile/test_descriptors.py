"""Descriptors run out: fewer requests at once, and no image that arrived is dropped."""

from __future__ import annotations

import errno
import json
import os
import subprocess
import sys
from pathlib import Path

import anyio
import pytest
from fakes import PNG, connected

from nanogpt_images._base import descriptors as _descriptors
from nanogpt_images._base import durable
from nanogpt_images.outputs import DirectoryStore
from nanogpt_images.sandbox import Sandbox

resource = pytest.importorskip("resource")
MODEL = "tiny-and-fast"
PROGRAM = """
import asyncio, json, logging, resource, sys
from nanogpt_images import AsyncClient, RetryPolicy
logging.basicConfig(level=logging.INFO, stream=sys.stderr)

async def main(url, key, out, soft, hard, rows):
    resource.setrlimit(resource.RLIMIT_NOFILE, (int(soft), int(hard)))
    async with AsyncClient(key, url, requests_per_second=None, retry=RetryPolicy.none()) as client:
        rows = [{"prompt": f"prompt {n}", "model": "tiny-and-fast", "count": 4} for n in range(int(rows))]
        async with client.batch(rows, out=out, concurrency=150) as run:
            most = 0
            async for event in run:
                most = max(most, run.limit)
        report = run.report
        soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
        print(json.dumps([report.done, report.images, report.failed, report.unknown, most, soft]))

asyncio.run(main(*sys.argv[1:]))
"""


@pytest.mark.parametrize(("hard", "concurrency"), [(256, (60, 110)), (1024, (150, 150))])
def test_a_batch_fits_into_its_limit(tmp_path: Path, hard: int, concurrency: tuple[int, int]) -> None:
    """With `ulimit -n 256` the limit is raised where it can be, else fewer requests are under way; all images come."""
    rows = 300
    with Sandbox.in_thread(requests_per_second=None, latency_s=(0.05, 0.1)) as sandbox:
        done = subprocess.run(
            [
                *(sys.executable, "-c", PROGRAM, sandbox.url, sandbox.api_key, str(tmp_path)),
                *("256", str(hard), str(rows)),
            ],
            capture_output=True,
            text=True,
            check=True,
        )
        assert len(sandbox.ledger.billed) == rows
    *numbers, most, soft = json.loads(done.stdout)
    assert numbers == [rows, 4 * rows, 0, 0]
    assert concurrency[0] <= most <= concurrency[1]
    assert (soft > 256) == (hard > 256)
    assert ("instead of 150: the limit of open files is 256" in done.stderr) == (hard == 256)
    assert len(list((tmp_path / "images").iterdir())) == 4 * rows


def test_an_answer_of_many_images_takes_one_descriptor(tmp_path: Path) -> None:
    """However many images a request makes, one of them is being written."""
    store = DirectoryStore(tmp_path, lambda index, _: f"fox-{index}")
    before = len(os.listdir("/dev/fd"))
    for index in range(20):
        store.open(index).write(PNG)
    assert len(os.listdir("/dev/fd")) == before + 1
    assert [image.info.width for image in store.finish(range(20))] == [1] * 20
    assert len(os.listdir("/dev/fd")) == before


class Short:
    """`os.open` without descriptors for temporary files, as often as is said."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, times: int, code: int = errno.EMFILE) -> None:
        self.times = times
        self._code = code
        self._open = os.open
        monkeypatch.setattr(os, "open", self)

    def __call__(self, path: object, *args: object, **options: object) -> int:
        if str(path).endswith(".part") and self.times:
            self.times -= 1
            raise OSError(self._code, os.strerror(self._code))
        return self._open(path, *args, **options)


@pytest.mark.parametrize("times", [1, 2, 6, 15])
async def test_an_image_in_memory_is_written_when_a_descriptor_is_free(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, times: int
) -> None:
    """It is in the results of the same run, and the batch goes on."""
    waits: list[float] = []

    async def sleep(seconds: float) -> None:
        waits.append(seconds)
        await anyio.lowlevel.checkpoint()

    monkeypatch.setattr("nanogpt_images.batch.run.settlement.anyio.sleep", sleep)
    rows = [{"prompt": f"prompt {number}", "model": MODEL, "count": 2} for number in range(3)]
    async with connected() as (client, sandbox):
        short = Short(monkeypatch, times)
        report = await client.run_batch(rows, out=tmp_path, concurrency=1)
        assert (short.times, report.ok, report.images, report.stopped) == (0, True, 6, None)
        assert len(sandbox.ledger.posts) == 3
    lines = [json.loads(line) for line in (tmp_path / "results.jsonl").read_text().splitlines()]
    assert {line["file"] for line in lines} == {f"images/{p.name}" for p in (tmp_path / "images").iterdir()}
    assert len(lines) == 6


async def test_a_cancelled_wait_for_a_descriptor_leaves_the_image_to_the_next_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The last attempt is made when the batch is broken off; the next run finds the file and pays nothing."""
    row = {"prompt": "a fox", "model": MODEL}
    async with connected() as (client, sandbox):
        short = Short(monkeypatch, 10**6)
        async with anyio.create_task_group() as group:

            async def sleep(_: float) -> None:
                short.times = 0
                group.cancel_scope.cancel()
                await anyio.lowlevel.checkpoint()

            monkeypatch.setattr("nanogpt_images.batch.run.settlement.anyio.sleep", sleep)
            await client.run_batch([row], out=tmp_path)
        report = await client.run_batch([row], out=tmp_path)
        assert (report.requests, report.skipped, report.unresolved) == (0, 1, 0)
        assert len(sandbox.ledger.posts) == 1


async def test_a_full_disk_keeps_what_came_in_the_event(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What cannot be waited for stops the batch; the image is in the event, for whoever has another disk."""
    async with connected() as (client, _):
        Short(monkeypatch, 10**6, errno.ENOSPC)
        async with client.batch([{"prompt": "a fox", "model": MODEL}], out=tmp_path) as run:
            (event,) = [event async for event in run]
        assert event.images[0].data
        assert run.report.stopped is not None


def test_the_journal_waits_for_a_descriptor(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file that is to be synced is not reported as lost because nothing could be opened for a moment."""
    path = tmp_path / "fox.part"
    path.touch()
    waits: list[float] = []
    monkeypatch.setattr(durable.time, "sleep", waits.append)
    short = Short(monkeypatch, 3)
    durable.sync_files([path])
    assert (short.times, len(waits)) == (0, 3)
    Short(monkeypatch, 10**6)
    with pytest.raises(OSError, match="Too many open files"):
        durable.sync_files([path])


@pytest.mark.parametrize(
    ("soft", "hard", "expected", "raised"),
    [
        (10**6, 10**6, 150, None),
        (-1, -1, 150, None),
        (256, -1, 150, 448),
        (256, 300, 76, 300),
        (100, 100, 1, 100),
    ],
)
def test_how_many_requests_there_is_room_for(
    monkeypatch: pytest.MonkeyPatch, soft: int, hard: int, expected: int, raised: int | None
) -> None:
    """Two descriptors for each request, beside those in use and a reserve."""
    limits: list[tuple[int, int]] = []
    monkeypatch.setattr(resource, "getrlimit", lambda _: (soft, hard))
    monkeypatch.setattr(resource, "setrlimit", lambda _, values: limits.append(values))
    monkeypatch.setattr(_descriptors, "_open_now", lambda: 100)
    assert _descriptors.room_for(150) == expected
    assert limits == ([] if raised is None else [(raised, hard)])
