"""This package: streamed to disk, kept in memory, and as a batch with and without its journal."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, AsyncExitStack
from pathlib import Path

from harness import Keep, Run, fan_out

from nanogpt_images import AsyncClient
from nanogpt_images.batch.recorder import MemoryRecorder, Recorder
from nanogpt_images.batch.runner import Batch

KEY = "sk-nano-00000000-0000-4000-8000-000000000000"


def client_of(url: str) -> AsyncClient:
    """Everything as by default but the pacing, which would be all that is measured."""
    return AsyncClient(KEY, url, requests_per_second=None)


@contextlib.asynccontextmanager
async def to_disk(url: str, directory: Path, keep: Keep) -> AsyncIterator[Run]:
    del keep
    async with client_of(url) as client:

        async def call(model: str, number: int) -> None:
            await client.images.generate_to(directory, "a red fox", model=model, name=f"{number:06}")

        yield fan_out(call)


@contextlib.asynccontextmanager
async def in_memory(url: str, directory: Path, keep: Keep) -> AsyncIterator[Run]:
    del directory
    async with client_of(url) as client:

        async def call(model: str, number: int) -> None:
            result = await client.images.generate("a red fox", model=model)
            keep(result.images[0].data or b"")

        yield fan_out(call)


class Unjournalled(Batch):
    """A batch that writes its files and keeps no journal: what the journal costs is the difference."""

    async def _open(self, stack: AsyncExitStack) -> tuple[Recorder, int]:
        del stack
        return MemoryRecorder(), 0


def batch(*, journal: bool) -> Callable[[str, Path, Keep], AbstractAsyncContextManager[Run]]:
    @contextlib.asynccontextmanager
    async def opened(url: str, directory: Path, keep: Keep) -> AsyncIterator[Run]:
        del keep
        async with client_of(url) as client:

            async def run(model: str, count: int, concurrency: int) -> None:
                rows = [
                    {"prompt": "a red fox", "model": model, "key": f"{number:06}"} for number in range(count)
                ]
                made = client.batch(rows, out=directory, concurrency=concurrency)
                if not journal:
                    made.__class__ = Unjournalled
                async with made as running:
                    report = await running.wait()
                assert report.images == count, report

            yield run

    return opened


CLIENTS = {
    "ours": to_disk,
    "ours-memory": in_memory,
    "ours-batch": batch(journal=True),
    "ours-batch-nojournal": batch(journal=False),
}
