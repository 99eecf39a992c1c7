"""Write a gallery: journal → thumbnails and pages."""

from __future__ import annotations

import importlib.util
import os
from collections.abc import AsyncIterator, Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Final, TypeVar

import anyio
import attrs

from .._base.display import install_hint
from .._base.threads import in_thread
from ..batch.journal import Journal, UnitRecord
from ..errors import ConfigurationError, OutputError

if TYPE_CHECKING:
    from .spool import Spool

MAX_CARDS: Final = 20_000
"""Maximum number of cards on a page; further cards go on further pages."""
MAX_PAGE_BYTES: Final = 48 << 20

_CHUNK: Final = 256
_AT_ONCE: Final = 16
"""Requests that one call of a thread makes ready: where the thumbnails are there, the calls would take most of the time."""
_MAX_WORKERS: Final = 4
_ItemT = TypeVar("_ItemT")


@attrs.frozen(kw_only=True)
class Gallery:
    """
    The result of `write_gallery`.

    Attributes:
        index: The page to open first.
        pages: All pages, `index` among them.
        images: Number of images.
        not_shown: Images with a placeholder, because their file is too large, broken or missing.
        thumbnails_made: Number of new thumbnails.
    """

    index: Path
    pages: tuple[Path, ...]
    images: int
    not_shown: int
    thumbnails_made: int


async def write_gallery(
    directory: str | os.PathLike[str],
    *,
    max_cards: int = MAX_CARDS,
    on_progress: Callable[[int, int], None] | None = None,
) -> Gallery:
    """
    Write `index.html` beside the images of a batch, and the thumbnails that are missing.

    The page needs no network and no server. The journal is only read, so the batch may be running; the same
    journal gives the same bytes. Pages are replaced atomically. A cancelled call keeps the thumbnails made so far.

    Args:
        directory: The batch's directory.
        max_cards: Maximum number of images and failures on one page; further pages are `gallery-2.html` and so on.
        on_progress: Called with the number of processed images and the number of all images.

    Raises:
        ConfigurationError: The extra `gallery` is not installed.
        JournalError: The directory has no journal, or the journal cannot be read.
        OutputError: A file cannot be written, or there is an `index.html` that is not a gallery.
    """
    require_gallery()
    from .publish import Summary, check_free, publish
    from .spool import Spool

    folder = Path(directory)
    try:
        async with await Journal.open(folder, service=None, read_only=True) as journal:
            await in_thread(check_free, folder)
            totals, spending = await journal.totals(), await journal.spending()
            summary = Summary(
                service=await journal.service(),
                totals=totals,
                models=await journal.by_model(),
                first_at=spending.first_at,
                last_at=spending.last_at,
            )
            counts = _Counts(totals.images, on_progress)
            with Spool(folder, max_cards=max_cards, max_bytes=MAX_PAGE_BYTES) as spool:
                await _fill(spool, folder, journal, counts)
                pages = await in_thread(publish, folder, spool, summary)
    except OSError as error:
        raise OutputError(
            f"cannot write the gallery in {folder}: {error.strerror or error}. Free space or check the directory's "
            "permissions, then run it again: existing thumbnails are kept."
        ) from error
    return Gallery(
        index=pages[0],
        pages=tuple(pages),
        images=counts.images,
        not_shown=counts.not_shown,
        thumbnails_made=counts.made,
    )


def require_gallery() -> None:
    """Raise ConfigurationError if the extra `gallery` is not installed."""
    if any(importlib.util.find_spec(name) is None for name in ("jinja2", "PIL")):
        raise ConfigurationError(f"the gallery needs Jinja2 and Pillow: {install_hint('gallery')}.")


class _Counts:
    def __init__(self, total: int, on_progress: Callable[[int, int], None] | None) -> None:
        self.images = self.not_shown = self.made = 0
        self._total = total
        self._on_progress = on_progress

    def add(self, lines: Sequence[_Line]) -> None:
        self.images += sum(line.images for line in lines)
        self.not_shown += sum(line.not_shown for line in lines)
        self.made += sum(line.made for line in lines)
        if self._on_progress is not None:
            self._on_progress(self.images, max(self._total, self.images))


@attrs.frozen(kw_only=True)
class _Line:
    text: str
    cards: int
    images: int
    not_shown: int
    made: int


async def _fill(spool: Spool, folder: Path, journal: Journal, counts: _Counts) -> None:
    workers = anyio.CapacityLimiter(min(_MAX_WORKERS, os.cpu_count() or 1))
    async for records in _in_chunks(journal.units(), _CHUNK):
        lines: dict[int, list[_Line]] = {}

        async def make(start: int, some: list[UnitRecord], into: dict[int, list[_Line]] = lines) -> None:
            into[start] = await in_thread(_lines, folder, some, limiter=workers)
            counts.add(into[start])

        async with anyio.create_task_group() as group:
            for start in range(0, len(records), _AT_ONCE):
                group.start_soon(make, start, records[start : start + _AT_ONCE])
        await in_thread(_add, spool, [line for start in sorted(lines) for line in lines[start]])


async def _in_chunks(items: AsyncIterator[_ItemT], size: int) -> AsyncIterator[list[_ItemT]]:
    chunk: list[_ItemT] = []
    async for item in items:
        chunk.append(item)
        if len(chunk) == size:
            yield chunk
            chunk = []
    if chunk:
        yield chunk


def _lines(folder: Path, records: Sequence[UnitRecord]) -> list[_Line]:
    return [line for record in records if (line := _line(folder, record)) is not None]


def _line(folder: Path, record: UnitRecord) -> _Line | None:
    """Make the thumbnails and the entry of a request; return None if there is nothing to show."""
    from .entries import card_count, request_entry
    from .page import to_line
    from .thumbnails import make_thumbnail

    cards = card_count(record)
    if not cards:
        return None
    thumbnails = [make_thumbnail(folder, kept.image) for kept in record.images]
    return _Line(
        text=to_line(request_entry(record, thumbnails)),
        cards=cards,
        images=len(thumbnails),
        not_shown=sum(thumbnail.file is None for thumbnail in thumbnails),
        made=sum(thumbnail.made for thumbnail in thumbnails),
    )


def _add(spool: Spool, lines: Sequence[_Line]) -> None:
    for line in lines:
        spool.add(line.text, line.cards)
