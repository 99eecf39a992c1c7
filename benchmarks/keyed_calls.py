"""
What a key costs: a call with `key=` beside the same call without, in turn, and a hit.

The sandbox runs in a process of its own and answers with images of 1 KiB; the ledger is on a memory file system where
there is one, so that the time is the client's and not the disk's.

    python benchmarks/keyed_calls.py [--calls N]
"""

from __future__ import annotations

import argparse
import asyncio
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

import nanogpt_images as ngi

SERVICE = """
import asyncio
from nanogpt_images.sandbox import Sandbox
async def main():
    async with Sandbox(requests_per_second=None, image_bytes=1024, balance_usd=1e6) as sandbox:
        print(sandbox.url, sandbox.api_key, flush=True)
        await asyncio.sleep(3600)
asyncio.run(main())
"""


async def measure(url: str, key: str, folder: str, calls: int) -> None:
    """Print the medians, their ratio, and the CPU time of a hit."""
    async with ngi.AsyncClient(key, url, requests_per_second=None, ledger=Path(folder) / "paid.db") as client:

        async def draw(order: str | None = None) -> object:
            return await client.images.generate("a fox", model="tiny-and-fast", key=order)

        async def timed(call: Callable[[], Awaitable[object]]) -> float:
            started = time.perf_counter()
            await call()
            return time.perf_counter() - started

        await draw()
        await draw("first")
        plain, keyed = [], []
        for number in range(calls):
            plain.append(await timed(draw))
            keyed.append(await timed(lambda number=number: draw(f"order-{number}")))
        started = time.process_time()
        for _ in range(calls):
            await draw("first")
        hit_s = (time.process_time() - started) / calls
    without, with_key = statistics.median(plain), statistics.median(keyed)
    print(
        f"p50 without a key {without * 1e3:.2f} ms, with one {with_key * 1e3:.2f} ms: {with_key / without:.2f} times"
    )
    print(f"a hit takes {hit_s * 1e3:.3f} ms of CPU")


def main() -> None:
    """Run the sandbox and measure."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--calls", type=int, default=1_000)
    calls = parser.parse_args().calls
    memory = "/dev/shm" if Path("/dev/shm").is_dir() else None
    service = subprocess.Popen([sys.executable, "-c", SERVICE], stdout=subprocess.PIPE, text=True)
    try:
        assert service.stdout is not None
        url, key = service.stdout.readline().split()
        with tempfile.TemporaryDirectory(dir=memory) as folder:
            asyncio.run(measure(url, key, folder, calls))
    finally:
        service.terminate()
        service.wait()


if __name__ == "__main__":
    main()
