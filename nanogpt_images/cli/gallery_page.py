"""The gallery that a batch leaves behind: thumbnails while it runs, the page at its end, and how far that is."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Generator
from contextlib import AbstractAsyncContextManager, contextmanager
from pathlib import Path
from typing import Final

import anyio

from ..errors import NanoGPTError
from ..gallery import require_gallery, thumbnails_ahead, write_gallery
from ..gallery.ahead import SHARE
from .errors import message
from .job import Outcome
from .output import command_line, note
from .signals import Interrupts, interrupting

MOST_AT_END: Final = 10_000
"""Images up to which a batch makes its gallery by itself: some minutes of work for thumbnails."""

_EVERY_S: Final = 10.0


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
    by_hand = f"'{command_line('gallery', str(directory))}' makes it"
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


def ahead(directory: Path, *, wanted: bool) -> AbstractAsyncContextManager[None]:
    """Make thumbnails while a batch runs in *directory*, if a gallery is *wanted* at its end and can be made."""
    try:
        require_gallery()
    except NanoGPTError:
        wanted = False
    return thumbnails_ahead(directory, share=SHARE if wanted else 0)


@contextmanager
def gallery_progress(*, silent: bool) -> Generator[Callable[[int, int], None] | None]:
    """Show how far a gallery is: yield a callback that draws a bar on a terminal, or prints a line every ten seconds."""
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
