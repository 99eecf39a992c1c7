"""A pacing window that all processes of one job share through a small file."""

from __future__ import annotations

import array
import bisect
import math
import os
import struct
import sys
import time
import zlib
from collections.abc import Callable
from typing import Final, NamedTuple, TypeVar

from ..._base.file_lock import lock, unlock
from ...errors import JournalError, ParameterError
from .window import wait_s

_T = TypeVar("_T")

# Magic, number of times, checksum of what follows it: the end of a pause and the times.
_HEADER: Final = struct.Struct("<4sII")
_MAGIC: Final = b"ngp2"
_BUSY_S: Final = 0.001
_MAX_OPEN_S: Final = 30.0
_MAX_PAUSE_S: Final = 600.0
_MAX_LIMIT: Final = 100_000


class SharedWindow:
    """
    A strict limit on starts: never more than `limit` within any `window_s`, over all processes of one machine.

    The file keeps the times of the latest starts, written under an OS lock that ends with its holder, and the end
    of a pause that the service asked for.
    The lock is never waited for, so an event loop may call `try_start` directly.

    A start can be kept open: it then counts as one that happens at the end of its time, until `started` says
    that it happens now. So a slow connection cannot squeeze two windows' requests into one. A process that
    keeps starts open calls `renew` before their time ends; the open starts of a process that died fall out of the window.

    Args:
        path: The file; made when missing. Processes with the same file share the limit.
        limit: Starts per window.
        window_s: Length of the window.
        clock: A clock that all processes of the machine share and that never goes back.

    Raises:
        ParameterError: The limit or the window is out of range.
    """

    # Assumption: time.monotonic() is one clock for all processes of a machine, as on Linux, macOS and Windows.
    def __init__(
        self,
        path: str | os.PathLike[str],
        limit: int,
        window_s: float = 1.0,
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        if not 1 <= limit <= _MAX_LIMIT:
            raise ParameterError(f"a window takes 1 to {_MAX_LIMIT:,} starts, not {limit}")
        if not 0 < window_s < math.inf:
            raise ParameterError(f"a window lasts longer than 0 seconds, not {window_s}")
        self._path = os.fspath(path)
        self._limit = limit
        self._window_s = window_s
        self._clock = clock
        self._fd: int | None = None
        self._pid = 0
        # Times under which this object's open starts are recorded, oldest first; and corrections not yet written.
        self._open_until: list[float] = []
        self._corrections: list[tuple[float, float]] = []
        self._pause_until = 0.0
        self._own_pause_until = 0.0

    def try_start(self, *, open_s: float = 0.0, past_own_pause: bool = False) -> float:
        """
        Start now, if the limit allows.

        Args:
            open_s: For how long the start is kept open unless `renew` prolongs it; `started` ends that. 0 means it
                happens now.
            past_own_pause: Start also in a pause that this object made: the caller heeds those before it asks.

        Returns:
            0.0 when the start is recorded; else the seconds after which to ask again.

        Raises:
            JournalError: The file cannot be used.
        """
        if not 0 <= open_s <= _MAX_OPEN_S:
            raise ParameterError(f"a start is kept open for 0 to {_MAX_OPEN_S:.0f} seconds, not {open_s}")
        wait_s = self._locked(lambda fd, now: self._try_at(fd, now, open_s, past_own_pause))
        return _BUSY_S if wait_s is None else wait_s

    def started(self) -> None:
        """
        Record that the oldest start that this object keeps open happens now, or not at all. Without one, do nothing.

        Raises:
            JournalError: The file cannot be used.
        """
        if self._open_until:
            self._corrections.append((self._open_until.pop(0), self._clock()))
            # With the lock busy the correction waits for the next call; the file errs on the safe side meanwhile.
            self.record()

    @property
    def has_open(self) -> bool:
        """Whether this object keeps a start open."""
        return bool(self._open_until)

    def renew(self, open_s: float) -> None:
        """
        Keep what is open now open for *open_s* seconds more.

        Raises:
            JournalError: The file cannot be used.
        """
        until = self._clock() + open_s
        self._corrections += [(recorded, until) for recorded in self._open_until]
        self._open_until = [until] * len(self._open_until)
        self.record()

    def pause(self, seconds: float) -> None:
        """
        Hold back all starts for that long, ten minutes at the most.

        Raises:
            JournalError: The file cannot be used.
        """
        self._pause_until = max(self._pause_until, self._clock() + min(seconds, _MAX_PAUSE_S))
        self._own_pause_until = max(self._own_pause_until, self._pause_until)
        self.record()

    def record(self) -> bool:
        """
        Write down the starts and the pause that a busy lock kept from the file.

        Returns:
            Whether nothing is left to be written.

        Raises:
            JournalError: The file cannot be used.
        """
        if self._corrections or self._pause_until:
            self._locked(lambda fd, now: _write(fd, self._recent(fd, now)))
        return not self._corrections and not self._pause_until

    def close(self) -> None:
        """Close the file; a later `try_start` opens it again."""
        if self._fd is not None and self._pid == os.getpid():
            os.close(self._fd)
        self._fd = None

    def _open(self) -> int:
        # A forked child shares its parent's lock along with the descriptor, so it opens the file again.
        if self._fd is None or self._pid != os.getpid():
            self._fd = os.open(self._path, os.O_RDWR | os.O_CREAT | getattr(os, "O_BINARY", 0), 0o600)
            self._pid = os.getpid()
        return self._fd

    def _locked(self, action: Callable[[int, float], _T]) -> _T | None:
        try:
            fd = self._open()
            if not lock(fd):
                return None
            try:
                # Read under the lock: a time from before it could be older than the start that it stands for.
                return action(fd, self._clock())
            finally:
                unlock(fd)
        except OSError as error:
            raise JournalError(
                f"the pacing file {self._path} cannot be used: {error.strerror}.", says_charge=True
            ) from error

    def _try_at(self, fd: int, now: float, open_s: float, past_own_pause: bool) -> float:
        recent = self._recent(fd, now)
        pause_until = recent.pause_until
        if past_own_pause and pause_until == self._own_pause_until:
            pause_until = 0.0
        seconds = wait_s(recent.starts, pause_until, now, limit=self._limit, window_s=self._window_s)
        if not seconds:
            bisect.insort(recent.starts, now + open_s)
            if open_s:
                self._open_until.append(now + open_s)
        if not seconds or recent.is_changed:
            _write(fd, recent)
        return seconds

    def _recent(self, fd: int, now: float) -> _Recent:
        found = _read(fd)
        # Damaged, so any number may have started just now: count a full window.
        starts = array.array("d", [now]) * self._limit if found is None else found.starts
        pause_until = max(self._pause_until, 0.0 if found is None else found.pause_until)
        is_changed = found is None or bool(self._corrections) or self._pause_until > 0.0
        self._pause_until = 0.0
        for recorded, actual in self._corrections:
            place = bisect.bisect_left(starts, recorded)
            if place < len(starts) and starts[place] == recorded:
                starts.pop(place)
            # One that was open for longer than its time has fallen out of the file, and counts all the same.
            bisect.insort(starts, actual)
        self._corrections.clear()
        # A time far ahead is from before a restart of the machine, whose clock began again.
        del starts[bisect.bisect_right(starts, now + _MAX_OPEN_S) :]
        del starts[: bisect.bisect_right(starts, 0.0, key=lambda at: at + self._window_s - now)]
        pause_until = pause_until if pause_until <= now + _MAX_PAUSE_S else 0.0
        return _Recent(pause_until, starts, is_changed)


class _Recent(NamedTuple):
    """The end of a pause, and the starts in order; an array, because a thousand of them are read for each start."""

    pause_until: float
    starts: array.array[float]
    is_changed: bool = False


def _read(fd: int) -> _Recent | None:
    os.lseek(fd, 0, os.SEEK_SET)
    content = os.read(fd, min(os.fstat(fd).st_size, _HEADER.size + 8 * (1 + _MAX_LIMIT)))
    if not content:
        return _Recent(0.0, array.array("d"))
    if len(content) < _HEADER.size:
        return None
    magic, count, checksum = _HEADER.unpack_from(content)
    body = content[_HEADER.size : _HEADER.size + 8 * (1 + count)]
    if magic != _MAGIC or len(body) != 8 * (1 + count) or zlib.crc32(body) != checksum:
        return None
    times = array.array("d", body)
    if sys.byteorder == "big":
        times.byteswap()
    return _Recent(times.pop(0), times)


def _write(fd: int, recent: _Recent) -> None:
    times = array.array("d", [recent.pause_until]) + recent.starts
    if sys.byteorder == "big":
        times.byteswap()
    body = times.tobytes()
    os.lseek(fd, 0, os.SEEK_SET)
    # One write, which a kill does not divide; old bytes behind it are not read.
    os.write(fd, _HEADER.pack(_MAGIC, len(recent.starts), zlib.crc32(body)) + body)
