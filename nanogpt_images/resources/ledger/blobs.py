"""Images under the digest of their bytes: written once, checked on each read."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

import attrs

from ..._base.disk import publish
from ..._base.part_file import PartFile
from ..._base.sink import Sink
from ..._base.sniff import HEAD_BYTES, sniff
from ...errors import LedgerError, OutputError
from ...types.result import ReceivedImage
from .paid_entries import KeptFile

INLINE_BYTES: Final = 64 << 10
"""Images up to so many bytes are handled in place, which takes less time than handing the work to a thread."""


class _Blob:
    """An image that arrives: in memory while it is small, then in a file."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.memory = bytearray()
        self.part: PartFile | None = None

    def write(self, data: bytes, /) -> None:
        if self.part is not None:
            self.part.write(data)
            return
        self.memory += data
        if len(self.memory) > INLINE_BYTES:
            self.part = PartFile(self.folder, digest=True, rescue=True)
            self.part.write(bytes(self.memory))
            self.memory.clear()


class BlobStore:
    """
    Takes the images of one answer for the folder of a ledger; see `ImageStore`.

    A small image stays in memory: the ledger's thread writes its file, in the same trip as the outcome. A larger one
    goes to a temporary file there, and under the SHA-256 of its bytes once it is whole. Where the disk takes it no
    longer it goes on in memory: it is paid for.
    """

    def __init__(self, folder: Path) -> None:
        self.kept: Sequence[ReceivedImage] = ()
        self.links: Sequence[tuple[int, str]] = ()
        self._folder = folder
        self._blobs: dict[int, _Blob] = {}

    def open(self, index: int, request_id: str | None = None) -> Sink:
        """Begin image *index*."""
        del request_id
        if (old := self._blobs.pop(index, None)) is not None and old.part is not None:
            old.part.remove()
        for other in self._blobs.values():
            if other.part is not None:
                other.part.rest()
        self._blobs[index] = blob = _Blob(self._folder)
        return blob

    def made_from(self, digests: Sequence[str]) -> None:
        """Do nothing: the ledger keeps an image as it came, without provenance."""

    def is_slow(self, indices: Sequence[int]) -> bool:
        """Return False: a finished image only gets its name."""
        del indices
        return False

    def finish(self, indices: Sequence[int]) -> tuple[ReceivedImage, ...]:
        """
        Give each whole image that is in a file the name of its digest.

        Raises:
            OutputError: Some image is not in its file; `partial` has each, in memory where the disk took none.
        """
        stored: list[ReceivedImage] = []
        failure: OutputError | None = None
        for index in indices:
            blob = self._blobs.pop(index)
            if blob.part is None:
                stored.append(_in_memory(index, bytes(blob.memory)))
                continue
            part = blob.part
            info = part.close()
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
        """Discard the images that are not whole."""
        while self._blobs:
            part = self._blobs.popitem()[1].part
            if part is not None:
                part.remove()


@attrs.frozen(kw_only=True)
class Keeping:
    """
    Images on their way into a ledger.

    Attributes:
        images: Their records.
        files: Those that are in their files, to be put on the disk.
        unwritten: The bytes of the others, by file.
    """

    images: Sequence[KeptFile]
    files: Sequence[Path]
    unwritten: Mapping[str, bytes]

    @classmethod
    def of(cls, images: Sequence[ReceivedImage], folder: Path) -> Keeping:
        """What there is to do for *images* of a `BlobStore`; those that the disk did not take are left out."""
        records: list[KeptFile] = []
        files: list[Path] = []
        unwritten: dict[str, bytes] = {}
        for image in images:
            record = kept_file(image)
            if image.data is not None and image.size_bytes <= INLINE_BYTES:
                unwritten[os.path.join(folder, record.file)] = image.data
            elif image.path is not None and image.path.name == record.file:
                files.append(image.path)
            else:
                continue
            records.append(record)
        return cls(images=records, files=files, unwritten=unwritten)


def _in_memory(index: int, data: bytes) -> ReceivedImage:
    return ReceivedImage(
        index=index,
        info=sniff(data[:HEAD_BYTES]),
        size_bytes=len(data),
        data=data,
        sha256=hashlib.sha256(data).hexdigest(),
    )


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
