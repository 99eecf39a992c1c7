"""Images as files of a directory, each through a temporary file to a name that tells the truth."""

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

    Bytes go to hidden temporary files there; a file appears under its name only when it is whole, and
    an existing file is replaced only with *overwrite*. Writes go to the page cache and are short, so
    they are done in place: handing each slice to a thread costs more than the write (benchmarks/README.md).

    Args:
        directory: Where to write; made on first use.
        stem: (index of the image, number of images) → file name without suffix.
        overwrite: Replace a file of the same name; otherwise a number is added to the new one's.
        digest: Also compute SHA-256 while the bytes pass.
        provenance: Written into each image, with the ID of its request.
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
        self._directory = directory
        self._stem = stem
        self._overwrite = overwrite
        self._digest = digest
        self._provenance = provenance
        self._parts: dict[int, PartFile] = {}
        self._embeddings: dict[int, Embedding] = {}

    def open(self, index: int, request_id: str | None = None) -> Sink:
        """See `ImageStore`. Where the disk fails, the image goes on in memory: it is paid for."""
        if (old := self._parts.pop(index, None)) is not None:
            old.remove()
        # An answer brings one image after the other, so a request needs one descriptor for all of its files.
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
        """See `ImageStore`. An image that turned out to be unfit for a record is copied without it."""
        embeddings = [self._embeddings[index] for index in indices if index in self._embeddings]
        for embedding in embeddings:
            embedding.close()
        return any(embedding.undo is not None for embedding in embeddings)

    def finish(self, indices: Sequence[int]) -> tuple[ReceivedImage, ...]:
        """
        See `ImageStore`.

        Raises:
            OutputError: Some image is not in its file; `partial` has the `ReceivedImage` of each, in memory where
                the disk took none. What could not be given its name stays as a `.part` file, named in the text.
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
                left = f" The image is whole in {part.path.name} beside it."
                try:
                    path = publish(part.path, target, overwrite=self._overwrite, left=left)
                except OutputError as error:
                    failure = failure or error
                    path = part.path
                    if not os.path.lexists(path):
                        continue  # somebody took the file away, and with it the image
            else:
                try:
                    # Perhaps there is a descriptor, or room, by now.
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
            failure.partial = self.kept
            raise failure
        return self.kept

    def _settle(self, index: int) -> str | None:
        """Complete the file of image *index*, and say why it has no record although it was to have one."""
        embedding = self._embeddings.pop(index, None)
        if embedding is None:
            return None
        embedding.close()
        if embedding.problem is None:
            return None
        undone = embedding.undo is None or self._undo(index, embedding.undo)
        state = "it is as it came" if undone else "a text stays in it, as there is no room for a copy without"
        return f"image {index}{NO_PROVENANCE}{embedding.problem}; {state}"

    def _undo(self, index: int, edit: Edit) -> bool:
        edited = self._parts[index]
        try:
            # What is in memory because the disk failed is copied there.
            part = PartFile(self._directory, digest=self._digest, rescue=edited.rescued is not None)
        except OutputError:
            return False
        try:
            part.write(edit.head)
            for piece in edited.pieces(edit.taken):
                part.write(piece)
        except OutputError:
            # Better an image with a superfluous text than none: the disk is full, and it was paid for.
            part.remove()
            return False
        self._parts[index] = part
        edited.remove()
        return True

    def discard(self) -> None:
        """See `ImageStore`."""
        self._embeddings.clear()
        while self._parts:
            self._parts.popitem()[1].remove()
