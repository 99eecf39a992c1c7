"""A distributed batch in one process: coordinator and workers as tasks, with calls that can get lost."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import Any

import attrs
import pytest

from nanogpt_images import RetryPolicy
from nanogpt_images.batch.batch_options import BatchOptions
from nanogpt_images.batch.events import BatchEvent, BatchReport
from nanogpt_images.batch.journal import Ending, Journal, ManifestRecord, Totals
from nanogpt_images.batch.rows import BatchRow
from nanogpt_images.distributed.coordinator import Coordinator
from nanogpt_images.distributed.driver import DistributedBatch
from nanogpt_images.distributed.messages import ApiKey, Job, UnreachableError
from nanogpt_images.distributed.replay import ReplayableRows
from nanogpt_images.distributed.worker import Worker
from nanogpt_images.sandbox import Fault, Sandbox

MODEL = "tiny-and-fast"
AT_ONCE = RetryPolicy(initial_delay_s=0, max_retry_after_s=0)


class Wire:
    """Calls to a coordinator that can die in their middle, and to the one that follows it."""

    def __init__(self, coordinator: Coordinator) -> None:
        self.coordinator: Coordinator | None = coordinator
        self.calls: set[asyncio.Task[Any]] = set()
        self.lose_answer_to: list[str] = []

    def __getattr__(self, name: str) -> Callable[..., Any]:
        async def call(*args: object, **kwargs: object) -> object:
            if self.coordinator is None:
                await asyncio.sleep(0)
                raise UnreachableError
            task = asyncio.ensure_future(getattr(self.coordinator, name)(*args, **kwargs))
            self.calls.add(task)
            try:
                await asyncio.wait([task])
            except asyncio.CancelledError:
                # As with a real actor: a caller that goes does not stop the call.
                raise
            finally:
                self.calls.discard(task)
            if task.cancelled():
                raise UnreachableError
            if name in self.lose_answer_to:
                self.lose_answer_to.remove(name)
                task.exception()
                raise UnreachableError
            return task.result()

        return call


class Cut:
    """A worker's end of the wire, which can be cut."""

    def __init__(self, wire: Wire) -> None:
        self.wire = wire
        self.is_cut = False

    def __getattr__(self, name: str) -> Callable[..., Any]:
        async def call(*args: object, **kwargs: object) -> object:
            if self.is_cut:
                raise asyncio.CancelledError  # who is killed reports nothing, also not to the event loop
            return await getattr(self.wire, name)(*args, **kwargs)

        return call


class Cluster:
    """Workers as tasks of this process."""

    def __init__(self, job: Job) -> None:
        self.job = job
        self.wire = Wire(Coordinator(job))
        self.workers: dict[str, tuple[asyncio.Task[None], Cut]] = {}

    @property
    def coordinator(self) -> Any:
        return self.wire

    async def work(self, name: str, key: int, concurrency: int) -> None:
        wire = Cut(self.wire)
        worker = Worker(self.job, wire, name=name, key=key, concurrency=concurrency, retry=AT_ONCE)  # type: ignore[arg-type]
        task = asyncio.ensure_future(worker.run())
        self.workers[name] = (task, wire)
        try:
            await asyncio.wait([task])
        finally:
            task.cancel()
            del self.workers[name]
        if wire.is_cut or task.cancelled():
            raise UnreachableError
        task.result()

    def kill_worker(self, name: str) -> None:
        """End a worker as a kill does: it tells nobody anything any more."""
        task, wire = self.workers[name]
        wire.is_cut = True
        task.cancel()

    def holder(self, prompt: str) -> str:
        """The worker that holds the unit with this prompt."""
        coordinator = self.wire.coordinator
        assert coordinator is not None
        leases = coordinator._leases._leases.values()
        return next(lease.worker for lease in leases if lease.task.unit.row.prompt == prompt)

    async def crash_coordinator(self) -> None:
        """The coordinator dies as by a kill: nothing is recorded, its lock is free."""
        coordinator, self.wire.coordinator = self.wire.coordinator, None
        assert coordinator is not None
        assert coordinator._resources is not None
        for call in self.wire.calls:
            call.cancel()
        assert coordinator._watch is not None
        coordinator._watch.cancel()
        await coordinator._resources.client.aclose()
        await coordinator._resources.journal._run(lambda store: store.members.drop())

    def restart_coordinator(self) -> None:
        """Another one takes its place."""
        self.wire.coordinator = Coordinator(self.job, restarted=True)

    async def aclose(self) -> None:
        for name in list(self.workers):
            self.kill_worker(name)


Rows = Iterable[BatchRow | Mapping[str, object]]


@attrs.define
class Setup:
    """A sandbox and a directory."""

    sandbox: Sandbox
    out: Path
    cluster: Cluster | None = None

    def rows(self, number_of_rows: int, /, **fields: object) -> list[dict[str, object]]:
        return [{"prompt": f"prompt {number}", "model": MODEL, **fields} for number in range(number_of_rows)]

    def batch(
        self,
        rows: Rows | None,
        *,
        workers: int = 2,
        concurrency: int = 4,
        keys: Iterable[ApiKey] | None = None,
        requests_per_second: float | None = None,
        budget_usd: float | None = None,
        retry_unknown: bool = False,
        manifest: ManifestRecord | None = None,
    ) -> DistributedBatch:
        job = Job(
            manifest=manifest,
            options=BatchOptions(
                out=self.out,
                concurrency=concurrency,
                budget_usd=budget_usd,
                retry_unknown=retry_unknown,
            ),
            base_url=self.sandbox.url,
            keys=tuple(keys or [ApiKey(key=self.sandbox.api_key)]),
            requests_per_second=requests_per_second,
        )

        async def connect() -> Cluster:
            self.cluster = Cluster(job)
            return self.cluster

        return DistributedBatch(
            None if rows is None else ReplayableRows(rows),
            job=job,
            connect=connect,
            workers=workers,
        )

    async def run(self, rows: Rows | None, **options: Any) -> tuple[list[BatchEvent], BatchReport]:
        async with self.batch(rows, **options) as run:
            events = [event async for event in run]
        return events, run.report

    async def totals(self) -> Totals:
        async with await Journal.open(self.out, service=None, read_only=True) as journal:
            return await journal.totals()

    async def unknowns(self) -> list[Ending]:
        async with await Journal.open(self.out, service=None, read_only=True) as journal:
            return [ending async for ending in journal.unknowns()]

    @property
    def billed(self) -> list[str]:
        return sorted(entry.prompt for entry in self.sandbox.ledger.billed)

    @property
    def files(self) -> list[str]:
        return sorted(path.name for path in (self.out / "images").iterdir())


OpenSetup = Callable[..., AbstractAsyncContextManager[Setup]]


@pytest.fixture
def setup(tmp_path: Path) -> OpenSetup:
    """Opens a sandbox with these faults and options."""

    @asynccontextmanager
    async def opened(*faults: Fault, **options: Any) -> AsyncIterator[Setup]:
        options.setdefault("requests_per_second", None)
        async with Sandbox(faults=faults, **options) as sandbox:
            yield Setup(sandbox, tmp_path / "out")

    return opened
