"""The entries of a gallery, parted into pages, on disk where they are many."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from markupsafe import Markup

_IN_MEMORY_BYTES: Final = 32 << 20


class Spool:
    """
    Lines in order, parted into pages of at most so many cards and bytes. A request is never parted.

    Args:
        directory: Where a temporary file goes that outgrows the memory.
        max_cards: Cards on a page.
        max_bytes: Text on a page.
    """

    def __init__(self, directory: Path, *, max_cards: int, max_bytes: int) -> None:
        self._file = tempfile.SpooledTemporaryFile(max_size=_IN_MEMORY_BYTES, dir=str(directory))  # noqa: SIM115
        self._max_cards = max_cards
        self._max_bytes = max_bytes
        self._starts = [0]
        self._end = 0
        self._cards = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._file.close()

    @property
    def pages(self) -> int:
        """How many pages there are, at least one."""
        return len(self._starts)

    def add(self, line: str, cards: int) -> None:
        """
        Add a request.

        Args:
            line: Its JSON, in one line.
            cards: How many cards it makes.
        """
        data = line.encode() + b"\n"
        full = (
            self._cards + cards > self._max_cards
            or self._end - self._starts[-1] + len(data) > self._max_bytes
        )
        if full and self._cards:
            self._starts.append(self._end)
            self._cards = 0
        self._file.write(data)
        self._end += len(data)
        self._cards += cards

    def lines(self, page: int) -> Iterator[Markup]:
        """The lines of *page*, from 0, as they were given."""
        end = self._starts[page + 1] if page + 1 < self.pages else self._end
        self._file.seek(self._starts[page])
        while self._file.tell() < end:
            yield Markup(self._file.readline().decode().rstrip("\n"))  # noqa: S704 - from `to_line`
