"""How many requests are under way at once: fewer when the service pushes back, more again when it does not."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from typing import Final

_DECREASE: Final = 0.7
_SETTLE_S: Final = 1.0


class Gate:
    """
    A bound on concurrency that follows the service: down by a third at most once a second, up by one
    for every round of successes.

    Args:
        maximum: Greatest number at once.
        clock: Monotonic seconds.

    Attributes:
        active: Requests under way.
    """

    def __init__(self, maximum: int, *, clock: Callable[[], float] = time.monotonic) -> None:
        self.maximum = maximum
        self.active = 0
        self._limit = float(maximum)
        self._clock = clock
        self._last_decrease = float("-inf")
        self._waiters: deque[asyncio.Future[None]] = deque()

    @property
    def limit(self) -> int:
        """How many may be under way now."""
        return int(self._limit)

    @asynccontextmanager
    async def one(self) -> AsyncGenerator[None]:
        """Wait for a place and hold it."""
        while self.active >= self.limit:
            waiter = asyncio.get_running_loop().create_future()
            self._waiters.append(waiter)
            try:
                await waiter
            except BaseException:
                # The place that was meant for this waiter goes to the next one.
                self._wake()
                raise
        self.active += 1
        try:
            yield
        finally:
            self.active -= 1
            self._wake()

    def slower(self) -> None:
        """The service refused for load."""
        now = self._clock()
        # The refusals of one burst are one sign, not many.
        if now - self._last_decrease >= _SETTLE_S:
            self._last_decrease = now
            self._limit = max(1.0, self._limit * _DECREASE)

    def faster(self) -> None:
        """A request went through."""
        self._limit = min(float(self.maximum), self._limit + 1.0 / self._limit)
        self._wake()

    def _wake(self) -> None:
        free = self.limit - self.active
        while free > 0 and self._waiters:
            waiter = self._waiters.popleft()
            if not waiter.done():
                waiter.set_result(None)
                free -= 1
