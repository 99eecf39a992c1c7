"""The coordinator of a distributed batch: it owns the journal, the money and the pace, and lends out the work."""

from __future__ import annotations

import asyncio
import contextlib
import math
import secrets
import time
from collections.abc import Callable, Generator, Sequence
from typing import Final

import anyio.to_thread
import attrs

from ..batch.events import BatchEvent, Tally
from ..batch.journal import Journal, Totals
from ..batch.rows import BatchRow
from ..batch.run.recovery import recover
from ..batch.run.settlement import Task
from ..batch.states import State
from ..errors import Charge, ConfigurationError, JournalError, NanoGPTError
from ..outputs import make_directory
from .job_resources import Books, open_books
from .keys import Keys
from .leases import Leases, Stage
from .members import Member, Members
from .messages import Beat, InFlight, Job, Leased, Opened, Status
from .notifier import News
from .progress import Counts
from .reports import Failed, Linked, Report
from .send_permits import Grants

_MOST_QUEUED: Final = 2_000
_MOST_EVENTS: Final = 20_000
_WAIT_S: Final = 2.0
_WATCH_S: Final = 1.0


class Coordinator:
    """
    See `messages.ForWorkers` and `messages.ForDriver` for its methods. One at a time has the journal of a job.

    Args:
        job: What is to be done.
        restarted: It takes the place of one that died: the journal is opened at the first call, and nothing in it
            is touched but what that one had sent.
        silence_s: After how long a worker that says nothing is taken for dead.
        clock: Monotonic seconds.

    Attributes:
        epoch: This incarnation.
        driver_heard_at: When the driver called at last.
    """

    def __init__(
        self,
        job: Job,
        *,
        restarted: bool = False,
        silence_s: float = 20.0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.epoch = secrets.token_hex(8)
        self.driver_heard_at = clock()
        self._job = job
        self._restarted = restarted
        self._clock = clock
        self._leases: Leases[str, Task] = Leases()
        self._members = Members(silence_s=silence_s, clock=clock)
        self._keys = Keys(len(job.keys))
        self._counts = Counts()
        self._tally = Tally()
        self._events: list[BatchEvent] = []
        self._complete = False
        self._stopping = False
        self._reason: NanoGPTError | None = None
        self._paused_until = 0.0
        self._news = News()
        self._opening = asyncio.Lock()
        self._books: Books | None = None
        self._grants: Grants | None = None
        self._watch: asyncio.Task[None] | None = None
        self._closed = False

    async def begin(self, *, retry: bool, unknown: bool) -> Opened:
        """See `ForDriver`. A restarted coordinator begins nothing."""
        self.driver_heard_at = self._clock()
        async with self._opening:
            if self._books is not None or self._restarted:
                raise JournalError(
                    "the coordinator was lost while the batch began. Run the same command again."
                )
            books = await open_books(self._job, self._tally)
            try:
                await anyio.to_thread.run_sync(make_directory, self._job.out / "images")
                await recover(books.journal, books.keeping)
                if retry:
                    await books.journal.reopen(unknown=unknown)
                books = attrs.evolve(books, opened=await books.journal.totals())
            except BaseException:
                await books.aclose()
                raise
            self._install(books)
        return Opened(epoch=self.epoch, totals=books.opened)

    async def offer(self, epoch: str, rows: Sequence[BatchRow]) -> bool:
        """See `ForDriver`."""
        books = await self._for_driver()
        if epoch != self.epoch:
            return False
        with self._while_open():
            async for task in books.feed.tasks(rows):
                await self._queue(task)
        return True

    async def complete(self, epoch: str, *, from_journal: bool) -> bool:
        """See `ForDriver`."""
        books = await self._for_driver()
        if epoch != self.epoch:
            return False
        if from_journal:
            with self._while_open():
                async for task in books.feed.resumed(books.journal.pending()):
                    await self._queue(task)
        self._complete = True
        self._news.tell()
        return True

    async def status(self) -> Status:
        """See `ForDriver`."""
        books = await self._for_driver()
        events, self._events = self._events, []
        pause_s = self._paused_until - self._clock()
        skipped, unresolved = self._tally.skipped, self._tally.unresolved
        return Status(
            epoch=self.epoch,
            opened=books.opened,
            totals=await books.journal.totals(),
            counts=attrs.evolve(self._counts, skipped=skipped, unresolved=unresolved),
            events=events,
            over=self._is_over,
            stopped=self._reason,
            in_flight=self._leases.sent,
            throttle=f"paused for {math.ceil(pause_s)} s after 429" if pause_s > 0 else "",
            retired=self._keys.retired,
        )

    async def drain(self, reason: NanoGPTError | None) -> None:
        """See `ForDriver`."""
        await self._for_driver()
        self._stop(reason)

    async def lost(self, worker: str) -> None:
        """See `ForDriver`: what the worker had sent is unknown, the rest is free."""
        await self._prepared()
        member = self._members.drop(worker)
        if member is not None and self._grants is not None:
            self._grants.started(member, member.open_starts)
        for task in self._leases.lose(worker):
            failure = Failed(
                charge=Charge.UNKNOWN,
                error_type="WorkerLost",
                error_text="The worker that had sent it ended before an answer arrived.",
            )
            self._counts.add(task, Stage.SENT, failure)
            await failure.record(self._account(member), task.unit.id)
        self._news.tell()

    async def finish(self) -> Totals:
        """See `ForDriver`. Images that a lost worker left whole on the disk are counted."""
        books = await self._for_driver()
        await recover(books.journal, books.keeping)
        totals = await books.journal.totals()
        await self.aclose()
        return totals

    async def aclose(self) -> None:
        """Close the journal; what is under way becomes unknown."""
        async with self._opening:
            self._closed = True
            if self._watch is not None:
                self._watch.cancel()
            if self._books is not None:
                books, self._books = self._books, None
                await books.aclose()

    async def hello(self, worker: str, key: int, in_flight: Sequence[InFlight]) -> str:
        """See `ForWorkers`."""
        await self._prepared()
        member = self._members.enter(worker, key)
        self._leases.give_back_unsent(worker)
        for held in in_flight:
            if self._leases.stage(worker, held.task.unit.id) is None:
                await self._find(member, worker, held.task)
        self._news.tell()
        return self.epoch

    async def beat(self, worker: str, events: Sequence[BatchEvent]) -> Beat:
        """See `ForWorkers`."""
        await self._prepared()
        member = self._members.heard(worker)
        self._take(events)
        stop = self._stopping or (member is not None and self._keys.is_retired(member.key))
        return Beat(epoch=self.epoch, known=member is not None, stop=stop)

    async def lease(self, worker: str, count: int) -> Leased:
        """See `ForWorkers`."""
        await self._prepared()
        deadline = self._clock() + _WAIT_S
        while (member := self._members.heard(worker)) is not None:
            if self._is_over or self._keys.is_retired(member.key):
                return Leased(over=True)
            if tasks := self._leases.lease(worker, count):
                self._news.tell()
                return Leased(tasks=tasks)
            if (wait_s := deadline - self._clock()) <= 0:
                break
            await self._news.wait(wait_s)
        return Leased()

    async def send(self, worker: str, unit_id: str, reserved_nano: int) -> bool:
        """See `ForWorkers`."""
        await self._prepared()
        assert self._grants is not None
        return await self._grants.grant(worker, unit_id, reserved_nano)

    async def started(self, worker: str, count: int) -> None:
        """See `ForWorkers`."""
        await self._prepared()
        assert self._grants is not None
        if (member := self._members.heard(worker)) is not None:
            self._grants.started(member, count)

    async def paused(self, worker: str, seconds: float) -> None:
        """See `ForWorkers`."""
        books = await self._prepared()
        if (member := self._members.heard(worker)) is None:
            return
        self._paused_until = max(self._paused_until, self._clock() + seconds)
        if (pacer := books.pacers[member.key]) is not None:
            pacer.pause(seconds)

    async def report(self, worker: str, task: Task, report: Report) -> None:
        """See `ForWorkers`."""
        await self._prepared()
        member = self._members.heard(worker)
        unit_id = task.unit.id
        stage = self._leases.stage(worker, unit_id) or await self._find(member, worker, task)
        if stage is None:
            return  # it ended by an earlier word of this worker, or it is another's by now
        self._counts.add(task, stage, report)
        if report.stage is None:
            self._leases.ended(worker, unit_id)
        else:
            left = Task(unit=task.unit, links=report.links) if isinstance(report, Linked) else None
            self._leases.advance(worker, unit_id, report.stage, left)
        await report.record(self._account(member), unit_id)
        self._news.tell()

    async def give_back(self, worker: str, unit_id: str) -> None:
        """See `ForWorkers`."""
        await self._prepared()
        if self._leases.give_back(worker, unit_id):
            self._news.tell()

    async def leave(self, worker: str, reason: NanoGPTError | None, events: Sequence[BatchEvent]) -> None:
        """See `ForWorkers`."""
        await self._prepared()
        self._take(events)
        member = self._members.heard(worker)
        await self.lost(worker)
        if member is not None and reason is not None and (error := self._keys.fail(member.key, reason)):
            self._stop(error)

    @property
    def _is_over(self) -> bool:
        return self._stopping or (self._complete and self._leases.is_empty)

    def _entitled(self, worker: str) -> Member | None:
        member = self._members.heard(worker)
        if member is None or self._stopping or self._keys.is_retired(member.key):
            return None
        return member

    async def _queue(self, task: Task) -> None:
        while self._leases.queued >= _MOST_QUEUED and not self._stopping:
            await self._news.wait(_WAIT_S)
        if not self._stopping:
            self._leases.offer(task.unit.id, task)
            self._news.tell()

    async def _find(self, member: Member | None, worker: str, task: Task) -> Stage | None:
        """The stage of a unit that *worker* has in hand since before this coordinator, or before it was given up."""
        if self._leases.knows(task.unit.id):
            return None
        state = await self._account(member).found(task.unit.id)
        stage = {State.SENT: Stage.SENT, State.LINKED: Stage.LINKED}.get(state)
        if stage is None or not self._leases.adopt(worker, task.unit.id, task, stage):
            return None
        return stage

    def _account(self, member: Member | None) -> Journal:
        assert self._books is not None
        return self._books.accounts[0 if member is None else member.key]

    def _take(self, events: Sequence[BatchEvent]) -> None:
        # Perhaps nobody asks for them; the journal has it all.
        self._events.extend(events[: _MOST_EVENTS - len(self._events)])

    def _stop(self, reason: NanoGPTError | None) -> None:
        if not self._stopping:
            self._stopping = True
            self._reason = reason
        self._news.tell()

    async def _for_driver(self) -> Books:
        self.driver_heard_at = self._clock()
        return await self._prepared()

    async def _prepared(self) -> Books:
        """The open books; a restarted coordinator opens them at the first call."""
        if self._books is not None:
            return self._books
        async with self._opening:
            if self._books is None:
                if self._closed or not self._restarted:
                    raise _closed()
                self._install(await open_books(self._job, self._tally))
        assert self._books is not None
        return self._books

    @contextlib.contextmanager
    def _while_open(self) -> Generator[None]:
        """Say that the journal is closed where another driver closed it, and its client with it, in the middle of a call."""
        try:
            yield
        except ConfigurationError as error:
            if self._closed:
                raise _closed() from error
            raise

    def _install(self, books: Books) -> None:
        self._books = books
        self._grants = Grants(
            books, self._leases, self._news, cap_nano=self._job.budget_nano, entitled=self._entitled
        )
        self._watch = asyncio.create_task(self._watch_workers())

    async def _watch_workers(self) -> None:
        while True:
            await asyncio.sleep(_WATCH_S)
            for worker in self._members.silent():
                with contextlib.suppress(NanoGPTError):
                    await self.lost(worker)


def _closed() -> JournalError:
    return JournalError("the journal of this batch is closed.")
