"""The interface of a store for the images of an answer, and a store in memory."""

from __future__ import annotations

from collections.abc import Sequence
from io import BytesIO
from typing import Protocol

from .._base.sink import Sink
from .._base.sniff import HEAD_BYTES, sniff
from .._base.threads import in_thread
from ..types.result import ReceivedImage


class ImageStore(Protocol):
    """
    Stores the images of one answer.

    Attributes:
        kept: The images that `finish` kept, for a caller that was cancelled before `finish` returned.
        links: Index and signed URL of images that came before the caller was cancelled.
    """

    kept: Sequence[ReceivedImage]
    links: Sequence[tuple[int, str]]

    def open(self, index: int, request_id: str | None = None) -> Sink:
        """Begin image *index* of the answer to *request_id*; restart it if it was begun before."""
        ...

    def made_from(self, digests: Sequence[str]) -> None:
        """Take note of the SHA-256 of each input image, before the first image is opened."""
        ...

    def is_slow(self, indices: Sequence[int]) -> bool:
        """Return whether `finish` of these complete images would stall an event loop."""
        ...

    def finish(self, indices: Sequence[int]) -> tuple[ReceivedImage, ...]:
        """Keep the complete images *indices*, in that order; discard all others."""
        ...

    def discard(self) -> None:
        """Discard all images and remove their files. Harmless after `finish`."""
        ...


class MemoryStore:
    """Keeps images as bytes, each in one buffer that is returned without a copy."""

    def __init__(self) -> None:
        self.kept: Sequence[ReceivedImage] = ()
        self.links: Sequence[tuple[int, str]] = ()
        self._buffers: dict[int, BytesIO] = {}

    def open(self, index: int, request_id: str | None = None) -> Sink:
        """Begin image *index* in an empty buffer."""
        del request_id
        self._buffers[index] = buffer = BytesIO()
        return buffer

    def made_from(self, digests: Sequence[str]) -> None:
        """See `ImageStore`."""

    def is_slow(self, indices: Sequence[int]) -> bool:
        """Return False: nothing is written."""
        del indices
        return False

    def finish(self, indices: Sequence[int]) -> tuple[ReceivedImage, ...]:
        """Return the images *indices* and discard all others."""
        stored: list[ReceivedImage] = []
        for index in indices:
            data = self._buffers.pop(index).getvalue()
            info = sniff(data[:HEAD_BYTES])
            stored.append(ReceivedImage(index=index, info=info, size_bytes=len(data), data=data))
        self.discard()
        self.kept = tuple(stored)
        return self.kept

    def discard(self) -> None:
        """Discard all images."""
        self._buffers.clear()


async def finished(store: ImageStore, indices: Sequence[int]) -> tuple[ReceivedImage, ...]:
    """Call `store.finish`, in a thread if it would stall the event loop."""
    if store.is_slow(indices):
        return await in_thread(store.finish, indices)
    return store.finish(indices)
