"""The rows of a batch that failed, as a manifest: to be corrected, and run again on their own."""

from __future__ import annotations

import itertools
import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import anyio

from .._base.threads import in_thread
from ..batch.journal import Ending, Journal
from .report import ExportReport
from .target import Target, failing_as

NAME: Final = "failed.jsonl"
_CHUNK: Final = 1_000
_JSON: Final = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"))


async def export_failed(
    directory: str | os.PathLike[str], *, path: str | os.PathLike[str] | None = None, overwrite: bool = False
) -> ExportReport:
    """
    Write the failed rows of a batch as a manifest (JSON lines), for `batch` with another directory.

    A line holds the row as it was, metadata included, with a `count` of only those images whose requests failed, and why the
    first of these did as `error`. Requests whose outcome is unknown are not in it: they may have been charged. Nothing is
    sent.

    Args:
        directory: The batch's directory.
        path: Where to write; by default `failed.jsonl` in *directory*.
        overwrite: Replace an existing file.

    Returns:
        The file; its `images` is the number of rows.

    Raises:
        JournalError: *directory* is not a batch directory, or its journal cannot be read.
        OutputError: *path* exists or cannot be written.

    Source: docs/export.md, "Failed rows".
    """
    source = Path(directory)
    rows = 0
    async with await Journal.open(source, service=None, read_only=True) as journal:
        target = await in_thread(lambda: Target(Path(path or source / NAME), overwrite=overwrite))
        try:
            with failing_as(target.path):
                waiting: list[Ending] = []
                async for ending in journal.failures():
                    # The requests of a row came into the journal one after the other.
                    if len(waiting) >= _CHUNK and _row_of(waiting[-1]) != _row_of(ending):
                        rows += await in_thread(_append, target.part, waiting)
                        waiting = []
                    waiting.append(ending)
                rows += await in_thread(_append, target.part, waiting)
                await in_thread(target.publish)
        except BaseException:
            with anyio.CancelScope(shield=True):
                await in_thread(target.abandon)
            raise
    size_bytes = await in_thread(lambda: target.size_bytes)
    return ExportReport(path=target.path, images=rows, missing=0, size_bytes=size_bytes)


def _row_of(ending: Ending) -> tuple[str, int]:
    return ending.unit.row.digest, ending.unit.replica


def _append(path: Path, endings: Sequence[Ending]) -> int:
    """Append a line for each row of *endings*, and return how many these are."""
    groups = [list(group) for _, group in itertools.groupby(endings, key=_row_of)]
    with path.open("ab") as file:
        file.writelines(_line(group) for group in groups)
    return len(groups)


def _line(endings: Sequence[Ending]) -> bytes:
    row = endings[0].unit.row
    fields = {
        "key": row.key,
        "prompt": row.prompt,
        "model": row.model,
        "count": sum(ending.unit.images for ending in endings),
        "route": row.route if row.route != "images" else None,
        "parameters": row.parameters or None,
        "error": endings[0].error_text,
        **row.metadata,
    }
    return _JSON.encode({name: value for name, value in fields.items() if value is not None}).encode() + b"\n"
