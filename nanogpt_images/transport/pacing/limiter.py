"""Strict pacing: never more than `limit` starts in any window, however the event loop is loaded."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Awaitable, Callable

# A request can reach the server a little sooner than an earlier one did; the window is longer by this much.
_MARGIN = 0.03
# So much longer it is once a request was refused although the pace was kept.
_WIDER = 0.05


class StartSlot:
    """
    The right to start one request.

    Its second begins when `started()` is called, not when the slot was given: a slow connection or a slow
    disk in between cannot squeeze two seconds' requests into one.
    """

    __slots__ = ("_clock", "_waiter", "at")

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._waiter: asyncio.Future[None] | None = None
        self.at: float | None = None

    def started(self) -> None:
        """Record that the request's bytes leave now, or will not leave at all. Further calls do nothing."""
        if self.at is None:
            self.at = self._clock()
            if self._waiter is not None and not self._waiter.done():
                self._waiter.set_result(None)

    async def wait_started(self) -> float:
        """Wait until the request has started, and return when that was."""
        while self.at is None:
            self._waiter = asyncio.get_running_loop().create_future()
            await self._waiter
        return self.at


class RateLimiter:
    """
    At most *limit* starts in any *window_s* seconds, first come first served.

    Args:
        limit: Starts per window; None switches pacing off.
        window_s: Length of the window in seconds.
        clock: Monotonic seconds.
        sleep: Waits that many seconds.

    Attributes:
        limit: Whole starts per `span_s`; None where pacing is off.
        span_s: Length of the window in effect, a little longer than `window_s`, and longer after a refusal.
    """

    def __init__(
        self,
        limit: float | None,
        *,
        window_s: float = 1.0,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], Awaitable[object]] = asyncio.sleep,
    ) -> None:
        # Less than one start per window is one start per longer window.
        self.limit = None if limit is None else max(1, int(limit))
        self._window_s = 0.0 if limit is None else window_s * max(1.0, 1.0 / limit)
        self.span_s = self._window_s * (1 + _MARGIN)
        self._clock = clock
        self._sleep = sleep
        self._recent: deque[StartSlot] = deque(maxlen=self.limit)
        self._turn: asyncio.Lock | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._paused_at = float("-inf")
        self._paused_until = 0.0

    @property
    def rate(self) -> float | None:
        """Starts per second; None where pacing is off."""
        return None if self.limit is None else self.limit / self.span_s

    def pause(self, seconds: float, *, left_at: float | None = None) -> bool:
        """
        Hold back all starts for that long, and until the window is free: the service asked for a rest.

        Args:
            seconds: Length of the pause from now.
            left_at: When the request started that was refused. One from before the last pause says nothing new: it
                belongs to the burst that the pause was for.

        Returns:
            Whether this is a further pause.
        """
        now = self._clock()
        if left_at is not None and left_at <= self._paused_at:
            return False
        self._paused_at = now
        self.span_s = self._window_s * (1 + _WIDER)
        until = now + seconds
        if seconds > 0:
            # Who starts before the whole window is free is refused alone, and the next pause keeps the rest from it.
            until = max([until, *(slot.at + self.span_s for slot in self._recent if slot.at is not None)])
        self._paused_until = max(self._paused_until, until)
        return True

    def wait_s(self, ahead: int) -> float:
        """Estimate the seconds until a request gets its slot that comes after *ahead* others."""
        now = self._clock()
        paused_s = max(0.0, self._paused_until - now)
        if self.limit is None:
            return paused_s
        rounds, place = divmod(ahead, self.limit)
        free = self.limit - len(self._recent)
        if place >= free:
            # A start that has not left yet holds its place for a time that nothing tells.
            at = self._recent[place - free].at
            rounds_s = self.span_s if at is None else max(0.0, at + self.span_s - now)
            return paused_s + rounds * self.span_s + rounds_s
        return paused_s + rounds * self.span_s

    async def acquire(self) -> StartSlot:
        """Wait for a slot. A cancelled waiter leaves nothing behind."""
        slot = StartSlot(self._clock)
        if self.limit is None and self._paused_until <= self._clock():
            return slot
        async with self._lock():
            if self.limit is not None and len(self._recent) == self.limit:
                oldest = await self._recent[0].wait_started()
                await self._sleep_until(oldest + self.span_s)
            while self._paused_until > self._clock():  # it may be asked for again meanwhile
                await self._sleep_until(self._paused_until)
            self._recent.append(slot)
        return slot

    async def _sleep_until(self, moment: float) -> None:
        while (seconds := moment - self._clock()) > 0:
            await self._sleep(seconds)

    def _lock(self) -> asyncio.Lock:
        # A lock belongs to the loop that first waits on it; a client may outlive that loop.
        loop = asyncio.get_running_loop()
        if self._turn is None or self._loop is not loop:
            self._turn, self._loop = asyncio.Lock(), loop
            # A slot that its loop left unstarted will never start; what did start still counts.
            started = [slot for slot in self._recent if slot.at is not None]
            self._recent = deque(started, maxlen=self.limit)
        return self._turn
