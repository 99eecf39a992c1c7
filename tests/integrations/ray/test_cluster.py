"""
A batch on a Ray cluster of two nodes on this machine, whose processes are killed while it runs.

`pytest tests/integrations/ray/test_cluster.py --ray-rows 5000 -s` is the long form; it prints its figures.
"""

from __future__ import annotations

import array
import asyncio
import json
import os
import random
import signal
import sys
import time
from bisect import bisect_left
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from nanogpt_images import AsyncClient
from nanogpt_images.batch.journal import Journal
from nanogpt_images.batch.states import State
from nanogpt_images.errors import BatchError, JournalError
from nanogpt_images.integrations.ray import DistributedBatch, engine, ray_batch
from nanogpt_images.sandbox import Sandbox

pytest.importorskip("ray")
pytestmark = [
    pytest.mark.skipif(sys.platform != "linux", reason="finds processes in /proc"),
    pytest.mark.timeout(600),  # a cluster starts and ends in half a minute
]

SEED = 20261121
MOST_STARTS_PER_SECOND = 100
NODE: dict[str, Any] = {
    "num_cpus": 2,
    "object_store_memory": 100 * 2**20,
    # On loopback, and not by a name that Ray takes for this machine and replaces by its address outside.
    "node_ip_address": "127.0.0.2",
    "include_dashboard": False,
}


@pytest.fixture(scope="module")
def starts(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the processes of the cluster note when requests leave; see starts/sitecustomize.py."""
    return tmp_path_factory.mktemp("starts") / "times"


@pytest.fixture(scope="module")
def cluster(starts: Path) -> Iterator[str]:
    """The address of a cluster of two nodes."""
    from ray.cluster_utils import Cluster

    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RAY_AUTH_MODE", "disabled")
        patch.setenv("NANOGPT_TEST_STARTS", str(starts))
        patch.setenv("PYTHONPATH", str(Path(__file__).parent / "starts"), prepend=os.pathsep)
        nodes = Cluster(initialize_head=True, head_node_args=NODE)
        try:
            nodes.add_node(**NODE)
            yield nodes.address
        finally:
            nodes.shutdown()


def descendants(kind: str) -> list[int]:
    """Processes below this one that run the actor *kind*."""
    parents: dict[int, int] = {}
    titles: dict[int, str] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdecimal():
            try:
                parents[int(entry.name)] = int((entry / "stat").read_text().rpartition(")")[2].split()[1])
                titles[int(entry.name)] = (entry / "cmdline").read_text()
            except OSError:
                continue

    def is_below(pid: int) -> bool:
        while pid > 1:
            pid = parents.get(pid, 0)
            if pid == os.getpid():
                return True
        return False

    return [pid for pid, title in titles.items() if title.startswith(f"ray::{kind}") and is_below(pid)]


def most_in_any_second(times: Sequence[float]) -> int:
    """The most of *times*, which are in order, within any one second."""
    return max(bisect_left(times, start + 1.0) - place for place, start in enumerate(times))


async def test_killed_workers_and_a_killed_coordinator(
    cluster: str, starts: Path, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    """Nothing is paid for twice, the pace holds over all workers, and `retry` completes what was stranded."""
    count: int = request.config.getoption("--ray-rows")
    limit = min(MOST_STARTS_PER_SECOND, count // 5)
    chance = random.Random(SEED)
    rows = [{"prompt": f"prompt {number}", "model": "tiny-and-fast"} for number in range(count)]
    out = tmp_path / "out"
    kills = 0
    async with Sandbox(requests_per_second=None, latency_s=(0.05, 0.3), seed=SEED) as sandbox:

        async def kill(kind: str) -> None:
            nonlocal kills
            while not (found := await asyncio.to_thread(descendants, kind)):
                await asyncio.sleep(0.05)
            os.kill(chance.choice(found), signal.SIGKILL)
            kills += 1

        async def kill_now_and_then() -> None:
            times = max(2, count // 250)
            for number in range(1, times + 1):
                while len(sandbox.ledger.posts) < count * number // (times + 2):
                    await asyncio.sleep(0.02)
                await kill("WorkerActor")
                if number == (times + 1) // 2:
                    await kill("CoordinatorActor")

        began = time.monotonic()
        async with ray_batch(
            rows,
            out=out,
            keys=[sandbox.api_key],
            base_url=sandbox.url,
            address=cluster,
            workers=3,
            concurrency=48,
            requests_per_second=limit,
        ) as run:
            killing = asyncio.create_task(kill_now_and_then())
            await run.wait()
        await killing
        elapsed_s = time.monotonic() - began
        async with await Journal.open(out, service=None, read_only=True) as journal:
            totals = await journal.totals()
            unknown = {ending.unit.row.prompt async for ending in journal.unknowns()}
        billed = Counter(entry.prompt for entry in sandbox.ledger.billed)
        left = sorted(array.array("d", starts.read_bytes()))
        fastest = most_in_any_second(left)

        assert max(billed.values()) == 1
        assert run.report.stopped is None
        assert totals.units[State.DONE] + len(unknown) == count
        assert (run.report.done, run.report.unknown) == (totals.units[State.DONE], len(unknown))
        assert set(billed) | unknown == {row["prompt"] for row in rows}
        assert len(left) >= len(sandbox.ledger.posts) >= count - len(unknown)
        assert fastest <= limit

        async with AsyncClient(sandbox.api_key, sandbox.url) as client:
            async with client.retry_batch(out, unknown=True) as retry:
                retried = await retry.wait()
        again = Counter(entry.prompt for entry in sandbox.ledger.billed) - billed
        assert again == Counter(unknown)
    lines = [json.loads(line) for line in (out / "results.jsonl").read_text().splitlines()]
    assert len({line["prompt"] for line in lines}) == len(lines) == count
    assert all((out / line["file"]).stat().st_size == line["bytes"] for line in lines)
    print(
        f"\n{count} rows, {kills} kills (one of the coordinator), {elapsed_s:.1f} s: {run.report.done} done,"
        f" {len(unknown)} unknown, at most {fastest} starts in any second of {limit} allowed; nothing billed twice;"
        f" retry --unknown made {retried.done}"
    )


async def test_a_second_driver_is_refused_and_a_dead_ones_coordinator_is_not_in_the_way(
    cluster: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While a driver is heard of, nobody else gets its job; once it is silent, the next one takes over."""
    async with Sandbox(requests_per_second=None, latency_s=0.5) as sandbox:

        def batch(workers: int) -> DistributedBatch:
            return ray_batch(
                [{"prompt": f"prompt {number}", "model": "tiny-and-fast"} for number in range(8)],
                out=tmp_path / "out",
                keys=[sandbox.api_key],
                base_url=sandbox.url,
                address=cluster,
                workers=workers,
            )

        async def be_succeeded() -> None:
            async with batch(1):
                with pytest.raises(JournalError, match="in use by another driver"):
                    await batch(1).__aenter__()
                monkeypatch.setattr(engine, "_SILENT_S", 0.0)
                async with batch(1) as successor:
                    await successor.wait()

        with pytest.raises(BatchError, match=r"has not answered|is closed"):
            await be_succeeded()
        assert max(Counter(entry.prompt for entry in sandbox.ledger.billed).values()) == 1
