"""Files that survive a power cut: what was written, and the directory entries that name it."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Collection, Iterable
from pathlib import Path
from typing import Final

from ..errors import Charge, OutputError
from .descriptors import are_short

# How long a file whose image is paid for waits for a free descriptor, in the journal's own thread.
_PAUSES_S: Final = (0.01, 0.05, 0.2, 0.5, 1.0, 2.0, 4.0)


def sync_files(paths: Iterable[Path], sync: Callable[[int], None] = os.fsync) -> None:
    """
    Return once the contents of *paths* are on the disk itself.

    Args:
        paths: Files that are complete under their final names.
        sync: The system call, by descriptor.

    Raises:
        OSError: A file is missing, or the disk reports a failure.
    """
    for path in paths:
        # Windows flushes through a writable descriptor only.
        _sync(path, os.O_RDWR if os.name == "nt" else os.O_RDONLY, sync)


def sync_directories(paths: Iterable[Path], sync: Callable[[int], None] = os.fsync) -> None:
    """
    Return once the names in the directories of *paths* are on the disk, each directory synced once.

    Raises:
        OSError: A directory is missing, or the disk reports a failure.
    """
    if os.name == "nt":
        return  # Windows has no handle to sync; NTFS journals the names.
    for directory in sorted({path.parent for path in paths}):
        _sync(directory, os.O_RDONLY, sync)


def put_on_disk(paths: Collection[Path]) -> None:
    """
    Return once the images *paths* are on the disk itself, by name and content.

    Raises:
        OutputError: One is missing, or the disk reports a failure.
    """
    try:
        sync_files(paths)
        sync_directories(paths)
    except OSError as error:
        raise not_on_disk(error) from error


def not_on_disk(error: OSError) -> OutputError:
    """Return the error for an image that was paid for and whose file may not outlive a power cut."""
    return OutputError(
        f"an image could not be put on the disk ({error.strerror or error}: {error.filename}).",
        charge=Charge.CHARGED,
        advice="The journal does not count it as done.",
    )


def _sync(path: Path, flags: int, sync: Callable[[int], None]) -> None:
    descriptor = _opened(path, flags)
    try:
        sync(descriptor)
    finally:
        os.close(descriptor)


def _opened(path: Path, flags: int) -> int:
    for pause_s in _PAUSES_S:
        try:
            return os.open(path, flags)
        except OSError as error:
            if not are_short(error):
                raise
        time.sleep(pause_s)
    return os.open(path, flags)
