"""Locks on files, which the kernel gives back when their process dies, and who is alive by them."""

from __future__ import annotations

import contextlib
import errno
import os
import sys
from pathlib import Path
from typing import Final

FOLDER_NAME = ".locks"

if sys.platform == "win32":
    import msvcrt

    # A lock on Windows keeps others from reading, so it covers a byte that holds nothing.
    _LOCKED_BYTE: Final = 1 << 30

    def lock(descriptor: int, *, shared: bool = False) -> bool:
        """Lock an open file without waiting; False where another one holds it. Raises OSError where there are no locks."""
        del shared
        os.lseek(descriptor, _LOCKED_BYTE, os.SEEK_SET)
        try:
            msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)
        except OSError:
            return False
        return True

    def unlock(descriptor: int) -> None:
        """Give the lock of an open file back."""
        os.lseek(descriptor, _LOCKED_BYTE, os.SEEK_SET)
        msvcrt.locking(descriptor, msvcrt.LK_UNLCK, 1)

else:
    import fcntl

    def lock(descriptor: int, *, shared: bool = False) -> bool:
        """Lock an open file without waiting; False where another one holds it. Raises OSError where there are no locks."""
        try:
            fcntl.flock(descriptor, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True

    def unlock(descriptor: int) -> None:
        """Give the lock of an open file back."""
        fcntl.flock(descriptor, fcntl.LOCK_UN)


class ProcessLock:
    """
    The mark of a living process. There is no heartbeat: a stopped or busy process keeps it, a dead one cannot.
    A forked child shares it, and one that outlives a killed parent keeps the journal in use.

    Attributes:
        path: The locked file, `DIR/.locks/TOKEN`.
    """

    path: Path
    _descriptor: int

    def __init__(self, directory: Path, token: str) -> None:
        """
        Take the lock. Two processes do not do this at the same time: the journal's write lock is held.

        Raises:
            OSError: The file cannot be made, or the file system has no locks.
        """
        self.path = directory / FOLDER_NAME / token
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self._descriptor = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o644)
        try:
            if not lock(self._descriptor):
                raise BlockingIOError(errno.EWOULDBLOCK, "it is locked", str(self.path))
        except OSError:
            self._close()
            raise

    def release(self) -> None:
        """Give the lock back and remove its file; the folder stays, for another may be about to use it."""
        self._close()

    def _close(self) -> None:
        os.close(self._descriptor)
        with contextlib.suppress(OSError):
            self.path.unlink(missing_ok=True)


def is_alive(directory: Path, token: str) -> bool:
    """Return whether the process with *token* still holds its lock."""
    try:
        descriptor = os.open(directory / FOLDER_NAME / token, os.O_RDONLY)
    except FileNotFoundError:
        return False
    except PermissionError:
        # Another user's process: its lock cannot be tried. Taking it for alive never pays twice.
        return True
    try:
        # A shared lock, so that two who look at the same time do not take each other for the owner.
        return not lock(descriptor, shared=True)
    except OSError:
        return True
    finally:
        os.close(descriptor)


def forget(directory: Path, token: str) -> None:
    """Remove the file of a process that is gone, and the folder with the last one, under the write lock."""
    folder = directory / FOLDER_NAME
    with contextlib.suppress(OSError):
        (folder / token).unlink(missing_ok=True)
        folder.rmdir()
