"""A batch as its user holds it: an async context manager that yields an event for each paid request."""

from __future__ import annotations

import contextlib
import os
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from pathlib import Path
from typing import Final, Self

import anyio
from anyio.abc import TaskGroup
from anyio.streams.memory import MemoryObjectReceiveStream, MemoryObjectSendStream

from .._base.descriptors import room_for
from .._base.threads import in_thread
from ..errors import ConfigurationError, NanoGPTError, ParameterError
from ..money.budget import Budget
from ..money.budget_gate import BudgetGate
from ..money.nano import to_nano
from ..outputs import make_directory
from ..resources.catalog import Catalog
from ..resources.pipeline import Pipeline
from ..transport.pacing.pacer import Pacer
from .base import BatchBase
from .events import BatchEvent, BatchReport, Tally
from .journal import Journal, ManifestRecord
from .manifest.reader import ManifestRows
from .manifest.source import record_of, rows_again
from .picks import read_picks
from .recorder import MemoryRecorder, Recorder
from .rows import refuse_one_row
from .run.concurrency import ConcurrencyLimit
from .run.executor import Executor
from .run.later import Later
from .run.objects import ObjectStorage
from .run.recovery import recover
from .run.settlement import Settlement, Task
from .run.stop_signal import StopSignal
from .run.task_source import Rows, TaskSource
from .run.uploading import Uploading
from .states import State

_MIN_PATIENCE: Final = 8
_LATER_PER_WORKER: Final = 16
_LATER_AT_ONCE: Final = 4


class Batch(BatchBase):
    """
    Many generations at once. Make it with `client.batch()`::

        async with client.batch(rows, out="out/") as run:
            async for event in run:
                print(event.key, event.state)
        print(run.report)

    Leaving the block early (`break`) lets what is under way end, because it is being paid for, and sends
    nothing more; cancelling breaks it off, and what had been sent becomes `unknown`. A block that never
    iterates runs to the end.
    """

    def __init__(
        self,
        rows: Rows | None,
        *,
        images: Pipeline,
        catalog: Catalog,
        service: Callable[[], Awaitable[str]],
        out: str | os.PathLike[str] | None = None,
        concurrency: int = 64,
        budget_usd: float | None = None,
        assume_price_usd: float | None = None,
        model: str | None = None,
        defaults: Mapping[str, object] | None = None,
        validate: bool = True,
        join: bool = False,
        adopt: bool = False,
        images_url: str | None = None,
        retry_unknown: bool = False,
        picked: str | os.PathLike[str] | None = None,
        provenance: bool = False,
        keep_going: bool = False,
        pace: Callable[[Path], Pacer | None] = lambda _: None,
        on_event: Callable[[BatchEvent], object] | None = None,
    ) -> None:
        if concurrency < 1:
            raise ParameterError(
                f"concurrency must be at least 1, not {concurrency}.", parameter="concurrency"
            )
        if budget_usd is not None and not budget_usd >= 0:
            raise ParameterError(f"budget_usd must be 0 or more, not {budget_usd}.", parameter="budget_usd")
        if rows is None and out is None:
            raise ConfigurationError("a batch without rows needs the directory of a journal: pass out=.")
        if provenance and out is None:
            raise ParameterError("provenance is written into files: pass out=.", parameter="provenance")
        if images_url is not None and out is None:
            raise ConfigurationError("images at a URL need the directory of a journal: pass out=.")
        refuse_one_row(rows)
        super().__init__()
        self._rows = rows
        self._images = images
        self._catalog = catalog
        self._service = service
        self._out = None if out is None else Path(out)
        self._concurrency = concurrency
        self._budget_usd = budget_usd
        self._assume_price_usd = assume_price_usd
        self._model = model
        self._defaults = dict(defaults or {})
        self._validate = validate
        self._join = join
        self._adopt = adopt
        self._images_url = images_url
        self._retry_unknown = retry_unknown
        self._picked = picked
        self._again: frozenset[str] | None = None
        self._provenance = provenance
        self._pace = pace
        self._on_event = on_event
        self._tally = Tally()
        self._stop_signal = StopSignal(
            patience=max(_MIN_PATIENCE, concurrency), keep_going=keep_going or rows is None
        )
        self._concurrency_limit = ConcurrencyLimit(concurrency)
        self._journal: Journal | None = None
        self._unfinished: list[tuple[ManifestRecord, ManifestRows]] = []
        self._pacer: Pacer | None = None

    @property
    def report(self) -> BatchReport:
        """The numbers now; final once the block is left."""
        return self._tally.report(self._stop_signal.reason)

    @property
    def in_flight(self) -> int:
        """Requests under way now."""
        return self._concurrency_limit.active

    @property
    def limit(self) -> int:
        """Requests that may be under way at once now; below `concurrency` while the service pushes back."""
        return self._concurrency_limit.limit

    @property
    def throttle(self) -> str:
        """What keeps requests back now and why, such as `paused for 12 s after 429 rate_limit_exceeded`; else nothing."""
        return self._concurrency_limit.throttle

    def drain(self) -> None:
        """Send nothing more; what is under way ends, and its events still come. A rerun resumes."""
        self._stop_signal.stop()

    async def __aenter__(self) -> Self:
        self._concurrency = await in_thread(room_for, self._concurrency)
        self._concurrency_limit = ConcurrencyLimit(self._concurrency)
        async with contextlib.AsyncExitStack() as stack:
            recorder, spent = await self._open(stack)
            cap = None if self._budget_usd is None else to_nano(self._budget_usd)
            budget_gate = BudgetGate(Budget(cap, spent))
            endings = Settlement(
                images=self._images,
                recorder=recorder,
                budget_gate=budget_gate,
                stop_signal=self._stop_signal,
                tally=self._tally,
                out=self._out,
                provenance=self._provenance,
                elsewhere=self._images_url is not None,
                later=Later(_LATER_PER_WORKER * self._concurrency, self._images.download_retry),
            )
            work = Executor(
                images=self._images,
                recorder=recorder,
                budget_gate=budget_gate,
                concurrency_limit=self._concurrency_limit,
                stop_signal=self._stop_signal,
                tally=self._tally,
                endings=endings,
                pacer=self._pacer,
            )
            send, receive = anyio.create_memory_object_stream[BatchEvent](self._concurrency)
            stack.enter_context(receive)
            group = await stack.enter_async_context(anyio.create_task_group())
            self._start(group, work, self._feed(recorder, cap), send)
            self._follow(receive, group, stack.pop_all())
        return self

    async def _open(self, stack: contextlib.AsyncExitStack) -> tuple[Recorder, int]:
        if self._out is None:
            return MemoryRecorder(), 0
        self._journal = journal = await Journal.open(
            self._out, service=await self._service(), join=self._join, adopt=self._adopt
        )
        stack.push_async_callback(journal.aclose)
        await in_thread(make_directory, self._out / "images")
        recorder: Recorder = journal
        if self._images_url is not None:
            storage = ObjectStorage(self._images_url)
            await storage.probe()
            recorder = Uploading(journal, storage, self._out)
        if not self._join:
            await recover(journal, recorder)
        self._pacer = self._pace(self._out)
        if self._pacer is not None:
            stack.callback(self._pacer.close)
        if self._picked is not None:
            self._again = (await in_thread(read_picks, self._picked)).again
            await journal.remake(self._again)
        else:
            if self._rows is None:
                await journal.reopen(unknown=self._retry_unknown)
            await self._find_manifests(journal)
        totals = await journal.totals()
        return recorder, totals.committed_nano

    async def _find_manifests(self, journal: Journal) -> None:
        """Record the manifest that the rows come from; for a retry, find those that were not read to their end."""
        if isinstance(self._rows, ManifestRows):
            record = await in_thread(record_of, self._rows, self._defaults)
            self._tally.expect(await journal.follow(record, beside_others=self._join))
        if self._rows is not None:
            return
        for record in (await journal.totals()).manifests:
            if record.unread:
                rows = await in_thread(rows_again, record)
                self._tally.expect(record, is_there=rows is not None)
                if rows is not None:
                    self._unfinished.append((record, rows))

    def _feed(self, recorder: Recorder, cap: int | None) -> TaskSource:
        return TaskSource(
            catalog=self._catalog,
            recorder=recorder,
            tally=self._tally,
            model=self._model,
            defaults=self._defaults,
            validate=self._validate,
            assume_price_usd=self._assume_price_usd,
            needs_price=cap is not None,
        )

    def _start(
        self, group: TaskGroup, work: Executor, feed: TaskSource, send: MemoryObjectSendStream[BatchEvent]
    ) -> None:
        tasks_in, tasks_out = anyio.create_memory_object_stream[Task](self._concurrency)
        group.start_soon(self._read, feed, tasks_in, work.stop_signal)
        group.start_soon(self._work, work, tasks_out, send)

    async def _work(
        self,
        work: Executor,
        tasks: MemoryObjectReceiveStream[Task],
        events: MemoryObjectSendStream[BatchEvent],
    ) -> None:
        later = work.endings.later
        async with events:
            async with anyio.create_task_group() as downloads:
                async with tasks, anyio.create_task_group() as workers:
                    for _ in range(self._concurrency):
                        workers.start_soon(self._serve, work, tasks.clone(), events.clone())
                    if later is not None:
                        for _ in range(min(_LATER_AT_ONCE, self._concurrency)):
                            downloads.start_soon(self._download_later, work, later, events.clone())
                if later is not None:
                    later.close()
            await self._take_stock(work.stop_signal)

    async def _take_stock(self, stop_signal: StopSignal) -> None:
        """Count what a job of several processes leaves undone: a peer that stopped says so to its own caller alone."""
        if self._journal is None or not self._join:
            return
        try:
            left = await self._journal.left_open()
        except NanoGPTError as error:
            self._fail(stop_signal, error)
            return
        self._tally.leave(pending=left[State.PENDING], open_downloads=left[State.LINKED])

    async def _download_later(
        self, work: Executor, later: Later, events: MemoryObjectSendStream[BatchEvent]
    ) -> None:
        async with events:
            # Waiting ends when the batch stops: what is left stays linked for the next run.
            with anyio.CancelScope() as waiting:
                while True:
                    work.stop_signal.idle(waiting)
                    item = await later.next()
                    if item is None:
                        break
                    work.stop_signal.busy(waiting)
                    try:
                        event = await work.endings.download_again(item)
                        if event is not None and self._on_event is not None:
                            self._on_event(event)
                    except Exception as error:
                        self._fail(work.stop_signal, error)
                        continue
                    finally:
                        later.done()
                    if event is not None:
                        await events.send(event)
            work.stop_signal.busy(waiting)

    async def _read(
        self, feed: TaskSource, tasks: MemoryObjectSendStream[Task], stop_signal: StopSignal
    ) -> None:
        async with tasks:
            # A source of rows that waits for something must not keep a stopped batch open.
            with anyio.CancelScope() as reading:
                stop_signal.idle(reading)
                try:
                    async for task in self._tasks(feed):
                        await tasks.send(task)
                except Exception as error:
                    self._fail(stop_signal, error)
            stop_signal.busy(reading)

    def _fail(self, stop_signal: StopSignal, error: Exception) -> None:
        """Stop for *error*, and raise it once what is under way has ended: that is being paid for."""
        self._failure = self._failure or error
        stop_signal.stop(error if isinstance(error, NanoGPTError) else None)

    async def _tasks(self, feed: TaskSource) -> AsyncIterator[Task]:
        if self._rows is not None:
            async for task in feed.tasks(self._rows):
                yield task
        if self._journal is not None:
            for record, rows in self._unfinished:
                await self._journal.follow(record, beside_others=True)
                async for task in feed.tasks(rows):
                    yield task
            # All that is open, or with rows of one's own what those left behind who joined in the work.
            left = self._journal.pending(left_by_peers=self._rows is not None, only=self._again)
            async for task in feed.resumed(left):
                yield task

    async def _serve(
        self,
        work: Executor,
        tasks: MemoryObjectReceiveStream[Task],
        events: MemoryObjectSendStream[BatchEvent],
    ) -> None:
        async with tasks, events:
            async for task in tasks:
                if work.stop_signal.requested:
                    # What is left in the stream stays pending; taking it lets the reader end.
                    continue
                try:
                    event = await work.carry_out(task)
                    if event is not None and self._on_event is not None:
                        self._on_event(event)
                except Exception as error:
                    self._fail(work.stop_signal, error)
                    continue
                if event is not None:
                    await events.send(event)
