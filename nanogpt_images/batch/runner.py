"""A batch as its user holds it: an async context manager that yields an event for each paid request."""

from __future__ import annotations

import contextlib
import os
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sized
from functools import partial
from typing import Final, Self, cast

import anyio
from anyio.abc import TaskGroup
from anyio.streams.memory import MemoryObjectReceiveStream, MemoryObjectSendStream

from .._base.descriptors import most_at_once, room_for
from .._base.threads import in_thread
from ..errors import ConfigurationError, NanoGPTError
from ..money.budget import Budget
from ..money.nano import to_nano, to_usd
from ..outputs import make_directory
from ..resources.catalog import Catalog
from ..resources.ledger.paid_ledger import PaidLedger
from ..resources.pipeline import Pipeline
from ..transport.key_ring import KeyRing
from ..transport.pacing.pacer import Pacer
from .base import BatchBase
from .batch_options import DEFAULT_AT_ONCE, BatchOptions
from .events import BatchEvent, BatchReport, Tally
from .journal import Journal, ManifestRecord
from .journal.key_budget import KeyBudget
from .manifest.picks import read_picks
from .manifest.reader import ManifestRows, names_manifest, rows_from
from .manifest.source import record_of, rows_again
from .manifest.tables import Table, is_table
from .recorder import MemoryRecorder, Recorder
from .rows import refuse_one_row
from .run.assembly import assemble
from .run.concurrency import ConcurrencyLimit
from .run.executor import Executor
from .run.later import Later
from .run.objects import ObjectStorage
from .run.progress import Progress, RunTarget, showing
from .run.recovery import recover
from .run.reuse import Reuse
from .run.settlement import Task
from .run.stop_signal import StopSignal
from .run.task_source import Rows, TaskSource
from .run.uploading import Uploading

_MOST_LATER: Final = 1024
_LATER_AT_ONCE: Final = 4


class Batch(BatchBase):
    """
    Many generations at once. Make it with `client.batch()`::

        async with client.batch(rows, out="out/") as run:
            async for event in run:
                print(event.key, event.state)
        print(run.report)

    Leaving the block early (`break`) stops sending and waits for the requests in flight, because they are being paid
    for; cancelling aborts them, and what had been sent becomes `unknown`. A block that never
    iterates runs to the end.
    """

    def __init__(
        self,
        rows: Rows | Table | str | os.PathLike[str] | None,
        options: BatchOptions,
        *,
        images: Pipeline,
        catalog: Catalog,
        service: Callable[[], Awaitable[str]],
        keys: KeyRing | None = None,
        at_least: Callable[[int], None] = lambda _: None,
        on_event: Callable[[BatchEvent], object] | None = None,
    ) -> None:
        if rows is None and options.out is None:
            raise ConfigurationError("a batch without rows needs the directory of a journal: pass out=.")
        if rows is not None and not names_manifest(rows) and not is_table(rows):
            refuse_one_row(rows)
        super().__init__()
        self._rows = cast("Rows | None", rows)
        self._images = images
        self._catalog = catalog
        self._service = service
        self._options = options
        self._again: frozenset[str] | None = None
        self._keys = keys
        self._rate = None if keys is None else keys.rate
        self._at_least = at_least
        self._on_event = on_event
        self._reuse = (
            None if options.reuse is None else Reuse(PaidLedger(options.reuse, service), images, options.out)
        )
        self._tally = Tally()
        self._stop_signal = StopSignal(
            patience=options.patience, keep_going=options.keep_going or rows is None
        )
        self._concurrency_limit = ConcurrencyLimit(options.concurrency or DEFAULT_AT_ONCE)
        self._journal: Journal | None = None
        self._unfinished: list[tuple[ManifestRecord, ManifestRows]] = []
        self._pacers: list[Pacer] = []
        self._accounts: list[KeyBudget] = []

    @property
    def report(self) -> BatchReport:
        """The numbers now; final once the block is left."""
        return self._tally.report(self._stop_signal.reason)

    @property
    def in_flight(self) -> int:
        """Requests in flight now."""
        return self._concurrency_limit.active

    @property
    def limit(self) -> int:
        """Requests that may be in flight now: as many as the pace needs, fewer while the service pushes back."""
        return self._concurrency_limit.limit

    @property
    def throttle(self) -> str:
        """What keeps requests back now and why, such as `paused for 12 s after 429 rate_limit_exceeded`; else nothing."""
        return self._concurrency_limit.throttle

    @property
    def expected_requests(self) -> int | None:
        """Requests of all rows, once they are read; before, what their number suggests. None where it is not known."""
        rows = len(self._rows) if isinstance(self._rows, Sized) else self._tally.manifest_rows
        if rows is None or not self._tally.rows:
            return None
        return round(self._tally.units * max(rows, self._tally.rows) / self._tally.rows)

    def _show(self, progress: Progress) -> None:
        progress.show(self.report, self.throttle, self.expected_requests)

    def drain(self) -> None:
        """Stop sending; requests in flight end, and their events still come. A rerun resumes."""
        self._stop_signal.stop()

    async def __aenter__(self) -> Self:
        concurrency = await in_thread(self._most_at_once)
        self._at_least(concurrency)
        self._concurrency_limit = ConcurrencyLimit(concurrency, rate=self._rate)
        async with contextlib.AsyncExitStack() as stack:
            recorder, spent = await self._open(stack)
            executor = assemble(
                self._options,
                images=self._images,
                recorder=recorder,
                budget=Budget(self._options.cap_nano, spent),
                stop_signal=self._stop_signal,
                tally=self._tally,
                concurrency_limit=self._concurrency_limit,
                pacers=self._pacers,
                accounts=self._accounts,
                later=Later(_MOST_LATER, self._images.download_retry),
            )
            source = TaskSource(
                catalog=self._catalog,
                recorder=recorder,
                tally=self._tally,
                options=self._options,
                needs_price=self._options.cap_nano is not None or self._options.key_budget_usd is not None,
                moderation=self._images.moderation,
            )
            send, receive = anyio.create_memory_object_stream[BatchEvent](min(concurrency, DEFAULT_AT_ONCE))
            stack.enter_context(receive)
            if self._options.progress:
                goal = RunTarget(
                    requests=None,
                    budget_usd=self._options.budget_usd,
                    spent_usd=to_usd(spent),
                    leaves_line=True,
                )
                await stack.enter_async_context(showing(goal, self._show))
            group = await stack.enter_async_context(anyio.create_task_group())
            self._start(group, executor, source, send)
            self._follow(receive, group, stack.pop_all())
        return self

    async def _open(self, stack: contextlib.AsyncExitStack) -> tuple[Recorder, int]:
        options, out = self._options, self._options.out
        if self._rows is not None:
            self._rows = await in_thread(partial(_opened, self._rows, options.model, options.defaults))
        if self._reuse is not None:
            stack.push_async_callback(self._reuse.aclose)
        if out is None:
            if self._reuse is not None:
                await self._reuse.open(None)
            return MemoryRecorder(), 0
        self._journal = journal = await Journal.open(
            out, service=await self._service(), join=options.join, adopt=options.adopt
        )
        stack.push_async_callback(journal.aclose)
        await in_thread(make_directory, out / "images")
        recorder: Recorder = journal
        if options.images_url is not None:
            storage = ObjectStorage(options.images_url)
            await storage.probe()
            recorder = Uploading(journal, storage, out)
        if not options.join:
            await recover(journal, recorder)
        if self._reuse is not None:
            await self._reuse.open(journal)
        if self._keys is not None:
            self._book_by_key(journal, self._keys)
            self._pacers = self._keys.pacers(out)
            for pacer in self._pacers:
                stack.callback(pacer.close)
        if options.picked is not None:
            self._again = (await in_thread(read_picks, options.picked)).again
            await journal.remake(self._again)
        else:
            if self._rows is None:
                await journal.reopen(unknown=options.retry_unknown)
            await self._find_manifests(journal)
        totals = await journal.totals()
        rows = len(self._rows) if isinstance(self._rows, Sized) else self._tally.manifest_rows or 0
        self._tally.units_expected = max(rows, sum(totals.units.values()))
        return recorder, totals.committed_nano

    def _book_by_key(self, journal: Journal, keys: KeyRing) -> None:
        """Book each request on the key that it is sent with, where there are several or a cap for each."""
        cap_usd = self._options.key_budget_usd
        if len(keys.lanes) == 1 and cap_usd is None:
            return
        cap_nano = None if cap_usd is None else to_nano(cap_usd)
        self._accounts = [
            KeyBudget(journal, lane.name, label=lane.label, cap_nano=cap_nano) for lane in keys.lanes
        ]

    async def _find_manifests(self, journal: Journal) -> None:
        """Record the manifest that the rows come from; for a retry, find those that were not read to their end."""
        if isinstance(self._rows, ManifestRows):
            record = await in_thread(record_of, self._rows, self._options.defaults)
            self._tally.expect(await journal.follow(record, beside_others=self._options.join))
        if self._rows is not None:
            return
        for record in (await journal.totals()).manifests:
            if record.unread:
                rows = await in_thread(rows_again, record)
                self._tally.expect(record, is_there=rows is not None)
                if rows is not None:
                    self._unfinished.append((record, rows))

    def _start(
        self,
        group: TaskGroup,
        executor: Executor,
        source: TaskSource,
        send: MemoryObjectSendStream[BatchEvent],
    ) -> None:
        at_hand = min(self._concurrency_limit.maximum, DEFAULT_AT_ONCE)
        tasks_in, tasks_out = anyio.create_memory_object_stream[Task](at_hand)
        group.start_soon(self._read, source, tasks_in)
        group.start_soon(self._work, executor, tasks_out, send)

    async def _work(
        self,
        executor: Executor,
        tasks: MemoryObjectReceiveStream[Task],
        events: MemoryObjectSendStream[BatchEvent],
    ) -> None:
        later = executor.settlement.later
        async with events:
            async with anyio.create_task_group() as downloads:
                async with tasks, anyio.create_task_group() as workers:
                    workers.start_soon(self._hire, executor, tasks.clone(), events.clone())
                    if later is not None:
                        for _ in range(min(_LATER_AT_ONCE, self._concurrency_limit.maximum)):
                            downloads.start_soon(self._download_later, executor, later, events.clone())
                if later is not None:
                    later.close()
            await self._take_stock()

    async def _hire(
        self,
        executor: Executor,
        tasks: MemoryObjectReceiveStream[Task],
        events: MemoryObjectSendStream[BatchEvent],
    ) -> None:
        """Start a worker for each request that may be in flight, as their number grows; end with the last task."""
        async with tasks, events, anyio.create_task_group() as workers:
            running = 0

            async def serve() -> None:
                nonlocal running
                running += 1
                try:
                    await self._serve(executor, tasks.clone(), events.clone())
                finally:
                    running -= 1
                    if not running:
                        # A worker ends with the last task, and so do all others then.
                        workers.cancel_scope.cancel()

            for hired in range(self._concurrency_limit.maximum):
                await self._concurrency_limit.above(hired)
                self._stop_signal.patience = max(self._stop_signal.patience, hired)
                workers.start_soon(serve)

    def _most_at_once(self) -> int:
        """Return the greatest number of requests at once, as far as the system allows it. Blocking."""
        if self._options.concurrency is not None:
            return room_for(self._options.concurrency)
        return most_at_once() if self._rate is not None else room_for(DEFAULT_AT_ONCE)

    async def _take_stock(self) -> None:
        """Count what is left of a job of several processes: a peer reports it to its own caller alone."""
        if self._journal is None or not self._options.join:
            return
        try:
            self._tally.leave(await self._journal.remainder())
        except NanoGPTError as error:
            self._fail(error)

    async def _download_later(
        self, executor: Executor, later: Later, events: MemoryObjectSendStream[BatchEvent]
    ) -> None:
        async with events:
            # Waiting ends when the batch stops: the rest stays linked for the next run.
            with anyio.CancelScope() as waiting:
                while True:
                    self._stop_signal.cancel_on_stop(waiting)
                    item = await later.next()
                    if item is None:
                        break
                    self._stop_signal.shield(waiting)
                    try:
                        event = await executor.settlement.download_again(item)
                        if self._reuse is not None:
                            await self._reuse.keep(item.task, event)
                        if event is not None and self._on_event is not None:
                            self._on_event(event)
                    except Exception as error:
                        self._fail(error)
                        continue
                    finally:
                        later.done()
                    if event is not None:
                        await events.send(event)
            self._stop_signal.shield(waiting)

    async def _read(self, source: TaskSource, tasks: MemoryObjectSendStream[Task]) -> None:
        async with tasks:
            # A source of rows that waits for something must not keep a stopped batch open.
            with anyio.CancelScope() as reading:
                self._stop_signal.cancel_on_stop(reading)
                try:
                    async for task in self._tasks(source):
                        await tasks.send(task)
                except Exception as error:
                    self._fail(error)
            self._stop_signal.shield(reading)

    def _fail(self, error: Exception) -> None:
        """Stop for *error*, and raise it once the requests in flight, which are being paid for, have ended."""
        self._failure = self._failure or error
        self._stop_signal.stop(error if isinstance(error, NanoGPTError) else None)

    async def _tasks(self, source: TaskSource) -> AsyncIterator[Task]:
        if self._rows is not None:
            async for task in source.tasks(self._rows):
                yield task
        if self._journal is not None:
            for record, rows in self._unfinished:
                await self._journal.follow(record, beside_others=True)
                async for task in source.tasks(rows):
                    yield task
            # All that is open, or with rows of one's own the downloads, and what those left behind who joined in the work.
            left = self._journal.pending(left_by_peers=self._rows is not None, only=self._again)
            async for task in source.resumed(left):
                yield task

    async def _serve(
        self,
        executor: Executor,
        tasks: MemoryObjectReceiveStream[Task],
        events: MemoryObjectSendStream[BatchEvent],
    ) -> None:
        async with tasks, events:
            async for task in tasks:
                if self._stop_signal.requested:
                    # What is left in the stream stays pending; taking it lets the reader end.
                    continue
                try:
                    event = await (
                        executor.execute(task) if self._reuse is None else self._reuse.execute(executor, task)
                    )
                    if event is not None and self._on_event is not None:
                        self._on_event(event)
                except Exception as error:
                    self._fail(error)
                    continue
                if event is not None:
                    await events.send(event)


def _opened(rows: Rows, model: str | None, defaults: Mapping[str, object]) -> Rows:
    return rows_from(rows, model=model, defaults=defaults)
