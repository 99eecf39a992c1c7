"""The coordinator of a distributed batch: it owns the journal, the money and the pace, and leases the work."""

from __future__ import annotations

import asyncio
import contextlib
import math
import secrets
import time
from collections.abc import Callable, Generator, Sequence
from typing import Final

import attrs

from .._base.threads import in_thread
from ..batch.events import BatchEvent, Tally
from ..batch.journal import Journal, Totals
from ..batch.outcomes import Failed, Outcome, Postponed
from ..batch.rows import BatchRow
from ..batch.run.recovery import recover
from ..batch.run.settlement import Task
from ..batch.states import State
from ..errors import Charge, ConfigurationError, JournalError, NanoGPTError
from ..outputs import make_directory
from .counts import Counts
from .job_resources import JobResources, open_resources
from .keys import Keys
from .leases import Leases, Stage, stage_after
from .members import Member, Members
from .messages import Beat, InFlight, Job, Leased, Opened, Status
from .notifier import Notifier
from .send_permits import SendPermits

_MOST_QUEUED: Final = 2_000
_MOST_EVENTS: Final = 20_000
_WAIT_S: Final = 2.0
_WATCH_S: Final = 1.0


class Coordinator:
    """
    The other side of `messages.ForWorkers` and `messages.ForDriver`. One at a time holds the journal of a job.

    Args:
        job: What is to be done.
        restarted: It replaces a coordinator that died: it opens the journal at the first call, and changes only the
            requests that were in flight.
        silence_s: Seconds of silence after which a worker is taken for dead.
        clock: Monotonic seconds.

    Attributes:
        epoch: This incarnation.
        driver_heard_at: When the driver last called.
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
        self._notifier = Notifier()
        self._opening = asyncio.Lock()
        self._resources: JobResources | None = None
        self._permits: SendPermits | None = None
        self._watch: asyncio.Task[None] | None = None
        self._closed = False

    async def begin(self, *, retry: bool, unknown: bool) -> Opened:
        """Open the journal for a new run; a restarted coordinator refuses."""
        self.driver_heard_at = self._clock()
        async with self._opening:
            if self._resources is not None or self._restarted:
                raise JournalError(
                    "the coordinator was lost while the batch began. Run the same command again."
                )
            resources = await open_resources(self._job, self._tally)
            try:
                await in_thread(make_directory, self._job.out / "images")
                await recover(resources.journal, resources.recorder)
                if retry:
                    await resources.journal.reopen(unknown=unknown)
                resources = attrs.evolve(resources, opened=await resources.journal.totals())
            except BaseException:
                await resources.aclose()
                raise
            self._install(resources)
        return Opened(epoch=self.epoch, totals=resources.opened)

    async def offer(self, epoch: str, rows: Sequence[BatchRow]) -> bool:
        """Queue the next rows of the manifest."""
        resources = await self._for_driver()
        if epoch != self.epoch:
            return False
        with self._while_open():
            async for task in resources.source.tasks(rows):
                await self._queue(task)
        return True

    async def complete(self, epoch: str, *, from_journal: bool) -> bool:
        """Note that all rows were offered, or queue what the journal holds open."""
        resources = await self._for_driver()
        if epoch != self.epoch:
            return False
        if from_journal:
            with self._while_open():
                async for task in resources.source.resumed(resources.journal.pending()):
                    await self._queue(task)
        self._complete = True
        self._notifier.tell()
        return True

    async def status(self) -> Status:
        """Return how the job stands."""
        resources = await self._for_driver()
        events, self._events = self._events, []
        pause_s = self._paused_until - self._clock()
        skipped, unresolved = self._tally.skipped, self._tally.unresolved
        return Status(
            epoch=self.epoch,
            opened=resources.opened,
            totals=await resources.journal.totals(),
            counts=attrs.evolve(self._counts, skipped=skipped, unresolved=unresolved),
            events=events,
            over=self._is_over,
            stopped=self._reason,
            in_flight=self._leases.sent,
            throttle=f"paused for {math.ceil(pause_s)} s after 429" if pause_s > 0 else "",
            retired=self._keys.retired,
        )

    async def drain(self, reason: NanoGPTError | None) -> None:
        """Stop sending."""
        await self._for_driver()
        self._stop(reason)

    async def lost(self, worker: str) -> None:
        """Forget a worker: its requests in flight become unknown, its other tasks are queued again."""
        await self._prepared()
        member = self._members.drop(worker)
        if member is not None and self._permits is not None:
            self._permits.started(member, member.open_starts)
        for task in self._leases.lose(worker):
            failure = Failed(
                charge=Charge.UNKNOWN,
                error_type="WorkerLost",
                error_text="The worker that had sent it ended before an answer arrived.",
            )
            self._counts.add(task, Stage.SENT, failure)
            await self._account(member).record(task.unit.id, failure)
        self._notifier.tell()

    async def finish(self) -> Totals:
        """Close the journal; count the images that lost workers left whole on the disk."""
        resources = await self._for_driver()
        await recover(resources.journal, resources.recorder)
        totals = await resources.journal.totals()
        await self.aclose()
        return totals

    async def aclose(self) -> None:
        """Close the journal; requests in flight become unknown."""
        async with self._opening:
            self._closed = True
            if self._watch is not None:
                self._watch.cancel()
            if self._resources is not None:
                resources, self._resources = self._resources, None
                await resources.aclose()

    async def hello(self, worker: str, key: int, in_flight: Sequence[InFlight]) -> str:
        """Introduce a worker, with what it holds."""
        await self._prepared()
        member = self._members.enter(worker, key)
        self._leases.give_back_unsent(worker)
        for held in in_flight:
            if self._leases.stage(worker, held.task.unit.id) is None:
                await self._find(member, worker, held.task)
        self._notifier.tell()
        return self.epoch

    async def beat(self, worker: str, events: Sequence[BatchEvent]) -> Beat:
        """Take a sign of life, and the events of a worker."""
        await self._prepared()
        member = self._members.heard(worker)
        self._take(events)
        stop = self._stopping or (member is not None and self._keys.is_retired(member.key))
        return Beat(epoch=self.epoch, known=member is not None, stop=stop)

    async def lease(self, worker: str, count: int) -> Leased:
        """Lease up to *count* tasks to a worker."""
        await self._prepared()
        deadline = self._clock() + _WAIT_S
        while (member := self._members.heard(worker)) is not None:
            if self._is_over or self._keys.is_retired(member.key):
                return Leased(over=True)
            if tasks := self._leases.lease(worker, count):
                self._notifier.tell()
                return Leased(tasks=tasks)
            if (wait_s := deadline - self._clock()) <= 0:
                break
            await self._notifier.wait(wait_s)
        return Leased()

    async def send(self, worker: str, unit_id: str, reserved_nano: int) -> bool:
        """Grant a worker the right to send a unit."""
        await self._prepared()
        assert self._permits is not None
        return await self._permits.grant(worker, unit_id, reserved_nano)

    async def started(self, worker: str, count: int) -> None:
        """Note that granted requests have left, or will not leave."""
        await self._prepared()
        assert self._permits is not None
        if (member := self._members.heard(worker)) is not None:
            self._permits.started(member, count)

    async def paused(self, worker: str, seconds: float) -> None:
        """Pause the pace of the worker's key."""
        resources = await self._prepared()
        if (member := self._members.heard(worker)) is None:
            return
        self._paused_until = max(self._paused_until, self._clock() + seconds)
        if (pacer := resources.pacers[member.key]) is not None:
            pacer.pause(seconds)

    async def report(self, worker: str, task: Task, outcome: Outcome) -> None:
        """Record what became of a request."""
        await self._prepared()
        member = self._members.heard(worker)
        unit_id = task.unit.id
        stage = self._leases.stage(worker, unit_id) or await self._find(member, worker, task)
        if stage is None:
            return  # this worker reported its end before, or another worker holds it by now
        # The worker names the task that it leased; by now less of it may be left to do.
        task = self._leases.task(worker, unit_id) or task
        self._counts.add(task, stage, outcome)
        if stage is Stage.HELD and task.charge is not None and isinstance(outcome, Failed | Postponed):
            # Its links brought not all of what an earlier run left unresolved.
            self._tally.skip(task.state)
        if (following := stage_after(outcome)) is None:
            self._leases.ended(worker, unit_id)
        else:
            self._leases.advance(worker, unit_id, following, task.left_by(outcome))
        await self._account(member).record(unit_id, outcome)
        self._notifier.tell()

    async def give_back(self, worker: str, unit_id: str) -> None:
        """Take back a leased task that is not sent."""
        await self._prepared()
        if self._leases.give_back(worker, unit_id):
            self._notifier.tell()

    async def leave(self, worker: str, reason: NanoGPTError | None, events: Sequence[BatchEvent]) -> None:
        """Take leave of a worker that holds nothing more."""
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
            await self._notifier.wait(_WAIT_S)
        if not self._stopping:
            self._leases.offer(task.unit.id, task)
            self._notifier.tell()

    async def _find(self, member: Member | None, worker: str, task: Task) -> Stage | None:
        """Return the stage of a unit that *worker* holds from before this coordinator, or from before it was given up."""
        if self._leases.knows(task.unit.id):
            return None
        state = await self._account(member).found(task.unit.id)
        stage = {State.SENT: Stage.SENT, State.LINKED: Stage.LINKED}.get(state)
        if stage is None or not self._leases.adopt(worker, task.unit.id, task, stage):
            return None
        return stage

    def _account(self, member: Member | None) -> Journal:
        assert self._resources is not None
        return self._resources.accounts[0 if member is None else member.key]

    def _take(self, events: Sequence[BatchEvent]) -> None:
        # The driver may never ask for them; the journal has it all.
        self._events.extend(events[: _MOST_EVENTS - len(self._events)])

    def _stop(self, reason: NanoGPTError | None) -> None:
        if not self._stopping:
            self._stopping = True
            self._reason = reason
        self._notifier.tell()

    async def _for_driver(self) -> JobResources:
        self.driver_heard_at = self._clock()
        return await self._prepared()

    async def _prepared(self) -> JobResources:
        """Return the open journal and what belongs to it; a restarted coordinator opens it at the first call."""
        if self._resources is not None:
            return self._resources
        async with self._opening:
            if self._resources is None:
                if self._closed or not self._restarted:
                    raise _closed()
                self._install(await open_resources(self._job, self._tally))
        assert self._resources is not None
        return self._resources

    @contextlib.contextmanager
    def _while_open(self) -> Generator[None]:
        """Say that the journal is closed where another driver closed it, and its client with it, in the middle of a call."""
        try:
            yield
        except ConfigurationError as error:
            if self._closed:
                raise _closed() from error
            raise

    def _install(self, resources: JobResources) -> None:
        self._resources = resources
        self._permits = SendPermits(
            resources,
            self._leases,
            self._notifier,
            cap_nano=self._job.options.cap_nano,
            entitled=self._entitled,
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
