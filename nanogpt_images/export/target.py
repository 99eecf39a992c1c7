"""A file or directory that appears under its name only when it is complete."""

from __future__ import annotations

import os
import secrets
import shutil
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

from .._base.disk import make_directory
from .._base.durable import sync_files
from ..errors import OutputError


class Target:
    """
    The destination of an export. Blocking.

    Attributes:
        path: Final path.
        part: Hidden path beside it, used while writing.
    """

    def __init__(self, path: Path, *, overwrite: bool) -> None:
        """
        Check the path and create its directory.

        Raises:
            OutputError: *path* exists, or its directory cannot be created.
        """
        self.path = path
        self.part = path.with_name(f".{path.name}.{secrets.token_hex(4)}.part")
        if path.is_dir() or (path.exists() and not overwrite):
            advice = (
                "choose another path"
                if path.is_dir()
                else "choose another path or pass overwrite=True (--overwrite)"
            )
            raise OutputError(f"{path} exists; {advice}.")
        make_directory(path.parent)

    def publish(self) -> None:
        """Rename the complete file or directory to its final path."""
        sync_files(self.part.iterdir() if self.part.is_dir() else [self.part])
        os.replace(self.part, self.path)

    def abandon(self) -> None:
        """Remove what was written."""
        if self.part.is_dir():
            shutil.rmtree(self.part, ignore_errors=True)
        else:
            self.part.unlink(missing_ok=True)

    @property
    def size_bytes(self) -> int:
        """Size of the published file or directory."""
        files = self.path.iterdir() if self.path.is_dir() else (self.path,)
        return sum(file.stat().st_size for file in files)


@contextmanager
def failing_as(path: Path) -> Generator[None]:
    """Convert an OSError within the block to an OutputError that names *path*."""
    try:
        yield
    except OSError as error:
        raise OutputError(f"cannot write {path}: {error.strerror or error}.") from error
