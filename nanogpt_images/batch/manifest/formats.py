"""The records of a manifest: lines of a file, and what each format makes of them."""

from __future__ import annotations

import csv
import json
import re
from collections.abc import Callable, Collection, Iterator, Mapping
from pathlib import Path
from typing import Final, Self, TypeAlias, cast

from ...errors import ManifestError
from .columns import Columns

Record: TypeAlias = tuple[int, Mapping[str, object] | ManifestError]
"""Where a record starts, and its fields or what is wrong with it."""


class Lines(Iterator[str]):
    """The decoded lines of a file, line ends included; `number` is that of the last one."""

    def __init__(self, file: Path, max_bytes: int) -> None:
        self._file = file.open("rb")
        self._max_bytes = max_bytes
        self.number = 0
        self.record_bytes = 0

    def __next__(self) -> str:
        raw = self._file.readline(self._max_bytes + 1)
        if not raw:
            raise StopIteration
        self.number += 1
        self.record_bytes += len(raw)
        if self.record_bytes > self._max_bytes:
            raise self.fault(f"is longer than {self._max_bytes:,} bytes")
        try:
            return raw.decode("utf-8-sig" if self.number == 1 else "utf-8")
        except UnicodeDecodeError:
            raise self.fault("is not UTF-8; save the file as UTF-8") from None

    def records(self) -> Iterator[str]:
        """Lines that are a record each: with what is blank left out."""
        for text in self:
            self.record_bytes = 0
            if text.strip():
                yield text

    def fault(self, what: str) -> ManifestError:
        return ManifestError(f"line {self.number} {what}.", line=self.number)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self._file.close()


def txt_records(lines: Lines, known: Collection[str]) -> Iterator[Record]:
    del known
    for text in lines.records():
        yield lines.number, {"prompt": text.strip()}


def jsonl_records(lines: Lines, known: Collection[str]) -> Iterator[Record]:
    del known
    for text in lines.records():
        try:
            value: object = json.loads(text, parse_constant=_no_constant)
        except (ValueError, RecursionError) as error:
            what = (
                f"{error.msg}, column {error.colno}"
                if isinstance(error, json.JSONDecodeError)
                else str(error)
            )
            yield lines.number, lines.fault(f"is not JSON ({what})")
            continue
        if isinstance(value, dict):
            yield lines.number, cast("dict[str, object]", value)
        else:
            yield (
                lines.number,
                lines.fault(f'is not an object such as {{"prompt": "a red fox"}}: {text[:40]!r}'),
            )


def _no_constant(name: str) -> object:
    raise ValueError(f"{name} is not a JSON number")


def csv_records(lines: Lines, known: Collection[str]) -> Iterator[Record]:
    # Strict: text after a closing quote, or a quote that never closes, would make a wrong prompt of several.
    reader = csv.reader(lines, strict=True)
    columns: Columns | None = None
    while True:
        start = lines.number + 1
        lines.record_bytes = 0
        try:
            cells = next(reader, None)
        except csv.Error as error:
            raise ManifestError(f"line {start}: {error}; is a quote missing?", line=start) from None
        if cells is None:
            return
        if not any(map(str.strip, cells)):
            continue
        if columns is None:
            columns = Columns.of(cells, line=start, known=known)
        else:
            yield _record(columns, cells, start)


def csv_rows(lines: Lines) -> Iterator[list[str]]:
    """The cells of each row, the header included, and nothing for a blank one. Raises ManifestError, csv.Error."""
    for cells in csv.reader(lines, strict=True):
        lines.record_bytes = 0
        if any(map(str.strip, cells)):
            yield cells


_QUOTED: Final = re.compile(r'"((?:[^"]|"")*)"')


def tsv_records(lines: Lines, known: Collection[str]) -> Iterator[Record]:
    columns: Columns | None = None
    for text in lines.records():
        cells = text.rstrip("\r\n").split("\t")
        if columns is None:
            columns = Columns.of([_unquoted(cell) for cell in cells], line=lines.number, known=known)
        elif any(cell.startswith('"') and cell.count('"') % 2 for cell in cells):
            # Either a cell of several lines, whose pieces would each be paid for, or a stray quote: ask.
            yield (
                lines.number,
                lines.fault(
                    "opens a quote and does not close it; a prompt of several lines needs .csv or .jsonl, "
                    "a quote as such is doubled and enclosed in quotes"
                ),
            )
        else:
            yield _record(columns, [_unquoted(cell) for cell in cells], lines.number)


def _unquoted(cell: str) -> str:
    quoted = _QUOTED.fullmatch(cell)
    return quoted[1].replace('""', '"') if quoted else cell


def _record(columns: Columns, cells: list[str], line: int) -> Record:
    try:
        return line, columns.read(cells, line=line)
    except ManifestError as error:
        return line, error


Reader: TypeAlias = Callable[[Lines, Collection[str]], Iterator[Record]]
"""Makes records of lines, given the names of columns that are parameters."""
