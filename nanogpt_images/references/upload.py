"""Input images that go over the wire as they are: checked first, and streamed from where they lie."""

from __future__ import annotations

import hashlib
import os
import threading
from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import aclosing
from pathlib import Path
from typing import BinaryIO, Final, Self

import attrs

from .._base.sniff import HEAD_BYTES
from .._base.threads import in_thread
from ..errors import Charge, ParameterError, ReferenceImageError
from ..types.model import Model, ReferenceLimits
from ..types.reference import Reference
from ..types.request import EditRequest, target_of
from ..wire.multipart import FormFile, content_type, form_pieces
from .loader import load_all
from .one import ImageLoader

_CHUNK_BYTES: Final = 2**20
_Stamp = tuple[int, int, int]


@attrs.frozen(kw_only=True)
class InputFile:
    """
    A file that was checked, and that is read again for each attempt.

    Attributes:
        path: Where it lies.
        where: Its name in the texts of errors.
        stamp: Inode, size and time of change when it was checked.
        sha256: Digest of its bytes then.
    """

    path: str = attrs.field(repr=False)
    where: str
    stamp: _Stamp
    sha256: str

    def check(self) -> None:
        """
        Make sure that the file is still the one that was checked.

        Raises:
            ReferenceImageError: It has changed, or is gone.
        """
        with self._opened():
            pass

    async def chunks(self) -> AsyncGenerator[bytes]:
        """
        Yield the bytes. The last ones are held back until the digest is known to be right.

        Raises:
            ReferenceImageError: The file has changed; its last bytes did not leave.
        """
        digest, held = hashlib.sha256(), b""
        with _Reading(self._opened) as reading:
            while chunk := await in_thread(reading.next_chunk, digest.update):
                if held:
                    yield held
                held = chunk
        if digest.hexdigest() != self.sha256:
            raise self._changed("The request was broken off before its end.", Charge.UNKNOWN)
        yield held

    def _opened(self) -> BinaryIO:
        try:
            file = Path(self.path).open("rb")  # noqa: SIM115 - the caller closes it
        except OSError as error:
            raise ReferenceImageError(f"{self.where} cannot be read any more: {error.strerror}.") from error
        if _stamp(file) != self.stamp:
            file.close()
            raise self._changed("", Charge.NOT_SENT)
        return file

    def _changed(self, what: str, charge: Charge) -> ReferenceImageError:
        return ReferenceImageError(
            f"{self.where} has changed since it was checked. {what}".strip(), charge=charge
        )


class _Reading:
    """
    A file that is opened and read in threads, and closed whenever the block ends.

    A task that is cancelled does not wait for its thread, which may be about to open the file.
    """

    def __init__(self, open_file: Callable[[], BinaryIO]) -> None:
        self._open = open_file
        self._file: BinaryIO | None = None
        self._ended = False
        self._lock = threading.Lock()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        with self._lock:
            self._ended = True
            if self._file is not None:
                self._file.close()

    def next_chunk(self, note: Callable[[bytes], object]) -> bytes:
        """Read on, and let *note* have what was read; nothing once the block has ended."""
        with self._lock:
            if self._ended:
                return b""
            if self._file is None:
                self._file = self._open()
            chunk = self._file.read(_CHUNK_BYTES)
        note(chunk)
        return chunk


@attrs.frozen(kw_only=True)
class Upload(Reference):
    """
    An input image of an edit.

    Attributes:
        content: Its bytes, or the file that has them; None for a link.
        sha256: Digest of its bytes; None for a link.
    """

    url: str = ""
    content: bytes | InputFile | None = attrs.field(default=None, repr=False)
    sha256: str | None = None


class UploadLoader(ImageLoader):
    """Checks images as `ImageLoader` does, and encodes none of them."""

    def _checked(self, data: bytes, where: str) -> Upload:
        return self._upload(data, len(data), data, hashlib.sha256(data).hexdigest(), where)

    def _read(self, path: str, where: str) -> Upload:
        with Path(path).open("rb") as file:
            stamp, head = _stamp(file), file.read(HEAD_BYTES)
            self.inspected(head, stamp[1], where)
            file.seek(0)
            sha256 = hashlib.file_digest(file, "sha256").hexdigest()
            if _stamp(file) != stamp:
                raise ReferenceImageError(f"{where} changed while it was read.")
        content = InputFile(path=os.path.abspath(path), where=where, stamp=stamp, sha256=sha256)
        return self._upload(head, stamp[1], content, sha256, where)

    def _upload(self, head: bytes, size: int, content: bytes | InputFile, sha256: str, where: str) -> Upload:
        info = self.inspected(head, size, where)
        return Upload(
            content=content,
            sha256=sha256,
            media_type=info.media_type,
            width=info.width,
            height=info.height,
            size_bytes=size,
        )


@attrs.frozen(kw_only=True)
class Uploads:
    """
    The images of an edit, checked.

    Attributes:
        images: Those to edit, in order.
        mask: Where the first of them may change.
    """

    images: tuple[Reference, ...]
    mask: Reference | None = None

    @property
    def digests(self) -> tuple[str, ...]:
        """SHA-256 of each image to edit whose bytes are known here."""
        return tuple(
            image.sha256 for image in self.images if isinstance(image, Upload) and image.sha256 is not None
        )

    def form(self, fields: Mapping[str, object], boundary: str) -> FormBody:
        """
        Make the body of the request, with *fields* before the images.

        Raises:
            ParameterError: A field cannot be written.
        """
        name = "image" if len(self.images) == 1 else "image[]"
        given = [(name, image) for image in self.images]
        given += [] if self.mask is None else [("mask", self.mask)]
        files = [_form_file(name, image, number) for number, (name, image) in enumerate(given)]
        pieces = form_pieces(fields, files, boundary)
        return FormBody(content_type=content_type(boundary), pieces=pieces)


@attrs.frozen(kw_only=True)
class FormBody:
    """
    A body that is streamed, and that can be streamed again; see `transport.protocol.StreamedBody`.

    Attributes:
        content_type: With the boundary.
        pieces: Bytes and files in order.
    """

    content_type: str
    pieces: tuple[bytes | InputFile, ...] = attrs.field(repr=False)

    @property
    def size(self) -> int:
        """Length in bytes."""
        return sum(len(piece) if isinstance(piece, bytes) else piece.stamp[1] for piece in self.pieces)

    async def chunks(self) -> AsyncGenerator[bytes]:
        """
        Yield the body from its beginning, once all of its files are known to be as they were.

        Raises:
            ReferenceImageError: A file has changed.
        """
        for piece in self.pieces:
            if isinstance(piece, InputFile):
                await in_thread(piece.check)
        for piece in self.pieces:
            if isinstance(piece, bytes):
                yield piece
                continue
            async with aclosing(piece.chunks()) as chunks:
                async for chunk in chunks:
                    yield chunk


async def load_uploads(request: EditRequest, model: Model | None) -> Uploads:
    """
    Check the images of an edit against what *model* accepts (None checks that they are images).

    Raises:
        ParameterError: There is none, there are too many, one is outside the limits, or the mask has another size.
        ReferenceImageError: An image cannot be read, or is none. Nothing was sent.
    """
    if not request.image:
        raise ParameterError(
            "there is no image to edit; pass image=.",
            model=request.model,
            parameter="image",
        )
    limits = None if model is None else model.references
    loader = _loader(request, "image", limits)
    images = await load_all(loader, request.image)
    if request.mask is None:
        return Uploads(images=images)
    mask = await _loader(request, "mask", None).load(request.mask, None)
    _check_mask(images[0], mask, request)
    return Uploads(images=images, mask=mask)


def _loader(request: EditRequest, parameter: str, limits: ReferenceLimits | None) -> UploadLoader:
    return UploadLoader(
        remote="link",
        limits=limits or ReferenceLimits(),
        max_encoded_bytes=None,
        fetch=None,
        allow_private=False,
        model=target_of(request),
        parameter=parameter,
    )


def _check_mask(image: Reference, mask: Reference, request: EditRequest) -> None:
    size, wanted = (mask.width, mask.height), (image.width, image.height)
    if None in (*size, *wanted) or size == wanted:
        return
    raise ParameterError(
        f"the mask is {size[0]}x{size[1]} pixels and the image {wanted[0]}x{wanted[1]}; they must be of the same "
        "size.",
        model=request.model,
        parameter="mask",
    )


def _form_file(name: str, image: Reference, number: int) -> FormFile[bytes | InputFile]:
    content = image.content if isinstance(image, Upload) else None
    if content is None:
        return FormFile(name=name, content=image.url.encode())
    media_type = image.media_type or "application/octet-stream"
    suffix = media_type.partition("/")[2].partition("+")[0]
    return FormFile(name=name, filename=f"{number}.{suffix}", media_type=media_type, content=content)


def _stamp(file: BinaryIO) -> _Stamp:
    status = os.fstat(file.fileno())
    return status.st_ino, status.st_size, status.st_mtime_ns
