"""Where the bytes of images go: into memory, or through a temporary file to a name that tells the truth."""

from __future__ import annotations

import hashlib
import itertools
import os
import secrets
from collections.abc import Callable, Iterator, Sequence
from io import BytesIO
from pathlib import Path
from typing import Final, Protocol

import anyio.to_thread
import attrs

from ._b64stream import Sink
from ._names import image_stem
from ._provenance.embedding import Embedding
from ._provenance.record import Provenance
from ._provenance.steps import Edit
from ._sniff import HEAD_BYTES, ImageInfo, sniff
from .errors import OutputError

PART_SUFFIX: Final = ".part"
_IMAGE_SUFFIXES: Final = (".png", ".jpg", ".jpeg", ".webp", ".gif", ".avif", ".bmp", ".svg", ".bin")
NO_PROVENANCE: Final = " has no provenance in it: "
_PIECE_BYTES: Final = 2**20
_MOST_GUARDED: Final = 16  # images of one request whose names are looked up beforehand
_SAME_TYPE: Final = {".jpeg": ".jpg"}


@attrs.frozen(kw_only=True)
class StoredImage:
    """An image that arrived whole. Either `data` or `path` is set; `problem` says what could not be done for it."""

    index: int
    info: ImageInfo
    size_bytes: int
    data: bytes | None = attrs.field(default=None, repr=False)
    path: Path | None = None
    sha256: str | None = None
    problem: str | None = None


class ImageStore(Protocol):
    """Takes the images of one answer."""

    def open(self, index: int, request_id: str | None = None) -> Sink:
        """Begin image *index* of the answer to *request_id*, anew if it was begun before."""
        ...

    def is_slow(self, indices: Sequence[int]) -> bool:
        """Whether `finish` of these images, which are complete, would stall an event loop."""
        ...

    def finish(self, indices: Sequence[int]) -> tuple[StoredImage, ...]:
        """Keep the images *indices*, which are complete, in that order; discard all others."""
        ...

    def discard(self) -> None:
        """Forget everything and leave no file behind. Harmless after `finish`."""
        ...


class MemoryStore:
    """Keeps images as bytes. The buffer that grows is the one handed out: no image exists twice."""

    def __init__(self) -> None:
        self._buffers: dict[int, BytesIO] = {}

    def open(self, index: int, request_id: str | None = None) -> Sink:
        """See `ImageStore`."""
        del request_id
        self._buffers[index] = buffer = BytesIO()
        return buffer

    def is_slow(self, indices: Sequence[int]) -> bool:
        """See `ImageStore`."""
        del indices
        return False

    def finish(self, indices: Sequence[int]) -> tuple[StoredImage, ...]:
        """See `ImageStore`."""
        stored: list[StoredImage] = []
        for index in indices:
            data = self._buffers.pop(index).getvalue()
            info = sniff(data[:HEAD_BYTES])
            stored.append(StoredImage(index=index, info=info, size_bytes=len(data), data=data))
        self.discard()
        return tuple(stored)

    def discard(self) -> None:
        """See `ImageStore`."""
        self._buffers.clear()


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
        self._directory = directory
        self._stem = stem
        self._overwrite = overwrite
        self._digest = digest
        self._provenance = provenance
        self._parts: dict[int, _PartFile] = {}
        self._embeddings: dict[int, Embedding] = {}

    def open(self, index: int, request_id: str | None = None) -> Sink:
        """See `ImageStore`. Where the disk fails, the image goes on in memory: it is paid for."""
        if (old := self._parts.pop(index, None)) is not None:
            old.remove()
        self._parts[index] = part = _PartFile(self._directory, digest=self._digest, rescue=True)
        if self._provenance is None:
            return part
        record = attrs.evolve(self._provenance, request_id=request_id)
        self._embeddings[index] = embedding = Embedding(part, record)
        return embedding

    def is_slow(self, indices: Sequence[int]) -> bool:
        """See `ImageStore`. An image that turned out to be unfit for a record is copied without it."""
        embeddings = [self._embeddings[index] for index in indices if index in self._embeddings]
        for embedding in embeddings:
            embedding.close()
        return any(embedding.undo is not None for embedding in embeddings)

    def finish(self, indices: Sequence[int]) -> tuple[StoredImage, ...]:
        """
        See `ImageStore`.

        Raises:
            OutputError: Some image is not in its file; `partial` has the `StoredImage` of each, in memory where
                the disk took none. What could not be given its name stays as a `.part` file, named in the text.
        """
        stored: list[StoredImage] = []
        failure: OutputError | None = None
        for index in indices:
            problem = self._settle(index)
            part = self._parts.pop(index)
            info = part.close()
            path, data = None, part.rescued
            if data is None:
                target = self._directory / f"{self._stem(index, len(indices))}{info.suffix}"
                left = f" The image is whole in {part.path.name} beside it."
                try:
                    path = _publish(part.path, target, overwrite=self._overwrite, left=left)
                except OutputError as error:
                    failure = failure or error
                    path = part.path
            else:
                failure = failure or part.failure
            stored.append(
                StoredImage(
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
        if failure is not None:
            failure.partial = tuple(stored)
            raise failure
        return tuple(stored)

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
            part = _PartFile(self._directory, digest=self._digest, rescue=edited.rescued is not None)
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


class _PartFile:
    """
    A temporary file that is being written, and the head of its bytes for sniffing.

    With *rescue* a disk that fails raises nothing: the bytes go on in memory, and `failure` tells why.

    Raises:
        OutputError: It cannot be made, also in `write`.
    """

    __slots__ = ("_fd", "_hash", "_head", "_memory", "_rescue", "failure", "path", "size_bytes")

    def __init__(self, directory: Path, *, digest: bool, rescue: bool = False) -> None:
        self.path = directory / f".{secrets.token_hex(8)}{PART_SUFFIX}"
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
            raise _cannot_write(self.path.parent, error) from error

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
                self._fail(_cannot_write(self.path.parent, error))
        if self._memory is not None:
            self._memory.write(view)
        self.size_bytes += len(data)
        if self._hash is not None:
            self._hash.update(data)

    def _fail(self, failure: OutputError) -> None:
        """Go on in memory with what is in the file, or raise."""
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

    def close(self) -> ImageInfo:
        info = sniff(self._head)
        if info.width is None and len(self._head) < min(self.size_bytes, HEAD_BYTES):
            # The size can stand behind a large profile or thumbnail.
            info = sniff(self._begin())
        self._release()
        return info

    def pieces(self, start: int) -> Iterator[bytes]:
        """The bytes from *start* on."""
        if self._memory is not None:
            yield self._memory.getvalue()[start:]
            return
        os.lseek(self._fd, start, os.SEEK_SET)
        while piece := os.read(self._fd, _PIECE_BYTES):
            yield piece

    def _begin(self) -> bytes:
        if self._memory is not None:
            return self._memory.getvalue()[:HEAD_BYTES]
        os.lseek(self._fd, 0, os.SEEK_SET)
        return os.read(self._fd, HEAD_BYTES)

    def sha256(self) -> str | None:
        return None if self._hash is None else self._hash.hexdigest()

    def remove(self) -> None:
        self._release()
        self.path.unlink(missing_ok=True)

    def _release(self) -> None:
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1


async def finished(store: ImageStore, indices: Sequence[int]) -> tuple[StoredImage, ...]:
    """`store.finish`, in a thread where it would stall the event loop."""
    if store.is_slow(indices):
        return await anyio.to_thread.run_sync(store.finish, indices)
    return store.finish(indices)


def write_image(data: bytes, target: Path, *, overwrite: bool = True) -> Path:
    """
    Write *data* to *target*, atomically, with the suffix that its bytes call for.

    A suffix of *target* that is an image's and agrees is kept; one that disagrees is replaced. Blocking.

    Raises:
        OutputError: The file cannot be written.
    """
    suffix = sniff(data[:HEAD_BYTES]).suffix
    given = target.suffix.lower()
    if given not in _IMAGE_SUFFIXES:
        target = target.with_name(target.name + suffix)
    elif _SAME_TYPE.get(given, given) != suffix:
        target = target.with_suffix(suffix)
    make_directory(target.parent)
    part = _PartFile(target.parent, digest=False)
    try:
        part.write(data)
        part.close()
        return _publish(part.path, target, overwrite=overwrite)
    finally:
        part.remove()


def existing_images(directory: Path, name: str, count: int = 1) -> list[Path]:
    """Files that *count* images under *name* could run into: `fox.png`, `fox-0.jpg` and so on."""
    # Each is asked for by its name, in 20 µs. To list a directory takes the longer the fuller it is, and in a thread
    # the interpreter changes threads at each entry (benchmarks/README.md).
    numbers = range(max(1, min(count, _MOST_GUARDED)))
    stems = [name, *(image_stem(name, number, 2) for number in numbers)]
    paths = [os.path.join(directory, f"{stem}{suffix}") for stem in stems for suffix in _IMAGE_SUFFIXES]
    return [Path(path) for path in paths if os.path.lexists(path)]


def make_directory(directory: Path) -> None:
    """
    Make *directory* and its parents.

    Raises:
        OutputError: It cannot be made, is something else, or takes no files.
    """
    try:
        directory.mkdir(parents=True, exist_ok=True)
    except (OSError, ValueError) as error:  # a path with a null character is a ValueError
        raise _cannot_write(directory, error) from error
    if not os.access(directory, os.W_OK | os.X_OK):
        raise OutputError(f"cannot write to {directory}: no permission, or read-only.")


def _publish(part: Path, target: Path, *, overwrite: bool, left: str = "") -> Path:
    """Give a whole file its name; never over another one unless asked."""
    try:
        if overwrite:
            os.replace(part, target)
            return target
        for number in itertools.count(1):
            free = target if number == 1 else target.with_stem(f"{target.stem}_{number}")
            if _claim(part, free):
                return free
    except (OSError, ValueError) as error:
        raise OutputError(f"cannot name {target}: {_reason(error)}.{left}") from error
    raise AssertionError("unreachable: itertools.count does not end")


def _claim(part: Path, target: Path) -> bool:
    try:
        os.link(part, target)
    except FileExistsError:
        return False
    except OSError:
        # No hard links on this file system: take the name first, then put the file there.
        try:
            os.close(os.open(target, os.O_CREAT | os.O_EXCL | os.O_WRONLY))
        except FileExistsError:
            return False
        os.replace(part, target)
        return True
    os.unlink(part)
    return True


def _cannot_write(directory: Path, error: Exception) -> OutputError:
    return OutputError(f"cannot write to {directory}: {_reason(error)}.")


def _reason(error: Exception) -> str:
    return (error.strerror if isinstance(error, OSError) else None) or str(error)
