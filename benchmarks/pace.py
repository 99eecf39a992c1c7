"""
Claim: a batch at its defaults keeps the pace that the key allows, whatever the latency, and no second holds more.

    python benchmarks/pace.py [--json] [--mean-s 12] [--sigma 0.5] [--rate 25] [--requests 2400] [--concurrency N] [--keys N]

A server in another process answers each request with an image of 1 KiB after a log-normal time. It counts what comes: starts
per second from the first to the last, the busiest second, and the most requests under way. CPU and memory are the client's.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from nanogpt_images import AsyncClient

KEY = "sk-nano-00000000-0000-4000-8000-{:012d}"
SIZE = 1024


async def run(arguments: argparse.Namespace, url: str) -> dict[str, float]:
    """Run a batch against *url*; its figures."""
    rows: Iterator[dict[str, object]] = (
        {"prompt": f"a red fox, number {number}", "model": f"bench-{SIZE}"}
        for number in range(arguments.requests)
    )
    with tempfile.TemporaryDirectory(dir=arguments.directory) as out:
        async with AsyncClient(
            base_url=url,
            api_keys=[KEY.format(number) for number in range(arguments.keys)],
            requests_per_second=arguments.rate,
        ) as client:
            started, cpu = time.perf_counter(), time.process_time()
            report = await client.run_batch(rows, out=Path(out) / "out", concurrency=arguments.concurrency)
    assert report.images == arguments.requests, report
    return {
        "images": report.images,
        "run_s": round(time.perf_counter() - started, 1),
        "cpu_ms_per_image": round((time.process_time() - cpu) / report.images * 1000, 3),
        "peak_mib": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024, 1),
    }


def measure(arguments: argparse.Namespace) -> dict[str, float]:
    """Run a batch beside a server of its own; the figures of both."""
    command = [sys.executable, str(Path(__file__).parent / "clients" / "stub.py"), str(SIZE)]
    command += ["--mean-s", str(arguments.mean_s), "--sigma", str(arguments.sigma)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as server:
        assert server.stdout is not None
        port = json.loads(server.stdout.readline())["port"]
        figures = asyncio.run(run(arguments, f"http://127.0.0.1:{port}"))
        keys = json.loads(server.communicate()[0])
    seconds = max(key["seconds"] for key in keys.values())
    return {
        **figures,
        "starts_per_s": round((sum(key["requests"] for key in keys.values()) - len(keys)) / seconds, 2),
        "busiest_second": max(key["busiest_second"] for key in keys.values()),
        "most_at_once": sum(key["most_at_once"] for key in keys.values()),
    }


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--mean-s", type=float, default=12.0)
    parser.add_argument("--sigma", type=float, default=0.5)
    parser.add_argument("--rate", type=float, default=25.0)
    parser.add_argument("--requests", type=int, default=2_400)
    parser.add_argument("--concurrency", type=int)
    parser.add_argument("--keys", type=int, default=1)
    parser.add_argument("--directory", help="Where the batch writes; by default where temporary files go.")
    arguments = parser.parse_args()
    figures = measure(arguments)
    if arguments.json:
        print(json.dumps(figures))
    else:
        for name, value in figures.items():
            print(f"{name:>20} {value:,}")


if __name__ == "__main__":
    main()
