"""A batch against the sandbox: a real socket, a real journal, and a ledger that tells who paid for what."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterable, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path

import attrs
import pytest

from nanogpt_images import AsyncClient, RetryPolicy
from nanogpt_images.batch.events import BatchEvent, BatchReport
from nanogpt_images.batch.journal import Ending, Journal, Totals
from nanogpt_images.batch.rows import BatchRow
from nanogpt_images.sandbox import Fault, Sandbox

MODEL = "tiny-and-fast"
# Repeats come at once: what is waited for in earnest is no matter of these tests.
AT_ONCE = RetryPolicy(initial_delay_s=0, max_retry_after_s=0)

Rows = Iterable[BatchRow | Mapping[str, object]]


@attrs.frozen
class Job:
    """A directory, a client, and the sandbox that it talks to."""

    sandbox: Sandbox
    client: AsyncClient
    out: Path

    def rows(self, number_of_rows: int, /, **fields: object) -> list[dict[str, object]]:
        """Rows with different prompts."""
        return [{"prompt": f"prompt {number}", "model": MODEL, **fields} for number in range(number_of_rows)]

    async def run(self, rows: Rows, **options) -> tuple[list[BatchEvent], BatchReport]:
        """A batch in the directory, to its end."""
        options.setdefault("out", self.out)
        async with self.client.batch(rows, **options) as run:
            events = [event async for event in run]
        return events, run.report

    async def retry(self, **options) -> tuple[list[BatchEvent], BatchReport]:
        """A retry of the directory, to its end."""
        async with self.client.retry_batch(self.out, **options) as run:
            events = [event async for event in run]
        return events, run.report

    async def totals(self) -> Totals:
        """What the journal says."""
        async with await Journal.open(self.out, service=None, read_only=True) as journal:
            return await journal.totals()

    async def endings(self) -> list[Ending]:
        """What failed, and what is unknown."""
        async with await Journal.open(self.out, service=None, read_only=True) as journal:
            return [ending async for ending in journal.failures()] + [
                ending async for ending in journal.unknowns()
            ]

    @property
    def files(self) -> list[str]:
        """Names of the images on disk, half-written ones included."""
        return sorted(path.name for path in (self.out / "images").iterdir())

    @property
    def billed(self) -> list[str]:
        """The prompts that were paid for, each as often as it was."""
        return sorted(entry.prompt for entry in self.sandbox.ledger.billed)


OpenJob = Callable[..., AbstractAsyncContextManager[Job]]


@pytest.fixture
def open_job(tmp_path: Path) -> OpenJob:
    """Opens a sandbox with these faults and options, and a client of it whose repeats come at once."""

    @asynccontextmanager
    async def opened(
        *faults: Fault, client: Mapping[str, object] | None = None, **options
    ) -> AsyncIterator[Job]:
        options.setdefault("requests_per_second", None)
        async with Sandbox(faults=faults, **options) as sandbox:
            given = {"requests_per_second": None, "retry": AT_ONCE, **(client or {})}
            async with AsyncClient(sandbox.api_key, sandbox.url, **given) as made:
                yield Job(sandbox, made, tmp_path / "out")

    return opened
