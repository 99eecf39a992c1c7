"""
Claims: the slowest request never holds the others back, and a batch needs no memory per row.

    python benchmarks/scheduling.py [--json] [--rows 1000000] [--median-s 0.2] [--no-memory]

*Schedule*: 2,000 requests of log-normal latency, 64 at once, through a batch over a transport that only
sleeps, against the greedy schedule of the same latencies (whoever is free takes the next row), and against
slices of 64 that each wait for their slowest. Real latencies are 50 times longer and flatter the ratio.

*Memory*: a manifest of a million rows against one of a thousand, read lazily, over a transport that answers
at once; each in a process of its own. It takes some minutes: time is that of the client's code for each row.
"""

from __future__ import annotations

import argparse
import asyncio
import base64
import heapq
import json
import random
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from pathlib import Path

from nanogpt_images import AsyncClient, read_manifest
from nanogpt_images.transport.protocol import HttpRequest, HttpResponse

REQUESTS = 2_000
AT_ONCE = 64
SMALL = 1_000
MODEL = "bench"
KEY = "sk-nano-00000000-0000-4000-8000-000000000000"
IMAGE = base64.b64encode(b"\x89PNG\r\n\x1a\n" + bytes(1016)).decode()
CATALOG = json.dumps({"data": [{"id": MODEL, "supported_parameters": {"max_images": 1}}]}).encode()
ANSWER = json.dumps({"created": 1700000000, "data": [{"b64_json": IMAGE}], "cost": 0.0123}).encode()


class Answer:
    """A whole answer."""

    status = 200
    headers: Mapping[str, str] = {}

    def __init__(self, body: bytes) -> None:
        self._body = body

    async def chunks(self) -> AsyncIterator[bytes]:
        yield self._body


class Sleeper:
    """A transport that answers after a delay, without a network."""

    def __init__(self, delay_s: Callable[[HttpRequest], float] | None = None) -> None:
        self._delay_s = delay_s
        self.first_s: float | None = None

    @asynccontextmanager
    async def send(self, request: HttpRequest) -> AsyncIterator[HttpResponse]:
        if request.method == "GET":
            yield Answer(CATALOG)
            return
        self.first_s = self.first_s or time.perf_counter()
        request.begin_body()
        await asyncio.sleep(self._delay_s(request) if self._delay_s else 0)
        yield Answer(ANSWER)

    async def aclose(self) -> None:
        pass


def client_of(transport: Sleeper) -> AsyncClient:
    return AsyncClient(KEY, transport=transport, requests_per_second=None)


def greedy_s(latencies: list[float]) -> float:
    """When the last of *latencies* ends if whoever is free takes the next."""
    free = [0.0] * AT_ONCE
    for latency in latencies:
        heapq.heapreplace(free, free[0] + latency)
    return max(free)


def slices_s(latencies: list[float]) -> float:
    """The same in slices that wait for their slowest."""
    return sum(max(latencies[start : start + AT_ONCE]) for start in range(0, len(latencies), AT_ONCE))


async def schedule(sigma: float, median_s: float) -> dict[str, float]:
    chance = random.Random(7)
    latencies = [median_s * chance.lognormvariate(0, sigma) for _ in range(REQUESTS)]
    in_order = iter(latencies)
    rows = ({"prompt": f"a red fox, {number}", "model": MODEL} for number in range(REQUESTS))
    async with client_of(Sleeper(lambda _: next(in_order))) as client:
        await client.catalog.list()
        started = time.perf_counter()
        report = await client.run_batch(rows, concurrency=AT_ONCE)
        seconds = time.perf_counter() - started
    assert report.images == REQUESTS, report
    greedy = greedy_s(latencies)
    return {
        "sigma": sigma,
        "seconds": round(seconds, 3),
        "to_greedy": round(seconds / greedy, 4),
        "slices_to_greedy": round(slices_s(latencies) / greedy, 2),
    }


async def drain(path: Path) -> dict[str, float]:
    """Run a manifest; the report of the process that does only this."""
    transport = Sleeper()
    async with client_of(transport) as client:
        started = time.perf_counter()
        report = await client.run_batch(read_manifest(path, model=MODEL), concurrency=AT_ONCE)
        seconds = time.perf_counter() - started
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return {
        "rows": report.rows,
        "images": report.images,
        "seconds": round(seconds, 1),
        "first_request_s": round((transport.first_s or 0) - started, 3),
        "peak_mib": round(peak / 1024, 1),
    }


def memory(rows: int) -> dict[str, float]:
    with tempfile.TemporaryDirectory() as name:
        path = Path(name) / "rows.jsonl"
        with path.open("w") as file:
            file.writelines(
                f'{{"prompt": "a red fox in the snow, number {number}"}}\n' for number in range(rows)
            )
        command = [sys.executable, __file__, "--drain", str(path)]
        found = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
    assert found["images"] == rows, found
    return found


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--json", action="store_true", help="print one JSON document")
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--rounds", type=int, default=3, help="runs of each schedule; the median counts")
    parser.add_argument("--median-s", type=float, default=0.2, help="median latency")
    parser.add_argument("--no-memory", action="store_true", help="leave the manifest of a million rows out")
    parser.add_argument("--drain", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.drain is not None:
        print(json.dumps(asyncio.run(drain(options.drain))))
        return
    schedules: list[dict[str, float]] = []
    for sigma in (0.5, 1.0):
        runs = [asyncio.run(schedule(sigma, options.median_s)) for _ in range(options.rounds)]
        schedules.append({**runs[0], "to_greedy": statistics.median(run["to_greedy"] for run in runs)})
    manifests = [] if options.no_memory else [memory(rows) for rows in (SMALL, options.rows)]
    ratio = round(manifests[1]["peak_mib"] / manifests[0]["peak_mib"], 3) if manifests else None
    if options.json:
        print(json.dumps({"schedules": schedules, "manifests": manifests, "peak_ratio": ratio}))
        return
    for run in schedules:
        print(
            f"sigma {run['sigma']}: {run['seconds']} s, {run['to_greedy']} of greedy (must reach 1.03); "
            f"slices of {AT_ONCE}: {run['slices_to_greedy']}"
        )
    for run in manifests:
        print(
            f"{run['rows']:>9,} rows: {run['seconds']} s, first request after {run['first_request_s']} s, "
            f"peak {run['peak_mib']} MiB"
        )
    if manifests:
        print(f"peak memory, {options.rows:,} rows / {SMALL:,}: {ratio} (must reach 1.2)")


if __name__ == "__main__":
    main()
