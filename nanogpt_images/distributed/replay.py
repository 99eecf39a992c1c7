"""Rows that can be read only once, kept so that they can be sent again from the start."""

from __future__ import annotations

import json
import tempfile
from collections.abc import AsyncGenerator, AsyncIterable, Iterator, Sequence
from typing import Final, TextIO, cast

from .._base.threads import in_thread
from ..batch.manifest.reader import ManifestRows
from ..batch.rows import BatchRow
from ..batch.run.task_source import Row, Rows, chunks

_CHUNK: Final = 256


class ReplayableRows:
    """
    The rows of a source, from the first one for each reader.

    A collection is read again. An iterator cannot be: its rows are kept in a temporary file.
    """

    def __init__(self, rows: Rows) -> None:
        self._rows = rows
        once = isinstance(rows, Iterator | AsyncIterable) and not self.is_manifest
        self._file = _kept() if once else None
        self._rest: AsyncGenerator[Sequence[Row]] | None = None

    @property
    def is_manifest(self) -> bool:
        """Whether they come from a file, which can be read again."""
        return isinstance(self._rows, ManifestRows)

    async def chunks(self) -> AsyncGenerator[Sequence[Row]]:
        """Yield all rows, in chunks. One reader at a time."""
        if self._file is None:
            rows = self._rows
            if isinstance(rows, ManifestRows):
                rows = await in_thread(rows.again)
            async for chunk in chunks(rows):
                yield chunk
            return
        await in_thread(self._file.seek, 0)
        while told := await in_thread(self._read):
            yield told
        if self._rest is None:
            self._rest = cast("AsyncGenerator[Sequence[Row]]", chunks(self._rows))
        async for chunk in self._rest:
            await in_thread(self._keep, chunk)
            yield chunk

    async def aclose(self) -> None:
        """Drop what was kept."""
        if self._file is not None:
            await in_thread(self._file.close)

    def _read(self) -> list[Row]:
        assert self._file is not None
        lines = [line for _ in range(_CHUNK) if (line := self._file.readline())]
        return [_row(line) for line in lines]

    def _keep(self, chunk: Sequence[Row]) -> None:
        assert self._file is not None
        self._file.seek(0, 2)
        self._file.writelines(_text(row) for row in chunk)


def _kept() -> TextIO:
    # Closed, and so removed, by `ReplayableRows.aclose`.
    return tempfile.TemporaryFile("w+", encoding="utf-8")


def _text(row: Row) -> str:
    if isinstance(row, BatchRow):
        return json.dumps([row.line, row.to_json()]) + "\n"
    return json.dumps(row if isinstance(row, str) else dict(row)) + "\n"


def _row(text: str) -> Row:
    value: object = json.loads(text)
    if isinstance(value, dict | str):
        return cast("dict[str, object] | str", value)
    line, row = cast("tuple[int | None, str]", value)
    return BatchRow.of(BatchRow.from_json(row), line=line)
