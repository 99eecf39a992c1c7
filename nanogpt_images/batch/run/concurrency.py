"""The number of requests in flight: as many as the pace needs, fewer while the service pushes back."""

from __future__ import annotations

import asyncio
import math
import time
from collections import deque
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from typing import Final

_LEAST: Final = 64
_HEADROOM: Final = 1.3
_DECREASE: Final = 0.7
_SETTLE_S: Final = 1.0
_MOST_REFUSED: Final = 3


class Place:
    """
    One of the places of a `ConcurrencyLimit`.

    Attributes:
        left_at: When its request left; None before.
    """

    __slots__ = ("_concurrency_limit", "left_at")

    def __init__(self, concurrency_limit: ConcurrencyLimit) -> None:
        self._concurrency_limit = concurrency_limit
        self.left_at: float | None = None

    def left(self) -> None:
        """Note that its request leaves now. Further calls do nothing."""
        if self.left_at is None:
            self.left_at = self._concurrency_limit.begin()


class ConcurrencyLimit:
    """
    A bound on concurrency that follows the pace and the service.

    With a *rate* there are as many places as it needs at the latency that is seen: rate times latency times 1.3, where no more than
    a second's requests wait for the pace, and 64 are always allowed. Until four times as many requests have ended as are
    in flight, the latency is not known, because the quick ones end first: then the pace alone bounds their number.

    The service lowers the bound by a third at most once a second, while it refuses more than three quarters; it rises by
    one for every round of successes.

    Args:
        maximum: Greatest number at once.
        rate: Starts per second that the pace allows; None where nothing paces, and *maximum* is what is wanted.
        clock: Monotonic seconds.

    Attributes:
        active: Requests in flight.
        reason: Why it was last made slower, such as `429 rate_limit_exceeded`.
    """

    def __init__(
        self, maximum: int, *, rate: float | None = None, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self.maximum = maximum
        self._rate = rate
        self._under_way = self._ended = 0
        self._latency_s = 0.0
        self._knows_latency = False
        self.active = 0
        self.reason = ""
        self._paused_until = float("-inf")
        self._limit = float(maximum)
        self._clock = clock
        self._judged_at = float("-inf")
        self._refused = self._succeeded = 0
        self._waiters: deque[asyncio.Future[None]] = deque()
        self._grown = asyncio.Event()

    @property
    def limit(self) -> int:
        """How many requests may be in flight now."""
        return min(int(self._limit), self._wanted)

    @property
    def _wanted(self) -> int:
        """How many the pace needs, whatever the service says."""
        if self._rate is None:
            return self.maximum
        needed = self._under_way + math.ceil(self._rate)
        if self._knows_latency:
            needed = min(needed, math.ceil(self._rate * self._latency_s * _HEADROOM))
        return min(self.maximum, max(_LEAST, needed))

    async def above(self, number: int) -> None:
        """Wait until more than *number* requests may be in flight."""
        while self.limit <= number:
            self._grown.clear()
            await self._grown.wait()

    @asynccontextmanager
    async def one(self) -> AsyncGenerator[Place]:
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
        place = Place(self)
        try:
            yield place
        finally:
            self.active -= 1
            if place.left_at is not None:
                self._end(self._clock() - place.left_at)
            self._wake()

    def begin(self) -> float:
        """Count a request that leaves now, and return the time."""
        self._under_way += 1
        self._wake()
        return self._clock()

    def _end(self, seconds: float) -> None:
        self._under_way -= 1
        self._ended += 1
        self._latency_s += (seconds - self._latency_s) / min(self._ended, max(_LEAST, self._under_way))
        self._knows_latency = self._knows_latency or self._ended >= max(_LEAST, 4 * self._under_way)

    @property
    def throttle(self) -> str:
        """
        What keeps requests back now and why, such as `44 of 64 at once after 503`, or `64 at once allow 5.3 of 25 requests
        per second`; nothing in good times.
        """
        pause_s = self._paused_until - self._clock()
        parts = [
            f"paused for {math.ceil(pause_s)} s" if pause_s > 0 else "",
            f"{self.limit} of {self._wanted} at once" if self._limit < self._wanted else "",
        ]
        shown = ", ".join(part for part in parts if part)
        if shown:
            return f"{shown} after {self.reason}"
        if self._rate is None or not self._knows_latency or self._rate * self._latency_s <= self.maximum:
            return ""
        allowed = self.maximum / self._latency_s
        return f"{self.maximum} at once allow {allowed:.1f} of {self._rate:.0f} requests per second"

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
                self._limit = max(1.0, min(self._limit, self._wanted) * _DECREASE)
            self._judged_at = now
            self._refused = self._succeeded = 0

    def faster(self) -> None:
        """Raise the bound: a request went through."""
        self._succeeded += 1
        self._limit = min(float(self.maximum), self._limit + 1.0 / self._limit)
        self._wake()

    def _wake(self) -> None:
        self._grown.set()
        free = self.limit - self.active
        while free > 0 and self._waiters:
            waiter = self._waiters.popleft()
            if not waiter.done():
                waiter.set_result(None)
                free -= 1
