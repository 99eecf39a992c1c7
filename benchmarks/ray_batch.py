"""
Claim: where decoding is the bottleneck a second worker helps, and Ray costs little per image beside a local batch.

    python benchmarks/ray_batch.py [--large 24] [--small 1500] [--json]

The sandbox runs in a process of its own and is not paced. `large` are images of 12 MiB: bytes to decode and to write.
`small` are of 1 KiB: what is left is the price of asking, per image. Ray's start is not counted. The sandbox takes its
share of the same cores, so with two of them two workers cannot be twice as fast.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import multiprocessing
import tempfile
import time
from pathlib import Path
from typing import Any

MODEL = "tiny-and-fast"


def serve(pipe: Any, image_bytes: int) -> None:
    """A sandbox, until the pipe says that it is enough."""
    from nanogpt_images.sandbox import Sandbox

    with Sandbox.in_thread(
        requests_per_second=None, image_bytes=image_bytes, balance_usd=1_000_000.0
    ) as sandbox:
        pipe.send((sandbox.url, sandbox.api_key))
        pipe.recv()


def rows(count: int) -> list[dict[str, object]]:
    return [{"prompt": f"prompt {number}", "model": MODEL} for number in range(count)]


async def local(url: str, key: str, count: int, concurrency: int, out: Path) -> float:
    from nanogpt_images import AsyncClient

    async with AsyncClient(key, url, requests_per_second=None) as client:
        await client.catalog.list()
        began = time.perf_counter()
        report = await client.run_batch(rows(count), out=out, concurrency=concurrency)
    assert report.done == count
    return time.perf_counter() - began


async def on_ray(url: str, key: str, count: int, concurrency: int, workers: int, out: Path) -> float:
    from nanogpt_images.integrations.ray import ray_batch

    began = 0.0
    async with ray_batch(
        rows(count),
        out=out,
        keys=[key],
        base_url=url,
        workers=workers,
        concurrency=concurrency,
        requests_per_second=None,
    ) as run:
        # From the first outcome on: processes have started by then.
        first = 0
        async for _ in run:
            if not began:
                began, first = time.perf_counter(), run.report.done
        ended = time.perf_counter()
    assert run.report.done == count
    return (ended - began) * count / max(1, count - first)


def measure(image_bytes: int, count: int, concurrency: int) -> dict[str, float]:
    """Seconds for each way to do the same."""
    ours, theirs = multiprocessing.Pipe()
    process = multiprocessing.get_context("spawn").Process(target=serve, args=(theirs, image_bytes))
    process.start()
    url, key = ours.recv()
    try:
        with tempfile.TemporaryDirectory() as directory:
            out = Path(directory)
            return {
                "local_s": asyncio.run(local(url, key, count, concurrency, out / "local")),
                "ray_1_worker_s": asyncio.run(on_ray(url, key, count, concurrency, 1, out / "one")),
                "ray_2_workers_s": asyncio.run(on_ray(url, key, count, concurrency, 2, out / "two")),
            }
    finally:
        ours.send(None)
        process.join()


def main() -> None:
    """Measure both sizes and print what came out."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--large", type=int, default=24)
    parser.add_argument("--small", type=int, default=1_500)
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    found: dict[str, Any] = {}
    for name, image_bytes, count, concurrency in (
        ("12 MiB", 12 * 2**20, arguments.large, 8),
        ("1 KiB", 1024, arguments.small, 64),
    ):
        seconds = measure(image_bytes, count, concurrency)
        found[name] = {
            **{label: round(value, 2) for label, value in seconds.items()},
            "images": count,
            "gain_of_the_second_worker": round(seconds["ray_1_worker_s"] / seconds["ray_2_workers_s"], 2),
            "overhead_ms_per_image": round(
                1000 * (seconds["ray_1_worker_s"] - seconds["local_s"]) / count, 2
            ),
        }
        if not arguments.json:
            print(name, found[name], flush=True)
    if arguments.json:
        print(json.dumps(found))


if __name__ == "__main__":
    main()
