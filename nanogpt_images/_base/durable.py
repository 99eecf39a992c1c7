"""Files that survive a power cut: what was written, and the directory entries that name it."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Callable, Collection, Iterable, Mapping
from pathlib import Path
from typing import Final

from ..errors import Charge, OutputError
from .descriptors import are_short
from .owner import part_name

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


def write_files(files: Mapping[str, bytes], sync: Callable[[int], None] = os.fsync) -> None:
    """
    Return once each of *files* holds its bytes on the disk itself; one that has the name is replaced, whole by whole.

    Args:
        files: The bytes of each, by path. Their directory is made where it is missing.
        sync: The system call, by descriptor.

    Raises:
        OSError: A file cannot be written, or the disk reports a failure.
    """
    for path, data in files.items():
        part = os.path.join(os.path.dirname(path), part_name())
        try:
            _write(part, data, sync)
            os.replace(part, path)
        except OSError:
            with contextlib.suppress(OSError):
                os.unlink(part)
            raise


def sync_directories(paths: Iterable[Path | str], sync: Callable[[int], None] = os.fsync) -> None:
    """
    Return once the names in the directories of *paths* are on the disk, each directory synced once.

    Raises:
        OSError: A directory is missing, or the disk reports a failure.
    """
    if os.name == "nt":
        return  # Windows has no handle to sync; NTFS journals the names.
    for directory in sorted({os.path.dirname(path) or os.curdir for path in paths}):
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


def _write(path: str, data: bytes, sync: Callable[[int], None]) -> None:
    flags = os.O_CREAT | os.O_EXCL | os.O_RDWR | getattr(os, "O_BINARY", 0)
    try:
        descriptor = _opened(path, flags)
    except FileNotFoundError:
        os.makedirs(os.path.dirname(path), exist_ok=True)
        descriptor = _opened(path, flags)
    try:
        view = memoryview(data)
        while view:
            view = view[os.write(descriptor, view) :]
        sync(descriptor)
    finally:
        os.close(descriptor)


def _sync(path: Path | str, flags: int, sync: Callable[[int], None]) -> None:
    descriptor = _opened(path, flags)
    try:
        sync(descriptor)
    finally:
        os.close(descriptor)


def _opened(path: Path | str, flags: int) -> int:
    for pause_s in _PAUSES_S:
        try:
            return os.open(path, flags, 0o666)
        except OSError as error:
            if not are_short(error):
                raise
        time.sleep(pause_s)
    return os.open(path, flags, 0o666)
