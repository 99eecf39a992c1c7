"""
One client, one size, one process: `python harness.py CLIENT URL DIRECTORY SIZE COUNT CONCURRENCY SHA256 [--check]`.

Prints one JSON line. Measured are *count* requests after one of 1 KiB, which loads what loads late: wall time,
CPU of this process (user and system), the peak of its memory above that start, and how late the event loop
was at worst for a timer of 2 ms. Afterwards every file is compared with the digest; images that stay in
memory are compared with `--check`, outside the measurement.
"""

from __future__ import annotations

import asyncio
import hashlib
import importlib
import json
import resource
import shutil
import sys
import time
from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from pathlib import Path

WARM_UP_BYTES = 1024
TICK_S = 0.002

# What a client module offers under each of its names: requests of `model`, `count` of them, so many at once.
Run = Callable[[str, int, int], Awaitable[None]]
Keep = Callable[[bytes], None]
Opener = Callable[[str, Path, Keep], AbstractAsyncContextManager[Run]]

MODULES = {
    "ours": "ngi",
    "ours-memory": "ngi",
    "ours-batch": "ngi",
    "ours-batch-nojournal": "ngi",
    "openai": "openai_sdk",
    "openai-memory": "openai_sdk",
    "openai-pybase64": "openai_sdk",
    "openai-pybase64-memory": "openai_sdk",
    "openai-aiohttp": "openai_sdk",
    "aiohttp-json": "plain",
    "floor": "floor",
}


def fan_out(call: Callable[[str, int], Awaitable[None]]) -> Run:
    """A `Run` of a client that makes one image: *concurrency* workers over one counter."""

    async def run(model: str, count: int, concurrency: int) -> None:
        numbers = iter(range(count))

        async def work() -> None:
            for number in numbers:
                await call(model, number)

        await asyncio.gather(*(work() for _ in range(concurrency)))

    return run


def peak_bytes() -> int:
    """Greatest resident size so far; on Linux of this program alone, not of the one that started it."""
    status = Path("/proc/self/status")
    if status.exists():
        line = next(line for line in status.read_text().splitlines() if line.startswith("VmHWM"))
        return int(line.split()[1]) * 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


def cpu_s() -> float:
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime


class Ticker:
    """Keeps the greatest delay of a timer."""

    def __init__(self) -> None:
        self.worst_s = 0.0
        self._loop = asyncio.get_running_loop()
        self._next()

    def _next(self) -> None:
        self._due = self._loop.time() + TICK_S
        self._handle = self._loop.call_at(self._due, self._tick)

    def _tick(self) -> None:
        self.worst_s = max(self.worst_s, self._loop.time() - self._due)
        self._next()

    def stop(self) -> None:
        self.worst_s = max(self.worst_s, self._loop.time() - self._due)
        self._handle.cancel()


async def measure(
    client: str, url: str, directory: Path, size: int, count: int, concurrency: int, digest: str, check: bool
) -> dict[str, float | str]:
    received = 0

    def keep(data: bytes) -> None:
        nonlocal received
        received += 1
        if check and hashlib.sha256(data).hexdigest() != digest:
            raise SystemExit(f"{client}: an image differs from what was sent")

    opener: Opener = importlib.import_module(MODULES[client]).CLIENTS[client]
    warm, kept = directory / "warm", directory / "kept"
    warm.mkdir()
    kept.mkdir()
    async with opener(url, warm, lambda _: None) as run:
        await run(f"bench-{WARM_UP_BYTES}", 1, 1)
    async with opener(url, kept, keep) as run:
        base = peak_bytes()
        ticker = Ticker()
        cpu, wall = cpu_s(), time.perf_counter()
        await run(f"bench-{size}", count, concurrency)
        cpu, wall = cpu_s() - cpu, time.perf_counter() - wall
        ticker.stop()
        peak = peak_bytes() - base
    files = [path for path in kept.rglob("*") if path.is_file() and path.suffix in ("", ".png")]
    for path in files:
        with path.open("rb") as file:
            if hashlib.file_digest(file, "sha256").hexdigest() != digest:
                raise SystemExit(f"{client}: {path.name} differs from what was sent")
    if received + len(files) != count:
        raise SystemExit(f"{client}: {received + len(files)} images instead of {count}")
    shutil.rmtree(directory)
    return {
        "client": client,
        "images_per_s": count / wall,
        "cpu_ms": cpu / count * 1e3,
        "peak_mib": peak / 2**20,
        "stall_ms": ticker.worst_s * 1e3,
    }


def main() -> None:
    client, url, directory, size, count, concurrency, digest, *flags = sys.argv[1:]
    path = Path(directory)
    path.mkdir()
    result = asyncio.run(
        measure(client, url, path, int(size), int(count), int(concurrency), digest, "--check" in flags)
    )
    print(json.dumps(result))


if __name__ == "__main__":
    main()
