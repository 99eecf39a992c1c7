"""The entries of a gallery, divided into pages, in memory or in a temporary file."""

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
    Lines in order, divided into pages of at most *max_cards* cards and *max_bytes*. A request is never divided.

    Args:
        directory: Directory of the temporary file that is used above 32 MiB.
        max_cards: Maximum number of cards on a page.
        max_bytes: Maximum size of the entries of a page.
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
        """Number of pages, at least one."""
        return len(self._starts)

    def add(self, line: str, cards: int) -> None:
        """
        Add a request.

        Args:
            line: Its JSON, in one line, without a line end.
            cards: Its number of cards.
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
        """Yield the lines of page number *page*, from 0, as they were added."""
        end = self._starts[page + 1] if page + 1 < self.pages else self._end
        self._file.seek(self._starts[page])
        while self._file.tell() < end:
            yield Markup(self._file.readline().decode().rstrip("\n"))  # noqa: S704 - from `to_line`
