"""The records of a manifest of text: what each format makes of the lines of a file."""

from __future__ import annotations

import csv
import json
import re
from collections.abc import Callable, Iterator, Mapping
from typing import Final, TypeAlias, cast

from ...errors import ManifestError
from .columns import Columns, Header
from .text import Lines

Record: TypeAlias = tuple[int, Mapping[str, object] | ManifestError]
"""Where a record starts, and its columns or what is wrong with it."""
_Cells: TypeAlias = tuple[int, list[str] | ManifestError]

_CHUNK: Final = 1 << 16
_MOST_LINES: Final = 1_000
_NOT_BLANK: Final = re.compile(r"[^ \t\r\n]")
_DELIMITERS: Final = ",;\t|"
_QUOTED: Final = re.compile(r'"((?:[^"]|"")*+)"(?=\t|\Z)')
_OPENED: Final = re.compile(r'"(?:[^"]|"")*+')
_SEPARATOR: Final = re.compile(r'"?sep=(.)"?\s*', re.IGNORECASE)


def txt_records(lines: Lines, columns: Columns) -> Iterator[Record]:
    """Read a prompt per line."""
    del columns
    for text in lines.records():
        yield lines.number, {"prompt": text.strip()}


def jsonl_records(lines: Lines, columns: Columns) -> Iterator[Record]:
    """Read an object per line."""
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
            yield lines.number, columns.record(cast("dict[str, object]", value))
        else:
            yield (
                lines.number,
                lines.fault(f'is not an object such as {{"prompt": "a red fox"}}: {text[:40]!r}'),
            )


def json_records(lines: Lines, columns: Columns) -> Iterator[Record]:
    """Read an array of objects and prompts, one element at a time."""
    for number, value in _elements(_Json(lines)):
        if isinstance(value, dict):
            yield number, columns.record(cast("dict[str, object]", value))
        elif isinstance(value, str):
            yield number, {"prompt": value}
        else:
            text = f"line {number}: {str(value)[:40]!r} is neither an object nor a prompt."
            yield number, ManifestError(text, line=number)


def _elements(json_text: _Json) -> Iterator[tuple[int, object]]:
    json_text.take("[")
    if json_text.peek() == "]":
        return
    while True:
        json_text.peek()
        yield json_text.line, json_text.value()
        if json_text.take(",]") == "]":
            break
    if json_text.peek():
        raise json_text.fault("there is more text behind the JSON array")


class _Json:
    """The text of a JSON document, of which little more than a value is in memory."""

    def __init__(self, lines: Lines) -> None:
        self._lines = lines
        self._decoder = json.JSONDecoder(parse_constant=_no_constant)
        self._text, self._place = "", 0
        self.line = 1

    def peek(self) -> str:
        """Skip blanks and return the next character, nothing at the end."""
        while True:
            found = _NOT_BLANK.search(self._text, self._place)
            self._advance(found.start() if found else len(self._text))
            if found:
                return found[0]
            if not self._more():
                return ""

    def take(self, expected: str) -> str:
        """Skip blanks and one of the *expected* characters. Raises ManifestError where there is another."""
        found = self.peek()
        if not found or found not in expected:
            there = self._text[self._place : self._place + 20]
            raise self.fault(
                f"expected {' or '.join(expected)} of a JSON array of rows, not {there!r}"
                if found
                else f"the JSON array is not whole: {expected[-1]} is missing"
            )
        self._place += 1
        return found

    def value(self) -> object:
        """Read a value. Raises ManifestError where there is none, or too long a one."""
        while True:
            try:
                value, end = self._decoder.raw_decode(self._text, self._place)
            except json.JSONDecodeError as error:
                if len(self._text) - self._place > self._lines.max_bytes:
                    raise self.fault(f"a row is longer than {self._lines.max_bytes:,} bytes") from None
                if not self._more():
                    raise self.fault(f"a row is not JSON ({error.msg})") from None
            except (ValueError, RecursionError) as error:
                raise self.fault(f"a row is not JSON ({error})") from None
            else:
                self._advance(end)
                return value

    def fault(self, what: str) -> ManifestError:
        """Make an error about the place that was reached."""
        return ManifestError(f"line {self.line}: {what}.", line=self.line)

    def _advance(self, place: int) -> None:
        self.line += self._text.count("\n", self._place, place)
        self._place = place

    def _more(self) -> bool:
        # A row is decoded again when there is more of it: twice as much each time keeps that linear.
        rest = self._text[self._place :]
        more = self._lines.text(max(_CHUNK, len(rest)))
        self._text, self._place = rest + more, 0
        return bool(more)


def _no_constant(name: str) -> object:
    raise ValueError(f"{name} is not a JSON number")


def csv_records(lines: Lines, columns: Columns) -> Iterator[Record]:
    """Read a table of comma-separated values, or of what else its header is separated by."""
    return _table(csv_rows(lines, columns), columns)


def csv_rows(lines: Lines, columns: Columns) -> Iterator[_Cells]:
    """Yield the cells of each row that is not blank, the header included. Raises ManifestError."""
    header = next(lines.records(), None)
    if header is None:
        return
    if separator := _SEPARATOR.fullmatch(header):
        delimiter = separator[1]
    else:
        delimiter = max(_DELIMITERS, key=lambda delimiter: _likelihood(header, delimiter, columns))
        lines.put_back([header])
    # Strict: text after a closing quote, or a quote that never closes, would make a wrong prompt of several.
    reader = csv.reader(lines, strict=True, delimiter=delimiter)
    while True:
        start = lines.number + 1
        lines.record_bytes = 0
        try:
            cells = next(reader, None)
        except csv.Error as error:
            raise ManifestError(f"line {start}: {error}; is a quote missing?", line=start) from None
        if cells is None:
            return
        if any(map(str.strip, cells)):
            yield start, cells


def _likelihood(header: str, delimiter: str, columns: Columns) -> tuple[bool, int]:
    """Rate a delimiter: with the right one there is a column for the prompt, and else the most columns."""
    cells = [cell.strip().lower() for cell in next(csv.reader([header], delimiter=delimiter))]
    wanted = {"prompt", *(name for name, field in columns.renamed.items() if field == "prompt")}
    return not wanted.isdisjoint(cells), len(cells)


def tsv_records(lines: Lines, columns: Columns) -> Iterator[Record]:
    """Read a table of tab-separated values, with or without quotes."""
    return _table(tsv_rows(lines), columns)


def tsv_rows(lines: Lines) -> Iterator[_Cells]:
    """
    Yield the cells of each row that is not blank, the header included.

    A cell that quotes enclose is read as the csv module and spreadsheets write it: it may hold tabs, line ends and
    doubled quotes. A quote anywhere else is text.
    """
    width = 0
    for text in lines.records():
        start = lines.number
        texts = [text]
        cells, opened = _tsv_cells(text)
        while opened and len(texts) < _MOST_LINES and (following := next(lines, None)) is not None:
            texts.append(following)
            cells, opened = _tsv_cells("".join(texts))
        # Where each of its lines is a whole row by itself, a stray quote in each of two rows is as likely.
        stray = len(texts) > 1 and width > 1 and all(line.count("\t") >= width - 1 for line in texts)
        if cells is None or stray:
            lines.put_back(texts[1:])
            yield (
                start,
                lines.fault(
                    "opens a quote and does not close it; a quote that is text is doubled, in a cell enclosed in quotes"
                ),
            )
        else:
            width = width or len(cells)
            yield start, cells


def _tsv_cells(text: str) -> tuple[list[str] | None, bool]:
    """Split a row; None where a cell opens a quote that nothing closes, and whether a further line may close it."""
    whole, text = text, text.rstrip("\r\n")
    cells: list[str] = []
    place = 0
    while place <= len(text):
        if quoted := _QUOTED.match(text, place):
            cells.append(quoted[1].replace('""', '"'))
            place = quoted.end() + 1
            continue
        end = text.find("\t", place)
        cell = text[place : end if end >= 0 else len(text)]
        if cell.startswith('"') and cell.count('"') % 2:
            opened = _OPENED.match(whole, place)
            return None, opened is not None and opened.end() == len(whole)
        cells.append(cell)
        place += len(cell) + 1
    return cells, False


def _table(rows: Iterator[_Cells], columns: Columns) -> Iterator[Record]:
    header: Header | None = None
    for line, cells in rows:
        if isinstance(cells, ManifestError):
            yield line, cells
        elif header is None:
            header = columns.header(cells, line=line)
        else:
            try:
                yield line, header.read(cells, line=line)
            except ManifestError as error:
                yield line, error


Reader: TypeAlias = Callable[[Lines, Columns], Iterator[Record]]
"""Makes records of lines."""
