"""Downloads that failed for now: each is tried again while the batch runs, and shortly after its last request."""

from __future__ import annotations

import heapq
import itertools
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Final

import anyio
import anyio.lowlevel
import attrs

from ..._base.logs import get_logger
from ...errors import NanoGPTError
from ...transport.retry import RetryPolicy
from ...types.result import GenerationResult

if TYPE_CHECKING:
    from .settlement import Task

_log = get_logger("nanogpt_images.batch")
# With the default policy the delays 4, 8, 16 … s of so many rounds fill the hour that a URL lives.
_MOST_ROUNDS: Final = 10
# A batch with nothing else to do does not wait for the hour to pass; its next run continues.
_PATIENCE_S: Final = 60.0


@attrs.frozen
class OpenDownload:
    """
    A request whose images are still to be downloaded.

    Attributes:
        task: The request, with its links.
        result: What came of it so far.
        rounds: How often its download was put off.
        cost: What it is counted at (nano-USD), where it is counted as failed or unknown.
    """

    task: Task
    result: GenerationResult
    rounds: int = 0
    cost: int = 0


class Later:
    """
    A bounded queue of open downloads, ordered by when they are due.

    What does not fit, and what is left when the batch ends, stays linked in the journal for the next run.

    Args:
        capacity: How many are held at most.
        retry: The client's policy: delays continue where its own attempts ended.
        clock: Monotonic seconds.
    """

    def __init__(
        self, capacity: int, retry: RetryPolicy, *, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._capacity = capacity
        self._retry = retry
        self._clock = clock
        self._numbers = itertools.count()
        self._waiting: list[tuple[float, int, OpenDownload]] = []
        self._in_hand = 0
        self._ends_at = float("inf")
        self._changed = anyio.Event()

    def put(self, item: OpenDownload, error: NanoGPTError) -> None:
        """Try *item*, which failed with *error*, again after a while."""
        item = attrs.evolve(item, rounds=item.rounds + 1)
        attempt = self._retry.max_attempts + item.rounds - 1
        patient = attrs.evolve(
            self._retry, max_attempts=attempt + 1, max_delay_s=max(self._retry.max_delay_s, 3600.0)
        )
        delay_s = patient.delay_s(error, attempt, paid=False, passing=True)
        now = self._clock()
        due = now + (delay_s or 0.0)
        never = self._retry.max_attempts == 1 or item.rounds > _MOST_ROUNDS or due > self._ends_at
        if never or len(self._waiting) >= self._capacity:
            return
        heapq.heappush(self._waiting, (due, next(self._numbers), item))
        _log.info("the download of %s is tried again in %.0f s: %s", item.task.unit.name, due - now, error)
        self._wake()

    def close(self) -> None:
        """End soon: nothing else is left to do, so each download is tried once more within a minute."""
        self._ends_at = self._clock() + _PATIENCE_S
        self._waiting = [(min(due, self._ends_at), number, item) for due, number, item in self._waiting]
        heapq.heapify(self._waiting)
        self._wake()

    async def next(self) -> OpenDownload | None:
        """Wait for the next download that is due; `done` has to follow. None once nothing more will come."""
        await anyio.lowlevel.checkpoint()
        while True:
            wait_s = None
            if self._waiting:
                wait_s = self._waiting[0][0] - self._clock()
                if wait_s <= 0:
                    self._in_hand += 1
                    return heapq.heappop(self._waiting)[2]
            elif self._ends_at < float("inf") and not self._in_hand:
                return None
            with anyio.move_on_after(wait_s):
                await self._changed.wait()

    def done(self) -> None:
        """Note that what `next` returned was tried."""
        self._in_hand -= 1
        self._wake()

    def _wake(self) -> None:
        self._changed.set()
        self._changed = anyio.Event()
