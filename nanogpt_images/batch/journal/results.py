"""`results.jsonl`: a line per image, appended after each commit, rewritten from the journal where it lags behind."""

from __future__ import annotations

import json
import os
import sqlite3
from collections.abc import Iterable, Iterator
from pathlib import Path

from ..._base.logs import get_logger
from ...errors import JournalError, OutputError
from ...money.nano import to_usd
from ..units import MARKED_NAME
from .records import ImageRecord

FILE_NAME = "results.jsonl"
_WRITE_BYTES = 1 << 20
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
    """The line of *image* of a *row* in JSON; its index counts within that, its file is relative to the line's."""
    # Not through BatchRow: its checks, made when the row was admitted, would take most of the time.
    fields = json.loads(row)
    record = {
        "key": fields["key"],
        "index": first_index + image.index,
        "prompt": fields["prompt"],
        "model": fields["model"],
        "parameters": fields["parameters"],
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
        False where they could not be written: the journal holds them, and the file is mended from it later.
    """
    data = b"".join(lines)
    try:
        descriptor = os.open(directory / FILE_NAME, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
        try:
            return os.write(descriptor, data) == len(data)
        finally:
            os.close(descriptor)
    except OSError as error:
        _LOG.warning("%s could not be written (%s); it will be mended from the journal.", FILE_NAME, error)
        return False


def lists_images(directory: Path) -> bool:
    """Whether `results.jsonl` is there and says anything."""
    path = directory / FILE_NAME
    return path.is_file() and path.stat().st_size > 0


def holds_images(directory: Path) -> bool:
    """Whether `images` holds a file whose name ends in the mark of a request."""
    try:
        with os.scandir(directory / "images") as entries:
            return any(MARKED_NAME.fullmatch(entry.name) and entry.is_file() for entry in entries)
    except OSError:
        # It is not there, or the batch will say what is wrong with it before it sends anything.
        return False


def refuse(directory: Path, *, is_new: bool = True) -> None:
    """
    Make sure that no images of an earlier batch are in the way of a new journal.

    Args:
        directory: The batch's directory.
        is_new: The journal knows no request, so any image in the directory is of another one.

    Raises:
        JournalError: `results.jsonl` lists images that the journal would not know, or `images` holds some.
    """
    if lists_images(directory):
        raise JournalError(
            f"{directory} holds {FILE_NAME} and no journal of its images, so they would be paid for again. Nothing was"
            " sent. Choose another directory, or let a new journal take over what is there with --adopt (adopt=True)."
        )
    if is_new and holds_images(directory):
        raise JournalError(
            f"{directory / 'images'} holds images of a batch, and both its journal and {FILE_NAME} are gone or empty, so"
            f" they would be paid for again. Nothing was sent. Choose another directory, or put {FILE_NAME} back and"
            " pass --adopt (adopt=True); without that list the same option buys all rows again beside the images."
        )


def mend(connection: sqlite3.Connection, directory: Path) -> None:
    """
    Rewrite the file, whole or not at all, where its size is not what the journal recorded.

    The caller is the only process at work, inside a write transaction.

    Raises:
        OutputError: It cannot be written.
    """
    (expected,) = connection.execute("SELECT results_bytes FROM stored").fetchone()
    path = directory / FILE_NAME
    try:
        if (path.stat().st_size if path.exists() else 0) == expected:
            return
        partial = path.with_name(f".{FILE_NAME}.partial")
        with partial.open("wb", buffering=_WRITE_BYTES) as file:
            file.writelines(_lines(connection))
            size = file.tell()
            file.flush()
            os.fsync(file.fileno())
        partial.replace(path)
    except OSError as error:
        raise OutputError(
            f"{path} cannot be written ({error.strerror or error}). Free space or check its permissions;"
            " the journal holds what belongs in it, and the next run completes it."
        ) from error
    connection.execute("UPDATE stored SET results_bytes = ?", (size,))


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
