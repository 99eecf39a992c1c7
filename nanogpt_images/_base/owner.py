"""Temporary files carry their process in their names, so that only those of dead processes are ever removed."""

from __future__ import annotations

import hashlib
import itertools
import os
import re
import secrets
import socket
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Final

PART_SUFFIX: Final = ".part"
# A file whose process cannot be asked for, because it ran on another machine or the name is not of this package's
# making, is left alone for as long as a request could still be writing to it.
_REQUEST_OVER_S: Final = 86_400.0

_PART: Final = re.compile(r"\.([0-9a-f]{8})-([0-9a-f]{1,8})-([0-9a-f]{8})-[0-9a-f]+" + re.escape(PART_SUFFIX))
_NUMBERS: Final = itertools.count()
_own: dict[int, str] = {}  # by PID, because a forked child inherits it


def part_name() -> str:
    """Return a new name for a temporary file of this process: `.MACHINE-PID-START-NUMBER.part`."""
    pid = os.getpid()
    owner = _own.get(pid)
    if owner is None:
        start = _start(pid) or secrets.token_hex(4)
        owner = _own[pid] = f"{_machine()}-{pid:x}-{start}"
    return f".{owner}-{next(_NUMBERS):x}{PART_SUFFIX}"


def abandoned(directory: Path, *, clock: float | None = None) -> list[Path]:
    """
    Return the temporary files in *directory* that no process writes any more. Blocking.

    Args:
        directory: Where to look; other processes may be at work there.
        clock: Seconds since the epoch, by default now.

    Raises:
        OSError: The directory cannot be read.
    """
    now = time.time() if clock is None else clock
    return [path for path in _parts(directory) if _is_abandoned(path, now)]


def _parts(directory: Path) -> Iterable[Path]:
    return (path for path in directory.iterdir() if path.name[0] == "." and path.suffix == PART_SUFFIX)


def _is_abandoned(path: Path, now: float) -> bool:
    named = _PART.fullmatch(path.name)
    if named is not None and named[1] == _machine() and os.name != "nt":
        return _is_dead(int(named[2], 16), named[3])
    try:
        return now - path.stat().st_mtime > _REQUEST_OVER_S
    except OSError:
        return False


def _is_dead(pid: int, start: str) -> bool:
    """Return whether no process of this machine has *pid* since *start*."""
    try:
        os.kill(pid, 0)
    except (ProcessLookupError, OverflowError):
        return True
    except OSError:
        pass  # another user's
    return _start(pid) not in (None, start)


def _start(pid: int) -> str | None:
    """Return what tells a process from earlier and later ones of its PID; None where the system does not say."""
    stat = _read(f"/proc/{pid}/stat")
    # The name of the program, in parentheses, may hold anything.
    fields = stat.rpartition(b")")[2].split()
    if len(fields) < 20:
        return None
    alive = fields[0] not in (b"Z", b"X")
    return _digest(_read("/proc/sys/kernel/random/boot_id"), fields[19]) if alive else "dead"


def _machine() -> str:
    """Return what identifies the place where PIDs mean what they mean here: the machine, and the container."""
    try:
        namespace = os.stat("/proc/self/ns/pid").st_ino
    except OSError:
        namespace = 0
    return _digest(socket.gethostname().encode(), _read("/etc/machine-id"), b"%d" % namespace)


def _digest(*facts: bytes) -> str:
    return hashlib.sha256(b"\0".join(facts)).hexdigest()[:8]


def _read(file: str) -> bytes:
    try:
        descriptor = os.open(file, os.O_RDONLY)
    except OSError:
        return b""
    try:
        return os.read(descriptor, 4096)
    except OSError:
        return b""
    finally:
        os.close(descriptor)
