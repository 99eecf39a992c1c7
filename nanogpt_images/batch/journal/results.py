"""`results.jsonl`: a line per image, appended after each commit, rewritten from the journal where it lags behind."""

from __future__ import annotations

import contextlib
import json
import os
import re
import sqlite3
from collections.abc import Iterable, Iterator, Set
from functools import partial
from pathlib import Path
from typing import Final

from ..._base.disk import make_directory
from ..._base.durable import sync_directories, sync_files
from ..._base.logs import get_logger
from ...errors import JournalError, OutputError
from ...money.nano import to_usd
from ..outcomes import ImageRecord
from ..units import MARKED_NAME, Unit

FILE_NAME = "results.jsonl"
_WRITE_BYTES = 1 << 20
_FOLDER: Final = re.compile("[0-9a-f]{2}")
_LOG = get_logger(__name__)

_SELECT = """
    SELECT unit.row, unit.first_index, unit.request_id,
        image.idx, file, media_type, width, height, bytes, sha256, image.cost_nano, image.attempt
    FROM image JOIN unit ON unit.seq = image.unit ORDER BY image.rowid
"""


def line(
    row: str,
    first_index: int,
    request_id: str | None,
    image: ImageRecord,
    cost_nano: int,
    *,
    reused: bool = False,
) -> bytes:
    """Return the line of an *image* of a *row* (JSON): the index counts within the row, the file is relative to the list."""
    # Not through BatchRow: its checks, made when the row was admitted, would take most of the time.
    fields = json.loads(row)
    record = {
        "key": fields["key"],
        "index": first_index + image.index,
        "prompt": fields["prompt"],
        "model": fields["model"],
        "parameters": fields["parameters"],
        "row": fields.get("number"),
        "metadata": fields.get("metadata", {}),
        "file": image.file,
        "media_type": image.media_type,
        "width": image.width,
        "height": image.height,
        "bytes": image.bytes,
        "sha256": image.sha256,
        "cost_usd": to_usd(cost_nano),
        "request_id": request_id,
        **({"reused": True} if reused else {}),
    }
    return json.dumps(record, ensure_ascii=False, separators=(",", ":")).encode() + b"\n"


def append(directory: Path, lines: Iterable[bytes]) -> bool:
    """
    Add *lines* in one write, so that processes which share the file do not mix theirs.

    Returns:
        False where they could not be written: the journal holds them, and the file is rewritten from it later.
    """
    data = b"".join(lines)
    try:
        descriptor = os.open(directory / FILE_NAME, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
        try:
            return os.write(descriptor, data) == len(data)
        finally:
            os.close(descriptor)
    except OSError as error:
        _LOG.warning("%s could not be written (%s); it will be rewritten from the journal.", FILE_NAME, error)
        return False


def sync(directory: Path) -> None:
    """Put the list on the disk itself, as far as the disk takes it; the journal holds what it lists."""
    with contextlib.suppress(OSError):
        sync_files([directory / FILE_NAME])
        sync_directories([directory / FILE_NAME])


def lists_images(directory: Path) -> bool:
    """Return whether `results.jsonl` exists and is not empty."""
    path = directory / FILE_NAME
    return path.is_file() and path.stat().st_size > 0


def image_stems(directory: Path) -> frozenset[str]:
    """
    Return the stems of the files in `images` whose names look as a batch gives them.

    A user's own file can look the same, such as `x-20240101.png`: only a request of that very stem says whose it is.
    """
    stems: set[str] = set()
    try:
        for folder in image_folders(directory):
            with os.scandir(folder) as entries:
                found = [MARKED_NAME.fullmatch(entry.name) for entry in entries if entry.is_file()]
            stems.update(match["stem"] for match in found if match)
    except OSError:
        # It does not exist, or the batch will say what is wrong with it before it sends anything.
        return frozenset()
    return frozenset(stems)


def image_folders(directory: Path) -> list[Path]:
    """
    List the folders that hold images of a batch: `images`, and `images/00` to `images/ff` as far as they exist. Blocking.

    Raises:
        OSError: `images` does not exist or cannot be read.
    """
    images = directory / "images"
    with os.scandir(images) as entries:
        inner = [entry.name for entry in entries if _FOLDER.fullmatch(entry.name) and entry.is_dir()]
    return [images, *(images / name for name in sorted(inner))]


def divide_images(directory: Path) -> None:
    """
    Make the folders for the images of a large job. Blocking.

    Raises:
        OutputError: They cannot be made.
    """
    images = directory / "images"
    for number in range(256):
        make_directory(images / f"{number:02x}")
    # An image is synced with the folder that names it; the folders' own names are synced here, once.
    sync_directories([images / "00"])


def refuse(directory: Path) -> None:
    """
    Raise JournalError where `results.jsonl` lists images of an earlier batch, which a new journal would not know.
    """
    if lists_images(directory):
        raise JournalError(
            f"{directory} holds {FILE_NAME} and no journal of its images, so they would be paid for again.",
            advice="Choose another directory, or let a new journal take over what is there with --adopt (adopt=True).",
        )


def refuse_again(directory: Path, unit: Unit, stems: Set[str]) -> None:
    """
    Raise JournalError where an image of *unit*, which is new to the journal, is among the files of *stems*.

    The stem is made of the request's content, so a batch without a journal wrote that file, and was charged for it.
    """
    if any(unit.image_stem(index) in stems for index in range(unit.images)):
        raise JournalError(
            f"{directory / 'images'} holds images of this batch, and both its journal and {FILE_NAME} are gone or empty,"
            " so they would be paid for again.",
            says_charge=True,
            advice=f"Choose another directory, or put {FILE_NAME} back and pass --adopt (adopt=True); without that list"
            " the same option buys all rows again beside the images.",
        )


def rewrite(connection: sqlite3.Connection, directory: Path, *, after_crash: bool = False) -> None:
    """
    Rewrite the file, whole or not at all, where its size is not what the journal recorded.

    The caller is the only process at work, inside a write transaction.

    Args:
        connection: The journal's.
        directory: The batch's.
        after_crash: Also where the file has its size and not its bytes: a power cut can leave zeros in their place.

    Raises:
        OutputError: It cannot be written.
    """
    (expected,) = connection.execute("SELECT results_bytes FROM stored").fetchone()
    path = directory / FILE_NAME
    try:
        size = path.stat().st_size if path.exists() else 0
        if size == expected and not (after_crash and size and _holds_zeros(path)):
            return
        whole = path.with_name(f".{FILE_NAME}.partial")
        with whole.open("wb", buffering=_WRITE_BYTES) as file:
            file.writelines(_lines(connection))
            size = file.tell()
            file.flush()
            os.fsync(file.fileno())
        whole.replace(path)
    except OSError as error:
        raise OutputError(
            f"{path} cannot be written ({error.strerror or error}). Free space or check its permissions;"
            " the journal holds what belongs in it, and the next run completes it."
        ) from error
    connection.execute("UPDATE stored SET results_bytes = ?", (size,))


def _holds_zeros(path: Path) -> bool:
    """Return whether *path* holds a zero byte, which JSON never does."""
    with path.open("rb") as file:
        return any(b"\0" in piece for piece in iter(partial(file.read, _WRITE_BYTES), b""))


def _lines(connection: sqlite3.Connection) -> Iterator[bytes]:
    for record in connection.execute(_SELECT):
        row, first_index, request_id, index, file, media_type, width, height, size, sha256, cost, attempt = (
            record
        )
        image = ImageRecord(
            index=index,
            file=file,
            media_type=media_type,
            width=width,
            height=height,
            bytes=size,
            sha256=sha256,
        )
        yield line(row, first_index, request_id, image, cost, reused=attempt == 0)
