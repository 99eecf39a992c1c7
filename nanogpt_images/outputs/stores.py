"""What takes the images of an answer, and the one that keeps them in memory."""

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
    Takes the images of one answer.

    Attributes:
        kept: What `finish` has kept, for whoever was cancelled before it could be told.
    """

    kept: Sequence[ReceivedImage]

    def open(self, index: int, request_id: str | None = None) -> Sink:
        """Begin image *index* of the answer to *request_id*, anew if it was begun before."""
        ...

    def made_from(self, digests: Sequence[str]) -> None:
        """Take note of the SHA-256 of each input image, before the first image is opened."""
        ...

    def is_slow(self, indices: Sequence[int]) -> bool:
        """Whether `finish` of these images, which are complete, would stall an event loop."""
        ...

    def finish(self, indices: Sequence[int]) -> tuple[ReceivedImage, ...]:
        """Keep the images *indices*, which are complete, in that order; discard all others."""
        ...

    def discard(self) -> None:
        """Forget everything and leave no file behind. Harmless after `finish`."""
        ...


class MemoryStore:
    """Keeps images as bytes. The buffer that grows is the one handed out: no image exists twice."""

    def __init__(self) -> None:
        self.kept: Sequence[ReceivedImage] = ()
        self._buffers: dict[int, BytesIO] = {}

    def open(self, index: int, request_id: str | None = None) -> Sink:
        """See `ImageStore`."""
        del request_id
        self._buffers[index] = buffer = BytesIO()
        return buffer

    def made_from(self, digests: Sequence[str]) -> None:
        """See `ImageStore`."""

    def is_slow(self, indices: Sequence[int]) -> bool:
        """See `ImageStore`."""
        del indices
        return False

    def finish(self, indices: Sequence[int]) -> tuple[ReceivedImage, ...]:
        """See `ImageStore`."""
        stored: list[ReceivedImage] = []
        for index in indices:
            data = self._buffers.pop(index).getvalue()
            info = sniff(data[:HEAD_BYTES])
            stored.append(ReceivedImage(index=index, info=info, size_bytes=len(data), data=data))
        self.discard()
        self.kept = tuple(stored)
        return self.kept

    def discard(self) -> None:
        """See `ImageStore`."""
        self._buffers.clear()


async def finished(store: ImageStore, indices: Sequence[int]) -> tuple[ReceivedImage, ...]:
    """`store.finish`, in a thread where it would stall the event loop."""
    if store.is_slow(indices):
        return await in_thread(store.finish, indices)
    return store.finish(indices)
