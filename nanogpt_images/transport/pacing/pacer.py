"""The pace of a batch: its starts wait for a place in the window that all processes of the job share."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from functools import partial
from pathlib import Path
from typing import Final, Protocol

from ..._base.logs import get_logger
from ...errors import JournalError
from .shared_window import SharedWindow

FILE_NAME: Final = ".pace"
# Between its place and its first byte a request is written to the journal, and may have to connect. However long
# that takes, the place stays in the window; that of a process which died leaves it after this time.
_OPEN_S: Final = 10.0
_RENEW_S: Final = 2.5
_AGAIN_S: Final = 0.001
_log = get_logger("nanogpt_images.batch")


class Pacing(Protocol):
    """Places for starts, as the way of a request takes them."""

    async def take(self) -> None:
        """Wait for a place and keep it open until `started`."""
        ...

    def started(self) -> None:
        """Record that the request of the oldest open place leaves now, or not at all."""
        ...

    def pause(self, seconds: float) -> None:
        """Keep every process from starting for so many seconds."""
        ...


class Pacer:
    """
    Places in the window of one directory. Bound to one event loop.

    Its file operations are done in place: the lock is never waited for, and it reads and writes
    some hundred bytes of the page cache.

    Args:
        directory: The batch's directory; processes with the same one share the limit.
        name: The window's file there: one for each key.
        limit: Starts per window.
        window_s: Length of the window.
        own_pauses: Let pauses that are made here hold the starts from here; False where the caller heeds them before
            it asks for a place.
        sleep: Waits that many seconds.
    """

    def __init__(
        self,
        directory: Path,
        limit: int,
        window_s: float,
        *,
        name: str = FILE_NAME,
        own_pauses: bool = True,
        sleep: Callable[[float], Awaitable[object]] = asyncio.sleep,
    ) -> None:
        self._window = SharedWindow(directory / name, limit, window_s)
        self._past_own_pause = not own_pauses
        self._sleep = sleep
        self._turn = asyncio.Lock()
        self._again: asyncio.TimerHandle | None = None
        self._renewal: asyncio.TimerHandle | None = None

    async def take(self) -> None:
        """
        Wait for a place and keep it open until `started`.

        Raises:
            JournalError: The file cannot be used.
        """
        # One waiter asks for all of this process: many would only get in each other's way at the lock.
        async with self._turn:
            while (wait_s := self._try_start()) > 0:
                await self._sleep(wait_s)
        if self._renewal is None:
            self._renew_later()

    def _try_start(self) -> float:
        return self._window.try_start(open_s=_OPEN_S, past_own_pause=self._past_own_pause)

    def started(self) -> None:
        """Record that the request of the oldest open place leaves now, or not at all."""
        self._write(self._window.started)

    def pause(self, seconds: float) -> None:
        """Let no process of the job start for that long: the service refused for its rate limit."""
        self._write(partial(self._window.pause, seconds))

    def _write(self, change: Callable[[], None]) -> None:
        try:
            change()
            self._record()
        except JournalError as error:
            # A place stays open until its time is over; the next request meets the same error.
            _log.warning("%s", error)

    def close(self) -> None:
        """Close the file."""
        for timer in (self._again, self._renewal):
            if timer is not None:
                timer.cancel()
        self._window.close()

    def _renew_later(self) -> None:
        self._renewal = asyncio.get_running_loop().call_later(_RENEW_S, self._renew)

    def _renew(self) -> None:
        self._renewal = None
        if self._window.has_open:
            self._renew_later()
            self._write(partial(self._window.renew, _OPEN_S))

    def _record(self) -> None:
        # Others wait for a place that seems open, so what a busy lock held up is written soon.
        if not self._window.record():
            self._again = asyncio.get_running_loop().call_later(_AGAIN_S, self._record_again)

    def _record_again(self) -> None:
        try:
            self._record()
        except JournalError as error:
            _log.warning("%s", error)
