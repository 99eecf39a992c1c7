"""Names in a directory: which are taken, which fit, and how a whole file gets one."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import itertools
import os
import unicodedata
from pathlib import Path
from typing import Final

from ..errors import OutputError
from .names import image_stem
from .owner import PART_SUFFIX

_IMAGE_SUFFIXES: Final = (".png", ".jpg", ".jpeg", ".webp", ".gif", ".avif", ".bmp", ".svg", ".bin")
_SAME_TYPE: Final = {".jpeg": ".jpg"}
# What `link` raises where a file system has none. Android's refuses them with EACCES, Windows' FAT with EINVAL.
_NO_HARD_LINKS: Final = frozenset(
    (errno.EPERM, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS, errno.EACCES)
    + ((errno.EINVAL,) if os.name == "nt" else ())
)
_OTHER_DIRECTORY: Final = "Check its permissions, or choose another directory."
_MOST_GUARDED: Final = 16  # images of one request whose names are looked up beforehand


def existing_images(directory: Path, name: str, count: int = 1) -> list[Path]:
    """Return the files that *count* images under *name* could run into: `fox.png`, `fox-0.jpg` and so on."""
    # Each is asked for by its name, in 20 µs. To list a directory takes the longer the fuller it is, and in a thread
    # the interpreter changes threads at each entry (benchmarks/README.md).
    numbers = range(max(1, min(count, _MOST_GUARDED)))
    stems = [name, *(image_stem(name, number, 2) for number in numbers)]
    paths = [os.path.join(directory, f"{stem}{suffix}") for stem in stems for suffix in _IMAGE_SUFFIXES]
    return [Path(path) for path in paths if os.path.lexists(path)]


def fitting(target: Path, suffix: str) -> Path:
    """Return *target* with the *suffix* that its bytes call for; an image's suffix of its own that says the same is kept."""
    given = target.suffix.lower()
    if given not in _IMAGE_SUFFIXES:
        return target.with_name(target.name + suffix)
    return target if _SAME_TYPE.get(given, given) == suffix else target.with_suffix(suffix)


def make_directory(directory: Path) -> None:
    """
    Make *directory* and its parents.

    Raises:
        OutputError: It cannot be made, is something else, or takes no files.
    """
    try:
        directory.mkdir(parents=True, exist_ok=True)
    except (OSError, ValueError) as error:  # a path with a null character is a ValueError
        raise cannot_write(directory, error, advice=_OTHER_DIRECTORY) from error
    if not os.access(directory, os.W_OK | os.X_OK):
        raise OutputError(
            f"cannot write to {directory}: no permission, or read-only.", advice=_OTHER_DIRECTORY
        )


def publish(part: Path, target: Path, *, overwrite: bool, numbered: bool = True, left: str = "") -> Path:
    """
    Give a whole file its name; never over another one unless asked.

    Raises:
        OutputError: The name is taken and not *numbered* out of the way, or cannot be given.
    """
    try:
        if overwrite:
            os.replace(part, target)
            return target
        for number in itertools.count(1):
            free = target if number == 1 else target.with_stem(f"{target.stem}_{number}")
            if _claim(part, free):
                return free
            if not numbered:
                break
    except (OSError, ValueError) as error:
        kept = left if os.path.lexists(part) else ""
        raise OutputError(f"cannot name {target}: {_reason(error)}.{kept}") from error
    raise OutputError(f"{target} exists; choose another name or pass overwrite=True (--overwrite).")


def _claim(part: Path, target: Path) -> bool:
    try:
        os.link(part, target)
    except FileExistsError:
        return False
    except OSError as error:
        if error.errno not in _NO_HARD_LINKS:
            raise
        return _move(part, target)
    with contextlib.suppress(OSError):  # the file has its name; a second one does no harm
        os.unlink(part)
    return True


def _move(part: Path, target: Path) -> bool:
    """Do what `_claim` does where there are no hard links: a hidden file reserves the name, so that the file is never an empty one."""
    # Assumption: names that a file system takes for one differ in case and composition only.
    name = unicodedata.normalize("NFC", target.name.casefold())
    reserved = target.with_name(f".{hashlib.sha256(os.fsencode(name)).hexdigest()[:16]}{PART_SUFFIX}")
    try:
        os.close(os.open(reserved, os.O_CREAT | os.O_EXCL | os.O_WRONLY))
    except FileExistsError:
        return False
    try:
        if os.path.lexists(target):
            return False
        os.replace(part, target)
        return True
    finally:
        os.unlink(reserved)


def cannot_write(directory: Path, error: Exception, *, advice: str = "") -> OutputError:
    """Return the error that says why nothing can be written to *directory*."""
    made = OutputError(f"cannot write to {directory}: {_reason(error)}.", advice=advice)
    made.__cause__ = error
    return made


def _reason(error: Exception) -> str:
    return (error.strerror if isinstance(error, OSError) else None) or str(error)
