"""A file that appears under its name only when it is whole."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path
from typing import Final

from ..errors import OutputError
from .disk import cannot_write, fitting, make_directory, publish
from .owner import part_name
from .sniff import HEAD_BYTES, ImageInfo, sniff

_PIECE_BYTES: Final = 2**20


class PartFile:
    """
    A temporary file that is being written, and the head of its bytes for sniffing.

    With *rescue* a disk that fails raises nothing: later bytes are kept in memory, and `failure` says why.

    Raises:
        OutputError: It cannot be made, also in `write`.
    """

    __slots__ = ("_fd", "_hash", "_head", "_memory", "_rescue", "failure", "path", "size_bytes")

    def __init__(self, directory: Path, *, digest: bool, rescue: bool = False) -> None:
        self.path = directory / part_name()
        self.size_bytes = 0
        self.failure: OutputError | None = None
        self._head = b""
        self._hash = hashlib.sha256() if digest else None
        self._memory: BytesIO | None = None
        self._rescue = rescue
        self._fd = -1
        try:
            self._fd = self._create()
        except OutputError as error:
            self._fail(error)

    def _create(self) -> int:
        flags = os.O_CREAT | os.O_EXCL | os.O_RDWR | getattr(os, "O_BINARY", 0)
        try:
            try:
                return os.open(self.path, flags, 0o666)
            except FileNotFoundError:
                make_directory(self.path.parent)
                return os.open(self.path, flags, 0o666)
        except OSError as error:
            raise cannot_write(self.path.parent, error) from error

    def write(self, data: bytes, /) -> None:
        if len(self._head) < 4096:
            self._head += data
        view = memoryview(data)
        if self._memory is None:
            try:
                while view:
                    written = os.write(self._fd, view)
                    view = view[written:]
            except OSError as error:
                self._fail(cannot_write(self.path.parent, error))
        if self._memory is not None:
            self._memory.write(view)
        self.size_bytes += len(data)
        if self._hash is not None:
            self._hash.update(data)

    def _fail(self, failure: OutputError) -> None:
        """Continue in memory with what is in the file, or raise."""
        if not self._rescue:
            raise failure
        memory = BytesIO()
        if self._fd >= 0:
            try:
                os.lseek(self._fd, 0, os.SEEK_SET)
                while piece := os.read(self._fd, 2**20):
                    memory.write(piece)
            except OSError:
                raise failure from None
            self.remove()
        self.failure, self._memory = failure, memory

    @property
    def rescued(self) -> bytes | None:
        """All bytes, where they are not in the file."""
        return None if self._memory is None else self._memory.getvalue()

    def rest(self) -> None:
        """Give the descriptor back until something is read or written; `close` opens the file again if it has to read."""
        self._release()

    def close(self) -> ImageInfo:
        info = sniff(self._head)
        if info.width is None and len(self._head) < min(self.size_bytes, HEAD_BYTES):
            # The size can stand behind a large profile or thumbnail.
            info = sniff(self._begin())
        self._release()
        return info

    def pieces(self, start: int) -> Iterator[bytes]:
        """Return the bytes from *start* on."""
        if self._memory is not None:
            yield self._memory.getvalue()[start:]
            return
        os.lseek(self._fd, start, os.SEEK_SET)
        while piece := os.read(self._fd, _PIECE_BYTES):
            yield piece

    def take_back(self) -> bytes | None:
        """Read and remove a whole file that gets no name; None where it cannot be read, and stays."""
        try:
            self._fd = os.open(self.path, os.O_RDONLY | getattr(os, "O_BINARY", 0))
            data = b"".join(self.pieces(0))
        except OSError:
            self._release()
            return None
        self.remove()
        return data

    def _begin(self) -> bytes:
        if self._memory is not None:
            return self._memory.getvalue()[:HEAD_BYTES]
        try:
            if self._fd < 0:
                self._fd = os.open(self.path, os.O_RDONLY | getattr(os, "O_BINARY", 0))
            os.lseek(self._fd, 0, os.SEEK_SET)
            return os.read(self._fd, HEAD_BYTES)
        except OSError:
            return self._head  # the size is worth no image

    def sha256(self) -> str | None:
        return None if self._hash is None else self._hash.hexdigest()

    def remove(self) -> None:
        self._release()
        self.path.unlink(missing_ok=True)

    def _release(self) -> None:
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1


def write_image(data: bytes, target: Path, *, overwrite: bool = False, numbered: bool = False) -> Path:
    """
    Write *data* to *target*, atomically, with the suffix that its bytes call for.

    A suffix of *target* that is an image's and agrees is kept; one that disagrees is replaced. Where the name is
    taken, a *numbered* file gets a number. Blocking.

    Raises:
        OutputError: The file exists, and neither *overwrite* nor *numbered* is set, or it cannot be written.
    """
    target = fitting(target, sniff(data[:HEAD_BYTES]).suffix)
    make_directory(target.parent)
    part = PartFile(target.parent, digest=False)
    try:
        part.write(data)
        part.close()
        return publish(part.path, target, overwrite=overwrite, numbered=numbered)
    finally:
        part.remove()
