"""Store images as files of a directory, each through a temporary file."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

import attrs

from .._base.disk import publish
from .._base.part_file import PartFile, write_image
from .._base.sink import Sink
from ..errors import OutputError
from ..provenance.embedding import Embedding
from ..provenance.record import Provenance
from ..provenance.steps import Edit
from ..types.result import ReceivedImage

NO_PROVENANCE: Final = " has no provenance in it: "


class DirectoryStore:
    """
    Writes images to files of one directory.

    Bytes go to hidden temporary files there; a file appears under its name only when it is complete, and
    an existing file is replaced only with *overwrite*. Writes go to the page cache and are short, so
    they run on the event loop: handing each slice to a thread costs more than the write (benchmarks/README.md).

    Args:
        directory: Where to write; created on first use.
        stem: (index of the image, number of images) → file name without suffix.
        overwrite: Replace a file of the same name; otherwise the new name gets a number.
        digest: Also compute SHA-256 of each image.
        provenance: Record to write into each image, with the ID of its request.
    """

    def __init__(
        self,
        directory: Path,
        stem: Callable[[int, int], str],
        *,
        overwrite: bool = False,
        digest: bool = False,
        provenance: Provenance | None = None,
    ) -> None:
        self.kept: Sequence[ReceivedImage] = ()
        self.links: Sequence[tuple[int, str]] = ()
        self._directory = directory
        self._stem = stem
        self._overwrite = overwrite
        self._digest = digest
        self._provenance = provenance
        self._parts: dict[int, PartFile] = {}
        self._embeddings: dict[int, Embedding] = {}

    def open(self, index: int, request_id: str | None = None) -> Sink:
        """Begin image *index* in a temporary file; if the disk fails, keep the paid image in memory."""
        if (old := self._parts.pop(index, None)) is not None:
            old.remove()
        # An answer has one image after the other, so one descriptor per request is enough for all its files.
        for other in self._parts.keys() - self._embeddings.keys():
            self._parts[other].rest()
        self._parts[index] = part = PartFile(self._directory, digest=self._digest, rescue=True)
        if self._provenance is None:
            return part
        record = attrs.evolve(self._provenance, request_id=request_id)
        self._embeddings[index] = embedding = Embedding(part, record)
        return embedding

    def made_from(self, digests: Sequence[str]) -> None:
        """See `ImageStore`."""
        if self._provenance is not None:
            self._provenance = attrs.evolve(self._provenance, parents=digests)

    def is_slow(self, indices: Sequence[int]) -> bool:
        """Return whether some image has to be copied, because it turned out to be unfit for a record."""
        embeddings = [self._embeddings[index] for index in indices if index in self._embeddings]
        for embedding in embeddings:
            embedding.close()
        return any(embedding.undo is not None for embedding in embeddings)

    def finish(self, indices: Sequence[int]) -> tuple[ReceivedImage, ...]:
        """
        Give the images *indices* their names and remove all other files.

        Raises:
            OutputError: Some image could not be written; `kept` has the `ReceivedImage` of each, in memory if
                the disk failed. A file that could not be renamed stays as a `.part` file, which the text names.
        """
        stored: list[ReceivedImage] = []
        failure: OutputError | None = None
        for index in indices:
            problem = self._settle(index)
            part = self._parts.pop(index)
            info = part.close()
            path, data = None, part.rescued
            target = self._directory / f"{self._stem(index, len(indices))}{info.suffix}"
            if data is None:
                left = f" The complete image is in {part.path.name} beside it."
                try:
                    path = publish(part.path, target, overwrite=self._overwrite, left=left)
                except OutputError as error:
                    failure = failure or error
                    path = part.path
                    if not os.path.lexists(path):
                        continue  # another process removed the file
            else:
                try:
                    # Try again: descriptors or space may be available now.
                    path, data = write_image(data, target, overwrite=self._overwrite), None
                except OutputError:
                    failure = failure or part.failure
            stored.append(
                ReceivedImage(
                    index=index,
                    info=info,
                    size_bytes=part.size_bytes,
                    data=data,
                    path=path,
                    sha256=part.sha256(),
                    problem=problem,
                )
            )
        self.discard()
        self.kept = tuple(stored)
        if failure is not None:
            raise failure
        return self.kept

    def _settle(self, index: int) -> str | None:
        """Complete the file of image *index*; return why it has no record, None if it has one or needs none."""
        embedding = self._embeddings.pop(index, None)
        if embedding is None:
            return None
        embedding.close()
        if embedding.problem is None:
            return None
        undone = embedding.undo is None or self._undo(index, embedding.undo)
        state = (
            "it is unchanged"
            if undone
            else "it keeps the text that was added, as there is no space for a copy"
        )
        return f"image {index}{NO_PROVENANCE}{embedding.problem}; {state}"

    def _undo(self, index: int, edit: Edit) -> bool:
        edited = self._parts[index]
        try:
            # An image that is in memory, because the disk failed, is copied in memory.
            part = PartFile(self._directory, digest=self._digest, rescue=edited.rescued is not None)
        except OutputError:
            return False
        try:
            part.write(edit.head)
            for piece in edited.pieces(edit.taken):
                part.write(piece)
        except OutputError:
            # The disk is full: an image with a superfluous text is better than losing a paid image.
            part.remove()
            return False
        self._parts[index] = part
        edited.remove()
        return True

    def discard(self) -> None:
        """Remove all temporary files."""
        self._embeddings.clear()
        while self._parts:
            self._parts.popitem()[1].remove()
