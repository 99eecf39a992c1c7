"""A distributed batch as its user holds it: the same `async with` and the same events as a local one."""

from __future__ import annotations

import asyncio
import contextlib
import secrets
from collections.abc import Awaitable, Callable, Coroutine
from functools import partial
from typing import Any, Final, Protocol, Self, TypeVar

import anyio
import attrs
from anyio.abc import ObjectSendStream

from ..batch.base import BatchBase
from ..batch.batch_options import DEFAULT_AT_ONCE
from ..batch.events import BatchEvent, BatchReport, Failures
from ..batch.journal import Totals
from ..batch.run.task_source import row_of
from ..errors import BatchError, NanoGPTError
from .counts import report_of
from .keys import Keys
from .messages import ForDriver, Job, Status, UnreachableError
from .replay import ReplayableRows

R = TypeVar("R")
_POLL_S: Final = 0.25
_AGAIN_S: Final = 0.5
_MOST_DEATHS: Final = 10
_CLOSE_S: Final = 30.0


class Cluster(Protocol):
    """What runs coordinator and workers."""

    @property
    def coordinator(self) -> ForDriver:
        """The coordinator of the job."""
        ...

    async def work(self, name: str, key: int, concurrency: int) -> None:
        """Run a worker to its end. Raises UnreachableError when it is lost; cancelling ends it."""
        ...

    async def aclose(self) -> None:
        """End everything that runs."""
        ...


class DistributedBatch(BatchBase):
    """
    A batch whose requests are made by workers elsewhere. Make it with `ray_batch()`.

    It is used like a `Batch`. Events are for following the batch and can be lost with the process that holds them;
    `report` comes from the journal.

    Args:
        rows: The rows; None for what the journal holds open.
        job: What is to be done.
        connect: Finds or starts the cluster.
        workers: How many there are; they share out the requests that the options allow at once.

    Attributes:
        workers: How many workers there are.
    """

    def __init__(
        self,
        rows: ReplayableRows | None,
        *,
        job: Job,
        connect: Callable[[], Awaitable[Cluster]],
        workers: int,
    ) -> None:
        super().__init__()
        self._rows = rows
        self._job = job
        self._connect = connect
        self.workers = workers
        self._rows_read = 0
        self._epoch = ""
        self._first: Totals | None = None
        self._status: Status | None = None
        self._final: Totals | None = None
        self._polled = asyncio.Condition()
        self._failures = Failures()
        self._draining = False
        self._gone = False
        self._run = secrets.token_hex(4)

    @property
    def report(self) -> BatchReport:
        """The numbers now; final once the block is left."""
        if self._first is None or self._status is None:
            return BatchReport()
        status = self._status
        stopped = self._failure if isinstance(self._failure, NanoGPTError) else status.stopped
        report = report_of(
            rows=self._rows_read,
            first=self._first,
            opened=status.opened,
            now=self._final or status.totals,
            counts=status.counts,
            stopped=stopped,
            of_manifest=self._rows is None or self._rows.is_manifest,
        )
        return attrs.evolve(report, failures=self._failures.report())

    @property
    def in_flight(self) -> int:
        """Requests in flight now."""
        return 0 if self._status is None else self._status.in_flight

    @property
    def throttle(self) -> str:
        """What keeps requests back now; else nothing."""
        return "" if self._status is None else self._status.throttle

    def drain(self) -> None:
        """Stop sending; requests in flight end. A rerun resumes."""
        self._draining = True

    async def __aenter__(self) -> Self:
        async with contextlib.AsyncExitStack() as stack:
            cluster = await self._connect()
            stack.push_async_callback(cluster.aclose)
            self._coordinator = cluster.coordinator
            retry = self._rows is None
            try:
                opened = await self._coordinator.begin(retry=retry, unknown=self._job.options.retry_unknown)
            except UnreachableError:
                raise BatchError(
                    "the coordinator was lost while the batch began.", says_charge=True
                ) from None
            stack.push_async_callback(self._close)
            self._first, self._epoch = opened.totals, opened.epoch
            send, receive = anyio.create_memory_object_stream[BatchEvent](float("inf"))
            stack.enter_context(receive)
            group = await stack.enter_async_context(anyio.create_task_group())
            group.start_soon(self._all, cluster, send)
            self._follow(receive, group, stack.pop_all())
        return self

    async def _all(self, cluster: Cluster, events: ObjectSendStream[BatchEvent]) -> None:
        """Poll the coordinator, send it the rows and keep workers running, until nothing is left."""
        async with events, anyio.create_task_group() as background:
            background.start_soon(self._poll, events)
            background.start_soon(self._send_rows)
            async with anyio.create_task_group() as group:
                for number in range(self.workers):
                    group.start_soon(self._keep_working, cluster, number)
            # The first of two may have been asked for before the last worker took its leave.
            await self._next_poll()
            await self._next_poll()
            background.cancel_scope.cancel()

    async def _poll(self, events: ObjectSendStream[BatchEvent]) -> None:
        told = False
        heard_at = anyio.current_time()
        while not self._gone:
            try:
                if self._draining and not told:
                    await self._coordinator.drain(self._reason)
                    told = True
                status = await self._coordinator.status()
            except (UnreachableError, NanoGPTError) as error:
                absent_s = anyio.current_time() - heard_at
                if isinstance(error, NanoGPTError) or absent_s > error.patience_s:
                    self._fail(error if isinstance(error, NanoGPTError) else _absent(absent_s))
                    self._gone = True
            else:
                heard_at = anyio.current_time()
                if status.epoch != self._epoch:
                    self._epoch, told = status.epoch, False
                self._status = status
                for event in status.events:
                    self._failures.add(event)
                    await events.send(event)
            async with self._polled:
                self._polled.notify_all()
            await asyncio.sleep(_POLL_S)

    async def _send_rows(self) -> None:
        """Send the rows to the coordinator, and again to each one that replaces it."""
        while True:
            epoch = self._epoch
            try:
                await self._send_all(epoch)
            except UnreachableError:
                pass
            except Exception as error:
                self._fail(error)
            while self._epoch == epoch and not self._gone:
                await self._next_poll()
            if self._gone:
                return

    async def _send_all(self, epoch: str) -> None:
        if self._rows is None:
            await self._coordinator.complete(epoch, from_journal=True)
            return
        number = 0
        async for chunk in self._rows.chunks():
            made = [
                row_of(row, place, self._job.options) for place, row in enumerate(chunk, start=number + 1)
            ]
            if self._draining or not await self._coordinator.offer(epoch, made):
                return
            number += len(made)
            self._rows_read = max(self._rows_read, number)
        await self._coordinator.complete(epoch, from_journal=False)

    async def _keep_working(self, cluster: Cluster, number: int) -> None:
        """Run worker *number*, and replace it when it is lost."""
        key = Keys(len(self._job.keys)).of_worker(number)
        each, rest = divmod(self._job.options.concurrency or DEFAULT_AT_ONCE, self.workers)
        share = each + (number < rest)
        deaths, done = 0, -1
        for life in range(1_000_000):
            name = f"{self._run}-{number}-{life}"
            try:
                await cluster.work(name, key, max(1, share))
            except UnreachableError:
                await self._insist(partial(self._coordinator.lost, name))
                deaths = deaths + 1 if self._done == done else 0
                done = self._done
            except NanoGPTError as error:
                self._fail(error)
                return
            await self._next_poll()
            if deaths >= _MOST_DEATHS:
                self._fail(_dying(deaths))
            if self._gone or self._status is None or self._status.over or key in self._status.retired:
                return

    @property
    def _done(self) -> int:
        return self.report.requests

    @property
    def _reason(self) -> NanoGPTError | None:
        return self._failure if isinstance(self._failure, NanoGPTError) else None

    def _fail(self, error: Exception) -> None:
        """Stop for *error*, and raise it once the requests in flight have ended."""
        self._failure = self._failure or error
        self.drain()

    async def _next_poll(self) -> None:
        if self._gone:
            return
        async with self._polled:
            await self._polled.wait()

    async def _insist(self, call: Callable[[], Coroutine[Any, Any, R]]) -> R:
        """Repeat a call that may be executed twice until the coordinator answers."""
        began = anyio.current_time()
        while True:
            try:
                return await call()
            except UnreachableError as error:
                if (absent_s := anyio.current_time() - began) > error.patience_s:
                    raise _absent(absent_s) from None
                await asyncio.sleep(_AGAIN_S)

    async def _close(self) -> None:
        with anyio.move_on_after(_CLOSE_S, shield=True), contextlib.suppress(NanoGPTError):
            if self._rows is not None:
                await self._rows.aclose()
            self._final = await self._insist(self._coordinator.finish)


def _absent(seconds: float) -> BatchError:
    return BatchError(
        f"the coordinator has not answered for {seconds:.0f} s. Run the same command again: finished requests are not paid"
        " for twice, and requests in flight are listed as unknown."
    )


def _dying(deaths: int) -> BatchError:
    return BatchError(
        f"a worker died {deaths} times in a row without a request done. Finished requests are not paid for twice;"
        " see the cluster's logs, then run the same command again."
    )
