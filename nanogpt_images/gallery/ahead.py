"""Make thumbnails while a batch runs, so that its gallery is there soon after its last image."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import time
from collections.abc import AsyncGenerator, Awaitable, Callable
from pathlib import Path
from typing import Final

import anyio

from .._base.threads import in_thread
from ..batch.journal import ImageRecord
from ..batch.journal.results import FILE_NAME

SHARE: Final = 0.75
"""Most of one core that the thumbnails take beside a batch: some 20 to 40 images of a megapixel per second."""

_POLL_S: Final = 1.0
_MOST_BYTES: Final = 1 << 18
_TURN_S: Final = 0.05


@contextlib.asynccontextmanager
async def thumbnails_ahead(
    directory: str | os.PathLike[str],
    *,
    share: float = SHARE,
    sleep: Callable[[float], Awaitable[object]] = anyio.sleep,
) -> AsyncGenerator[None]:
    """
    Make the thumbnails of the batch in *directory* as its images come, until the block is left.

    One thread makes them, one after another, and rests in between. What it has not made by then, `write_gallery`
    makes. Nothing that goes wrong here disturbs the batch.

    Args:
        directory: The batch's directory; it need not be there yet.
        share: Most of one core that may be used, from 0 (nothing is made) to 1.
        sleep: Waits so many seconds.

    Source: docs/gallery.md, "Large jobs".
    """
    if share <= 0:
        yield
        return
    # Not in a task group: that would wrap the batch's own error.
    task = asyncio.create_task(_follow(Path(directory), share, sleep))
    try:
        yield
    finally:
        task.cancel()
        await asyncio.wait([task])
        if not task.cancelled():
            task.exception()  # looked at, so that it is not reported: the gallery says what is wrong


async def _follow(directory: Path, share: float, sleep: Callable[[float], Awaitable[object]]) -> None:
    # The list of results, not the journal: a reader that is there when the batch ends would leave its log behind.
    offset = 0
    while True:
        await sleep(_POLL_S)
        images, offset = await in_thread(_read, directory / FILE_NAME, offset)
        while images:
            cpu_s, elapsed_s = await in_thread(_make, directory, images)
            await sleep(max(0.0, cpu_s / share - elapsed_s))
            if not images:
                images, offset = await in_thread(_read, directory / FILE_NAME, offset)


def _read(file: Path, offset: int) -> tuple[list[ImageRecord], int]:
    """Read the images of the whole lines behind *offset*, the first one last; and where to go on."""
    try:
        with file.open("rb") as lines:
            if lines.seek(0, os.SEEK_END) < offset:
                offset = 0  # A resumed batch wrote the list again.
            lines.seek(offset)
            whole = lines.read(_MOST_BYTES).rpartition(b"\n")[0]
    except OSError:
        return [], offset
    found: list[ImageRecord] = []
    for line in whole.splitlines():
        with contextlib.suppress(ValueError, KeyError, TypeError):
            fields = json.loads(line)
            found.append(ImageRecord(**{name: fields[name] for name in _FIELDS}))
    return found[::-1], offset + len(whole) + bool(whole)


_FIELDS: Final = ("index", "file", "media_type", "bytes", "sha256", "width", "height")


def _make(directory: Path, images: list[ImageRecord]) -> tuple[float, float]:
    """Make thumbnails for a short time, and take their images off the list; return processor time and time (seconds)."""
    from .thumbnails import make_thumbnail

    started, began = time.perf_counter(), time.thread_time()
    while images and time.perf_counter() - started < _TURN_S:
        # A full disk, or a line of another hand: the gallery says what is wrong.
        with contextlib.suppress(Exception):
            make_thumbnail(directory, images.pop())
    return time.thread_time() - began, time.perf_counter() - started
