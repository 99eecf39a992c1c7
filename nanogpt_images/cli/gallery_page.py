"""The gallery that a batch leaves behind: thumbnails while it runs, the page at its end, and how far that is."""

from __future__ import annotations

import asyncio
import contextlib
import shlex
import sys
import time
from collections.abc import AsyncGenerator, Callable, Generator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Final

import anyio

from .._base.threads import in_thread
from ..batch.events import BatchEvent
from ..batch.outcomes import ImageRecord
from ..errors import NanoGPTError
from ..gallery import require_gallery, write_gallery
from .errors import message
from .job import Outcome
from .output import note
from .signals import Interrupts, interrupting

MOST_AT_END: Final = 10_000
"""Images up to which a batch makes its gallery by itself: some minutes of work for thumbnails."""

_EVERY_S: Final = 10.0
_MOST_WAITING: Final = 1_000


@asynccontextmanager
async def thumbnails_of(directory: Path, *, wanted: bool) -> AsyncGenerator[Callable[[BatchEvent], None]]:
    """
    Yield what takes the events of a batch and makes thumbnails of their images, one at a time in a thread.

    They are made while the network is waited for, so that the gallery at the end has less to do. What is not made when
    the block ends, or could not be, is left to the gallery.
    """
    waiting: asyncio.Queue[ImageRecord] = asyncio.Queue(_MOST_WAITING)

    def take(event: BatchEvent) -> None:
        for image in event.images:
            if image.path is None or image.sha256 is None or image.media_type is None:
                continue
            with contextlib.suppress(
                ValueError, asyncio.QueueFull
            ):  # an image elsewhere, or more than can wait
                waiting.put_nowait(
                    ImageRecord(
                        index=image.index,
                        file=image.path.relative_to(directory).as_posix(),
                        media_type=image.media_type,
                        width=image.width,
                        height=image.height,
                        bytes=image.size_bytes or 0,
                        sha256=image.sha256,
                    )
                )

    async def make() -> None:
        # A full disk, or a gallery that is not installed: the gallery says so at the end.
        with contextlib.suppress(OSError, NanoGPTError):
            require_gallery()
            while True:
                await in_thread(_make_thumbnail, directory, await waiting.get())

    if not wanted:
        yield lambda _: None
        return
    task = asyncio.create_task(make())
    try:
        yield take
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task


def _make_thumbnail(directory: Path, image: ImageRecord) -> None:
    from ..gallery.thumbnails import make_thumbnail

    make_thumbnail(directory, image)


async def gallery_at_end(directory: Path, outcome: Outcome, *, silent: bool) -> Path | None:
    """
    Make the gallery of a batch that has ended. A gallery that fails changes nothing about the batch.

    Args:
        directory: The batch's directory.
        outcome: The batch; after an interrupt nothing more is begun. One that ends the gallery is counted in it.
        silent: Without notes.

    Returns:
        The page; None where there is none.
    """
    if outcome.totals is None or outcome.interrupted:
        return None
    by_hand = f"'{shlex.join(['nanogpt-images', 'gallery', str(directory)])}' makes it"
    if outcome.totals.images > MOST_AT_END:
        _note(f"gallery: left out, there are more than {MOST_AT_END:,} images; {by_hand}", silent=silent)
        return None
    scope = anyio.CancelScope()
    try:
        with (
            scope,
            interrupting(Interrupts(scope.cancel, scope.cancel)),
            gallery_progress(silent=silent) as on_progress,
        ):
            return (await write_gallery(directory, on_progress=on_progress)).index
    except NanoGPTError as error:
        _note(f"gallery: left out: {message(error)}", silent=silent)
        return None
    outcome.interrupted += 1
    _note(f"gallery: left out; {by_hand}", silent=silent)
    return None


@contextmanager
def gallery_progress(*, silent: bool) -> Generator[Callable[[int, int], None] | None]:
    """Show how far a gallery is: yield what is told of it, a bar on a terminal, or a line every ten seconds."""
    if silent or not sys.stderr.isatty():
        yield progress_notes(silent=silent)
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

    columns = (TextColumn("gallery"), BarColumn(bar_width=20), MofNCompleteColumn(), TextColumn("images"))
    with Progress(*columns, console=Console(stderr=True, highlight=False), transient=True) as bar:
        task = bar.add_task("", total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total)


def progress_notes(
    *, silent: bool, clock: Callable[[], float] = time.monotonic
) -> Callable[[int, int], None] | None:
    """Return a callback that prints every ten seconds how far a gallery is; None for silence."""
    if silent:
        return None
    last = clock()

    def tell(done: int, total: int) -> None:
        nonlocal last
        if clock() - last >= _EVERY_S:
            last = clock()
            note(f"gallery: {done:,} of {total:,} images")

    return tell


def _note(text: str, *, silent: bool) -> None:
    if not silent:
        note(text)
