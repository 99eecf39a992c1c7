"""The queue of a distributed batch, and which worker holds which of its requests."""

from __future__ import annotations

import enum
from collections import OrderedDict
from collections.abc import Hashable
from typing import Generic, TypeVar

import attrs

from ..batch.outcomes import Failed, Linked, Outcome, Refused, Repeated

WorkerT = TypeVar("WorkerT", bound=Hashable)
TaskT = TypeVar("TaskT")


class Stage(enum.Enum):
    """How far a leased request has come, as its worker reported."""

    HELD = enum.auto()
    """Not sent: it can be given to another worker at any time."""
    SENT = enum.auto()
    """Its POST may have left: no other worker may send it."""
    LINKED = enum.auto()
    """Its links are being downloaded: another worker may repeat that."""


def stage_after(outcome: Outcome) -> Stage | None:
    """Return how far a request is after *outcome*; None when it is over for this run."""
    if isinstance(outcome, Refused | Repeated):
        return Stage.HELD
    return Stage.LINKED if isinstance(outcome, Linked | Failed) and outcome.links else None


@attrs.define
class _Lease(Generic[WorkerT, TaskT]):
    worker: WorkerT
    task: TaskT
    stage: Stage = Stage.HELD


class Leases(Generic[WorkerT, TaskT]):
    """
    The queue and the leases, by ID of the unit. A unit is in one place only: queued, or with one worker.

    Nothing here decides by time: a worker that lost a lease finds out when it wants to send, and is refused.
    """

    def __init__(self) -> None:
        self._queue: OrderedDict[str, TaskT] = OrderedDict()
        self._leases: dict[str, _Lease[WorkerT, TaskT]] = {}
        self._by_worker: dict[WorkerT, set[str]] = {}
        self._sent = 0

    @property
    def queued(self) -> int:
        """Units that wait for a worker."""
        return len(self._queue)

    @property
    def sent(self) -> int:
        """Units in flight."""
        return self._sent

    @property
    def is_empty(self) -> bool:
        """Whether every unit that was offered has ended."""
        return not self._queue and not self._leases

    def knows(self, unit_id: str) -> bool:
        """Return whether a unit is queued or leased."""
        return unit_id in self._queue or unit_id in self._leases

    def offer(self, unit_id: str, task: TaskT) -> None:
        """Queue a unit, unless it is here already."""
        if not self.knows(unit_id):
            self._queue[unit_id] = task

    def lease(self, worker: WorkerT, count: int) -> list[TaskT]:
        """Give *worker* up to *count* of the longest queued units."""
        given: list[TaskT] = []
        while self._queue and len(given) < count:
            unit_id, task = self._queue.popitem(last=False)
            self._put(unit_id, _Lease(worker, task))
            given.append(task)
        return given

    def adopt(self, worker: WorkerT, unit_id: str, task: TaskT, stage: Stage) -> bool:
        """
        Take over a lease that an earlier table had given to *worker*.

        Returns:
            Whether it is that worker's now; False where another one holds the unit.
        """
        lease = self._leases.get(unit_id)
        if lease is not None and lease.worker != worker:
            return False
        self._queue.pop(unit_id, None)
        self._drop(worker, unit_id)
        self._put(unit_id, _Lease(worker, task, stage))
        return True

    def stage(self, worker: WorkerT, unit_id: str) -> Stage | None:
        """Return how far *worker* is with a unit; None where it does not hold it."""
        lease = self._leases.get(unit_id)
        return lease.stage if lease is not None and lease.worker == worker else None

    def task(self, worker: WorkerT, unit_id: str) -> TaskT | None:
        """Return what *worker* has left to do for a unit; None where it does not hold it."""
        lease = self._leases.get(unit_id)
        return lease.task if lease is not None and lease.worker == worker else None

    def advance(self, worker: WorkerT, unit_id: str, stage: Stage, task: TaskT | None = None) -> bool:
        """Note the stage, and what is left to do; False, and nothing changed, where *worker* does not hold the unit."""
        lease = self._leases.get(unit_id)
        if lease is None or lease.worker != worker:
            return False
        self._sent += (stage is Stage.SENT) - (lease.stage is Stage.SENT)
        lease.stage = stage
        if task is not None:
            lease.task = task
        return True

    def ended(self, worker: WorkerT, unit_id: str) -> bool:
        """End the unit; False, and nothing changed, where *worker* does not hold it."""
        return self._drop(worker, unit_id) is not None

    def give_back(self, worker: WorkerT, unit_id: str) -> bool:
        """Take back a unit that *worker* does not send, as the next one to be leased; False where it was not held unsent."""
        if self.stage(worker, unit_id) is not Stage.HELD:
            return False
        lease = self._drop(worker, unit_id)
        assert lease is not None
        self._first(unit_id, lease.task)
        return True

    def give_back_unsent(self, worker: WorkerT) -> None:
        """Take back all unsent units of *worker*, which missed an answer; what it then wants to send is refused."""
        for unit_id in sorted(self._by_worker.get(worker, ()), reverse=True):
            self.give_back(worker, unit_id)

    def lose(self, worker: WorkerT) -> list[TaskT]:
        """
        Drop *worker*, which is lost.

        Returns:
            The tasks that it had sent: their outcome is unknown. What it had not sent, or had paid and was
            downloading, is queued again.
        """
        sent: list[TaskT] = []
        for unit_id in sorted(self._by_worker.get(worker, ())):
            lease = self._drop(worker, unit_id)
            assert lease is not None
            if lease.stage is Stage.SENT:
                sent.append(lease.task)
            else:
                self._first(unit_id, lease.task)
        return sent

    def _first(self, unit_id: str, task: TaskT) -> None:
        self._queue[unit_id] = task
        self._queue.move_to_end(unit_id, last=False)

    def _put(self, unit_id: str, lease: _Lease[WorkerT, TaskT]) -> None:
        self._leases[unit_id] = lease
        self._sent += lease.stage is Stage.SENT
        self._by_worker.setdefault(lease.worker, set()).add(unit_id)

    def _drop(self, worker: WorkerT, unit_id: str) -> _Lease[WorkerT, TaskT] | None:
        lease = self._leases.get(unit_id)
        if lease is None or lease.worker != worker:
            return None
        del self._leases[unit_id]
        self._sent -= lease.stage is Stage.SENT
        held = self._by_worker[worker]
        held.discard(unit_id)
        if not held:
            del self._by_worker[worker]
        return lease
