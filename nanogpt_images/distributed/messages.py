"""The messages between the coordinator, the workers and the driver of a distributed batch."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

import attrs

from ..batch.batch_options import BatchOptions
from ..batch.events import BatchEvent
from ..batch.journal import ManifestRecord, Totals
from ..batch.outcomes import Outcome
from ..batch.rows import BatchRow
from ..batch.run.settlement import Task
from ..errors import NanoGPTError
from .counts import Counts
from .leases import Stage


class UnreachableError(Exception):
    """
    A call got no answer: it may or may not have been executed.

    Attributes:
        patience_s: Seconds for which it makes sense to try again.
    """

    def __init__(self, message: str = "", *, patience_s: float = 300.0) -> None:
        super().__init__(message)
        self.patience_s = patience_s


@attrs.frozen(kw_only=True)
class ApiKey:
    """
    One of the keys of a job.

    Attributes:
        key: The key itself.
        budget_usd: What it may spend on the job, earlier runs included; None for no cap of its own.
    """

    key: str = attrs.field(repr=False)
    budget_usd: float | None = None


@attrs.frozen(kw_only=True)
class Job:
    """
    A distributed batch; see `AsyncClient` for what is not said here.

    Attributes:
        options: Those of the batch. `out` is on the coordinator's machine; images are there too, and all workers
            share it, unless `images_url` is given.
        base_url: The service.
        keys: Workers share them out; pacing and budgets are each key's own.
        requests_per_second: Starts of each key in any one second; None for no pacing.
        timeout_s: Limit for each attempt of a generation.
        manifest: The file that the rows come from; None where they come from elsewhere.
    """

    options: BatchOptions
    base_url: str
    keys: Sequence[ApiKey]
    requests_per_second: float | None = 25
    timeout_s: float = 300.0
    manifest: ManifestRecord | None = None

    @property
    def out(self) -> Path:
        """The directory of the journal."""
        assert self.options.out is not None
        return self.options.out


@attrs.frozen(kw_only=True)
class Opened:
    """A coordinator that is ready: its incarnation, and the sums of the journal that it found."""

    epoch: str
    totals: Totals


@attrs.frozen(kw_only=True)
class InFlight:
    """A task that a worker holds while it introduces itself to a new coordinator."""

    task: Task
    stage: Stage


@attrs.frozen(kw_only=True)
class Leased:
    """Tasks for a worker; `over` when none will come any more."""

    tasks: Sequence[Task] = ()
    over: bool = False


@attrs.frozen(kw_only=True)
class Beat:
    """The answer to a sign of life: who answers, whether it knows the worker, and whether to stop."""

    epoch: str
    known: bool
    stop: bool


@attrs.frozen(kw_only=True)
class Status:
    """
    The state of a job.

    Attributes:
        epoch: The incarnation of the coordinator; what it counts begins with it.
        opened: The sums of the journal when it began.
        totals: Its present sums.
        counts: What it counted itself.
        events: What ended since the last status.
        over: Nothing is left to do, or the job was stopped.
        stopped: Why it was stopped.
        in_flight: Requests in flight.
        throttle: What keeps requests back.
        retired: Keys that send nothing more.
    """

    epoch: str
    opened: Totals
    totals: Totals
    counts: Counts
    events: Sequence[BatchEvent]
    over: bool
    stopped: NanoGPTError | None
    in_flight: int
    throttle: str
    retired: frozenset[int] = frozenset()


class ForWorkers(Protocol):
    """The coordinator as a worker calls it. Everything raises UnreachableError where no answer comes."""

    async def hello(self, worker: str, key: int, in_flight: Sequence[InFlight]) -> str:
        """Introduce a worker, with what it holds. Returns the coordinator's epoch."""
        ...

    async def beat(self, worker: str, events: Sequence[BatchEvent]) -> Beat:
        """Give a sign of life, with what ended since the last one."""
        ...

    async def lease(self, worker: str, count: int) -> Leased:
        """Take up to *count* tasks; waits a while where there are none."""
        ...

    async def send(self, worker: str, unit_id: str, reserved_nano: int) -> bool:
        """Ask to send: waits for pace and money, and commits. False: the unit is not this worker's any more."""
        ...

    async def started(self, worker: str, count: int) -> None:
        """Report that so many granted requests have left, or will not leave."""
        ...

    async def paused(self, worker: str, seconds: float) -> None:
        """Report that the service keeps the worker's key from starting."""
        ...

    async def report(self, worker: str, task: Task, outcome: Outcome) -> None:
        """Report what became of a request. A repeated report does no harm."""
        ...

    async def give_back(self, worker: str, unit_id: str) -> None:
        """Return a leased task that is not sent."""
        ...

    async def leave(self, worker: str, reason: NanoGPTError | None, events: Sequence[BatchEvent]) -> None:
        """End a worker that holds nothing more; *reason* is why, where work was left."""
        ...


class ForDriver(Protocol):
    """The coordinator as the driver calls it. Everything raises UnreachableError where no answer comes."""

    async def begin(self, *, retry: bool, unknown: bool) -> Opened:
        """Open the journal for a new run."""
        ...

    async def offer(self, epoch: str, rows: Sequence[BatchRow]) -> bool:
        """Send the next rows of the manifest; False where *epoch* is over and all rows have to be sent again."""
        ...

    async def complete(self, epoch: str, *, from_journal: bool) -> bool:
        """Say that all rows were offered, or let the journal say what is open. False as in `offer`."""
        ...

    async def status(self) -> Status:
        """Ask how the job stands."""
        ...

    async def drain(self, reason: NanoGPTError | None) -> None:
        """Stop sending."""
        ...

    async def lost(self, worker: str) -> None:
        """Report that a worker is lost."""
        ...

    async def finish(self) -> Totals:
        """Close the journal."""
        ...
