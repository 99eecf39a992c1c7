"""Open files and connections: how many the system allows, and how many requests that is enough for."""

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


def room_for(requests: int) -> int:
    """
    Return how many of *requests* can be in flight at once; raise the process's limit of open files for them if possible.

    A request that finds no descriptor for its image holds it in memory, where a crash would take it.
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
    if room >= requests:
        return requests
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
