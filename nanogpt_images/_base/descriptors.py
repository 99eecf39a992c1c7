"""What the system allows a process: open files and memory, and how many requests these are enough for."""

from __future__ import annotations

import errno
import os
import sys
from typing import Final

from .logs import get_logger

_log = get_logger()
_PER_REQUEST: Final = 2  # its connection, and the image that is being written
_SPARE: Final = 48  # the journal, files that are synced, name resolution, pipes of a child
_ASSUMED_OPEN: Final = 64
_MEMORY_PER_REQUEST: Final = 256 * 2**10
_SHARE_OF_MEMORY: Final = 4
_MOST_AT_ONCE: Final = 8192


def most_at_once() -> int:
    """
    Return how many requests may be in flight where the caller names no number: 8,192, or fewer where a quarter of the
    machine's memory at 256 KiB for each, or the limit of open files, which is raised if possible, has room for fewer.
    """
    try:
        memory = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, OSError, ValueError):
        return room_for(_MOST_AT_ONCE, asked=False)
    fitting = max(1, memory // _SHARE_OF_MEMORY // _MEMORY_PER_REQUEST)
    return room_for(min(_MOST_AT_ONCE, fitting), asked=False)


def room_for(requests: int, *, asked: bool = True) -> int:
    """
    Return how many of *requests* can be in flight at once; raise the process's limit of open files for them if possible.

    A request that finds no descriptor for its image holds it in memory, where a crash would take it.

    Args:
        requests: How many are wanted.
        asked: A caller asked for that number: where there is room for fewer, the log says so.
    """
    if sys.platform == "win32":
        return requests  # there a process may have as many as there is memory for
    import resource

    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    taken = _open_now() + _SPARE
    needed = taken + requests * _PER_REQUEST
    if soft == resource.RLIM_INFINITY or soft >= needed:
        return requests
    wanted = needed if hard == resource.RLIM_INFINITY else min(needed, hard)
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
    except (OSError, ValueError):
        wanted = soft
    else:
        _log.info("the limit of open files was raised from %d to %d.", soft, wanted)
    room = max(1, (wanted - taken) // _PER_REQUEST)
    if room >= requests or not asked:
        return min(room, requests)
    _log.warning(
        "%d requests at once instead of %d: the limit of open files is %d. Raise it with ulimit -n %d.",
        *(room, requests, wanted, needed),
    )
    return room


def are_short(error: BaseException | None) -> bool:
    """Return whether *error*, or what caused it, is that no descriptor was free: that passes when another one is closed."""
    while error is not None:
        if isinstance(error, OSError):
            return error.errno in (errno.EMFILE, errno.ENFILE)
        error = error.__cause__
    return False


def _open_now() -> int:
    try:
        return len(os.listdir("/dev/fd"))
    except OSError:
        return _ASSUMED_OPEN
