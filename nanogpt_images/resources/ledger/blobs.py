"""Images under the digest of their bytes: written once, checked on each read."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from ..._base.disk import publish
from ..._base.part_file import PartFile
from ..._base.sink import Sink
from ...errors import LedgerError, OutputError
from ...types.result import Image, ReceivedImage
from .paid_entries import KeptFile

INLINE_BYTES: Final = 64 << 10
"""Images up to so many bytes are handled in place, which takes less time than handing the work to a thread."""


class _TeePart:
    """A file that is being written, and its bytes while they are few."""

    def __init__(self, folder: Path) -> None:
        self.part = PartFile(folder, digest=True, rescue=True)
        self.data: bytearray | None = bytearray()

    def write(self, data: bytes, /) -> None:
        self.part.write(data)
        if self.data is not None:
            self.data += data
            if len(self.data) > INLINE_BYTES:
                self.data = None


class BlobStore:
    """
    Takes the images of one answer into the folder of a ledger; see `ImageStore`.

    An image goes to a temporary file there, and under the SHA-256 of its bytes once it is whole. Where the disk takes
    it no longer it goes on in memory: it is paid for.

    Attributes:
        small: The bytes of finished images that are small, so that they need not be read back.
    """

    def __init__(self, folder: Path) -> None:
        self.kept: Sequence[ReceivedImage] = ()
        self.links: Sequence[tuple[int, str]] = ()
        self.small: dict[int, bytes] = {}
        self._folder = folder
        self._parts: dict[int, _TeePart] = {}

    def open(self, index: int, request_id: str | None = None) -> Sink:
        """Begin image *index* in a temporary file."""
        del request_id
        if (old := self._parts.pop(index, None)) is not None:
            old.part.remove()
        for other in self._parts.values():
            other.part.rest()
        self._parts[index] = part = _TeePart(self._folder)
        return part

    def made_from(self, digests: Sequence[str]) -> None:
        """Do nothing: the ledger keeps an image as it came, without provenance."""

    def is_slow(self, indices: Sequence[int]) -> bool:
        """Return False: a finished image only gets its name."""
        del indices
        return False

    def finish(self, indices: Sequence[int]) -> tuple[ReceivedImage, ...]:
        """
        Give each whole image the name of its digest.

        Raises:
            OutputError: Some image is not in its file; `partial` has each, in memory where the disk took none.
        """
        stored: list[ReceivedImage] = []
        failure: OutputError | None = None
        for index in indices:
            tee = self._parts.pop(index)
            part = tee.part
            info = part.close()
            if tee.data is not None:
                self.small[index] = bytes(tee.data)
            path, data, digest = None, part.rescued, part.sha256()
            if data is None:
                try:
                    # The same name means the same bytes, so to replace a file changes nothing.
                    path = publish(part.path, self._folder / f"{digest}{info.suffix}", overwrite=True)
                except OutputError as error:
                    failure, data = failure or error, part.take_back()
                    path = part.path if data is None else None
            else:
                failure = failure or part.failure
            stored.append(
                ReceivedImage(
                    index=index, info=info, size_bytes=part.size_bytes, data=data, path=path, sha256=digest
                )
            )
        self.discard()
        self.kept = tuple(stored)
        if failure is not None:
            failure.partial = self.kept
            raise failure
        return self.kept

    def discard(self) -> None:
        """Remove the files that are not whole."""
        while self._parts:
            self._parts.popitem()[1].part.remove()


def is_kept(image: Image | ReceivedImage, folder: Path) -> bool:
    """Return whether *image* is in *folder* under its digest."""
    return image.path is not None and image.path.parent == folder and image.path.stem == image.sha256


def kept_file(image: ReceivedImage) -> KeptFile:
    """The record of an image that `BlobStore` has put into its file."""
    assert image.sha256 is not None
    return KeptFile(
        index=image.index,
        sha256=image.sha256,
        suffix=image.info.suffix,
        media_type=image.info.media_type,
        width=image.info.width,
        height=image.info.height,
        bytes=image.size_bytes,
    )


def read_checked(folder: Path, kept: KeptFile, name: str) -> bytes:
    """
    The bytes of *kept*, as they were paid for. Blocking.

    Raises:
        LedgerError: The file is gone, or its bytes have changed.
    """
    path = folder / kept.file
    try:
        descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_BINARY", 0))
        try:
            data = _read_all(descriptor, kept.bytes)
        finally:
            os.close(descriptor)
    except OSError as error:
        raise _unusable(path, name, f"cannot be read ({error.strerror or error})") from error
    if hashlib.sha256(data).hexdigest() != kept.sha256:
        raise _unusable(path, name, "holds other bytes than those that were paid for")
    return data


def _read_all(descriptor: int, expected: int) -> bytes:
    pieces: list[bytes] = []
    while piece := os.read(descriptor, max(expected + 1, 65_536)):
        pieces.append(piece)
    return pieces[0] if len(pieces) == 1 else b"".join(pieces)


def _unusable(path: Path, name: str, fault: str) -> LedgerError:
    return LedgerError(
        f"the stored image {path} of {name} {fault}. Nothing was sent. Put the file back from a copy, or forget the key:"
        " the next call with it pays again."
    )


def copy_in(source: Path, folder: Path) -> KeptFile:
    """
    Copy the image at *source* into *folder*, under its digest. Blocking.

    Raises:
        OutputError: It cannot be read or written.
    """
    part = PartFile(folder, digest=True)
    try:
        with source.open("rb") as file:
            while piece := file.read(1 << 20):
                part.write(piece)
        info = part.close()
        digest = part.sha256() or ""
        publish(part.path, folder / f"{digest}{info.suffix}", overwrite=True)
    except OSError as error:
        raise OutputError(f"{source} could not be kept in {folder}: {error.strerror or error}.") from error
    finally:
        part.remove()
    return KeptFile(
        index=0,
        sha256=digest,
        suffix=info.suffix,
        media_type=info.media_type,
        width=info.width,
        height=info.height,
        bytes=part.size_bytes,
    )
