"""The keys of a client: each with a pace of its own, and each request with whichever has a place first."""

from __future__ import annotations

import hashlib
import math
import time
from collections.abc import Callable, Mapping, Sequence
from contextvars import ContextVar
from pathlib import Path
from typing import Final

import attrs

from .._base.logs import get_logger
from ..errors import NanoGPTError
from .pacing.limiter import RateLimiter, StartSlot
from .pacing.pacer import FILE_NAME, Pacer
from .secrets import Redactor

_log = get_logger()
_NAME_DIGITS: Final = 16
_FILE_DIGITS: Final = 8


class KeyOut(Exception):  # noqa: N818 - control flow, never seen outside
    """The key that was chosen is not to be used for now: another one takes the request."""

    def __init__(self, reason: NanoGPTError) -> None:
        super().__init__(reason)
        self.reason = reason


@attrs.define(eq=False)
class Lane:
    """
    One key, and the way of the requests that are sent with it.

    Attributes:
        number: Its place among the keys, from 0.
        name: What its sums stand under in journals, never the key itself; empty without a key.
        headers: The header that carries the key.
        limiter: Its pace.
        redact: Replaces the key in what comes back.
        waiting: Requests that wait for its pace.
        out_until: It takes no requests before (monotonic seconds).
    """

    number: int
    name: str
    headers: Mapping[str, str] = attrs.field(repr=False)
    limiter: RateLimiter
    redact: Redactor = attrs.field(repr=False)
    waiting: int = 0
    out_until: float = float("-inf")

    @property
    def label(self) -> str:
        """What messages call it."""
        return f"key {self.number + 1}"


class KeyRing:
    """
    The keys of one client.

    Args:
        lanes: One for each key, or a single one without a key.
        clock: Monotonic seconds.
    """

    def __init__(self, lanes: Sequence[Lane], *, clock: Callable[[], float] = time.monotonic) -> None:
        self.lanes = tuple(lanes)
        self._clock = clock
        self._last = 0

    @property
    def rate(self) -> float | None:
        """Starts per second of all keys together; None where pacing is off."""
        rates = [lane.limiter.rate for lane in self.lanes]
        return None if None in rates else sum(rate or 0.0 for rate in rates)

    async def acquire(self) -> tuple[Lane, StartSlot]:
        """Wait for a place in the window of whichever key has one first. A cancelled waiter leaves nothing behind."""
        while True:
            lane = self._soonest()
            lane.waiting += 1
            try:
                slot = await lane.limiter.acquire()
            finally:
                lane.waiting -= 1
            if self._is_in(lane) or not self._any_in():
                return lane, slot
            # It dropped out meanwhile: its place stays empty.
            slot.started()

    def drop(self, lane: Lane, error: NanoGPTError, *, for_s: float = math.inf) -> bool:
        """
        Send nothing more with a key that *error* takes out, for so many seconds.

        Returns:
            Whether another key goes on; without one nothing changes.
        """
        others = [other for other in self.lanes if other is not lane and self._is_in(other)]
        if not others:
            return False
        if self._is_in(lane):
            lane.redact.error(error)
            _log.warning(
                "%s of %d drops out, the others go on: %s", lane.label, len(self.lanes), error.message
            )
        lane.out_until = max(lane.out_until, self._clock() + for_s)
        return True

    def pacers(self, directory: Path) -> list[Pacer]:
        """Make the windows that processes which share *directory* keep to, one for each key; none without pacing."""
        # The limiter holds this client's starts in its own pauses; the file is for those of other processes.
        return [
            Pacer(
                directory,
                lane.limiter.limit,
                lane.limiter.span_s,
                name=window_name(lane.name),
                own_pauses=False,
            )
            for lane in self.lanes
            if lane.limiter.limit is not None
        ]

    def _is_in(self, lane: Lane) -> bool:
        return lane.out_until <= self._clock()

    def _any_in(self) -> bool:
        return any(self._is_in(lane) for lane in self.lanes)

    def _soonest(self) -> Lane:
        if len(self.lanes) == 1:
            return self.lanes[0]
        now = self._clock()
        lanes = [lane for lane in self.lanes if lane.out_until <= now] or self.lanes
        # Of equals the one after the last: without it the first key would send all requests of a slow batch.
        turn = self._last + 1
        best = min(
            lanes,
            key=lambda lane: (lane.limiter.wait_s(lane.waiting), (lane.number - turn) % len(self.lanes)),
        )
        self._last = best.number
        return best


def key_name(key: str | None) -> str:
    """Return what the sums of *key* stand under: a part of its digest, which keeps them when keys change their order."""
    return "" if key is None else hashlib.sha256(key.encode()).hexdigest()[:_NAME_DIGITS]


def window_name(name: str) -> str:
    """Return the name of the file that holds the window of the key with this *name*."""
    return f"{FILE_NAME}-{name[:_FILE_DIGITS]}" if name else FILE_NAME


current_key: Final[ContextVar[Redactor | None]] = ContextVar("current_key", default=None)
"""What replaces the key that the request of this task is sent with."""


class RedactorOfKeys(Redactor):
    """A redactor of several keys: the service can only echo the one that a request is sent with."""

    def __init__(self, first: Redactor) -> None:
        super().__init__(None)
        self._first = first

    @property
    def _current(self) -> Redactor:
        return current_key.get() or self._first

    def body(self, body: bytes | bytearray) -> bytes:
        """Return *body* without the key."""
        return self._current.body(body)

    def text(self, text: str) -> str:
        """Return *text* without the key."""
        return self._current.text(text)

    def excerpt(self, text: str) -> str:
        """Return *text*, which may have been cut, without the key and without its beginning."""
        return self._current.excerpt(text)

    def value(self, value: object) -> object:
        """Return a JSON value without the key."""
        return self._current.value(value)

    def error(self, error: BaseException) -> None:
        """Replace the key in the texts of *error*."""
        self._current.error(error)
