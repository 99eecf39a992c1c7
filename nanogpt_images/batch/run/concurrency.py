"""The number of requests in flight: fewer while the service pushes back, more again when it does not."""

from __future__ import annotations

import asyncio
import math
import time
from collections import deque
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from typing import Final

_DECREASE: Final = 0.7
_SETTLE_S: Final = 1.0
_MOST_REFUSED: Final = 3


class ConcurrencyLimit:
    """
    A bound on concurrency that follows the service: down by a third at most once a second, while it refuses more
    than three quarters, and up by one for every round of successes.

    Args:
        maximum: Greatest number at once.
        clock: Monotonic seconds.

    Attributes:
        active: Requests in flight.
        reason: Why it was last made slower, such as `429 rate_limit_exceeded`.
    """

    def __init__(self, maximum: int, *, clock: Callable[[], float] = time.monotonic) -> None:
        self.maximum = maximum
        self.active = 0
        self.reason = ""
        self._paused_until = float("-inf")
        self._limit = float(maximum)
        self._clock = clock
        self._judged_at = float("-inf")
        self._refused = self._succeeded = 0
        self._waiters: deque[asyncio.Future[None]] = deque()

    @property
    def limit(self) -> int:
        """How many requests may be in flight now."""
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

    @property
    def throttle(self) -> str:
        """What keeps requests back now and why, such as `44 of 64 at once after 503`; nothing in good times."""
        pause_s = self._paused_until - self._clock()
        parts = [
            f"paused for {math.ceil(pause_s)} s" if pause_s > 0 else "",
            f"{self.limit} of {self.maximum} at once" if self.limit < self.maximum else "",
        ]
        shown = ", ".join(part for part in parts if part)
        return f"{shown} after {self.reason}" if shown else ""

    def pause(self, seconds: float) -> None:
        """Note a pause for all requests; the limiter enforces it."""
        self._paused_until = max(self._paused_until, self._clock() + seconds)

    def slower(self, reason: str) -> None:
        """Lower the bound: the service refused a request for load."""
        self.reason = reason
        self._refused += 1
        now = self._clock()
        # The refusals of one burst are one sign, not many. A service that also takes requests is paced by its pauses:
        # fewer at once would only leave places of the next burst empty.
        if now - self._judged_at >= _SETTLE_S:
            if self._refused > _MOST_REFUSED * self._succeeded:
                self._limit = max(1.0, self._limit * _DECREASE)
            self._judged_at = now
            self._refused = self._succeeded = 0

    def faster(self) -> None:
        """Raise the bound: a request went through."""
        self._succeeded += 1
        self._limit = min(float(self.maximum), self._limit + 1.0 / self._limit)
        self._wake()

    def _wake(self) -> None:
        free = self.limit - self.active
        while free > 0 and self._waiters:
            waiter = self._waiters.popleft()
            if not waiter.done():
                waiter.set_result(None)
                free -= 1
