"""Files of prompts, read row by row in constant memory."""

from __future__ import annotations

import contextlib
import csv
import os
from collections.abc import Collection, Generator, Iterator, Mapping
from pathlib import Path
from typing import Any, Final, cast

from ...errors import ManifestError
from ..rows import BatchRow
from .columns import KNOWN_PARAMETERS
from .formats import Lines, Reader, Record, csv_records, csv_rows, jsonl_records, tsv_records, txt_records

MAX_LINE_BYTES: Final = 1024 * 1024

_READERS: Final[Mapping[str, Reader]] = {
    ".jsonl": jsonl_records,
    ".ndjson": jsonl_records,
    ".csv": csv_records,
    ".tsv": tsv_records,
    ".txt": txt_records,
}
_WITH_HEADER: Final = (".csv", ".tsv")


def read_manifest(
    path: str | os.PathLike[str],
    *,
    model: str | None = None,
    defaults: Mapping[str, object] | None = None,
    known_parameters: Collection[str] = KNOWN_PARAMETERS,
    max_line_bytes: int = MAX_LINE_BYTES,
) -> Iterator[BatchRow]:
    """
    Read a manifest row by row, lazily; the file's suffix says what it is.

    - `.jsonl`, `.ndjson`: an object per line, parameters beside the fields of `BatchRow` or under `parameters`.
    - `.csv`, `.tsv`: a header with a `prompt` column; names match whatever their case. A column that is neither
      a field of a row nor a known parameter is left out; one that is nearly such a name is an error.
      In `.tsv` a quote is an ordinary character unless it encloses the whole cell.
    - `.txt`: a prompt per line, without the space around it.

    Blank lines are skipped. A byte order mark and CRLF are fine.

    Args:
        path: The file.
        model: ID of the model for rows that name none.
        defaults: Fields and parameters for rows that lack them.
        known_parameters: Further names of columns that are parameters.
        max_line_bytes: Greatest length of a line, or of a CSV record of several lines.

    Raises:
        ManifestError: At once for a file that cannot be read or has another suffix; while iterating for the
            first row that is wrong (with its `line`) and for a file without rows.
    """
    return ManifestRows(
        path, model=model, defaults=defaults, known_parameters=known_parameters, max_line_bytes=max_line_bytes
    )


class ManifestRows(Iterator[BatchRow]):
    """
    The rows of a manifest; see `read_manifest`.

    Attributes:
        path: The file.
        options: What `read_manifest` was called with beside it, where that is not the default.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        *,
        model: str | None = None,
        defaults: Mapping[str, object] | None = None,
        known_parameters: Collection[str] = KNOWN_PARAMETERS,
        max_line_bytes: int = MAX_LINE_BYTES,
    ) -> None:
        self.path = Path(path)
        self._rows = _raising(
            scan_manifest(
                path,
                model=model,
                defaults=defaults,
                known_parameters=known_parameters,
                max_line_bytes=max_line_bytes,
            )
        )
        self._max_line_bytes = max_line_bytes
        self.options: dict[str, object] = {}
        if model is not None:
            self.options["model"] = model
        if defaults:
            self.options["defaults"] = defaults
        if known_parameters is not KNOWN_PARAMETERS:
            self.options["known_parameters"] = sorted(known_parameters)
        if max_line_bytes != MAX_LINE_BYTES:
            self.options["max_line_bytes"] = max_line_bytes

    def __next__(self) -> BatchRow:
        return next(self._rows)

    def again(self) -> ManifestRows:
        """Its rows from the first one."""
        return ManifestRows(self.path, **cast("dict[str, Any]", self.options))

    def count(self) -> int:
        """
        Count all rows of the file, without looking into them.

        Raises:
            ManifestError: The file cannot be read.
        """
        return count_rows(self.path, max_line_bytes=self._max_line_bytes)


def count_rows(path: Path, *, max_line_bytes: int = MAX_LINE_BYTES) -> int:
    """The number of rows of a manifest, as far as its lines can be told apart. Raises ManifestError."""
    suffix = path.suffix.lower()
    rows = 0
    try:
        # What is wrong with a line is told when it is read for its row.
        with Lines(path, max_line_bytes) as lines, contextlib.suppress(ManifestError, csv.Error):
            for _ in csv_rows(lines) if suffix == ".csv" else lines.records():
                rows += 1
    except OSError as error:
        raise _unreadable(path, error) from error
    return max(0, rows - (suffix in _WITH_HEADER))


def scan_manifest(
    path: str | os.PathLike[str],
    *,
    model: str | None = None,
    defaults: Mapping[str, object] | None = None,
    known_parameters: Collection[str] = KNOWN_PARAMETERS,
    max_line_bytes: int = MAX_LINE_BYTES,
) -> Generator[BatchRow | ManifestError]:
    """
    Like `read_manifest`, but a row that is wrong is yielded as its error, and reading goes on where it can.

    Raises:
        ManifestError: As `read_manifest`, but for single rows.
    """
    file = Path(path)
    reader = _reader_for(file)
    try:
        if file.is_dir():
            raise ManifestError(f"{file} is a directory, not a manifest.")
        if not file.exists():
            raise ManifestError(f"there is no file {file}.")
    except OSError as error:
        raise _unreadable(file, error) from error
    records = _records(file, reader, known_parameters, max_line_bytes)
    return (_row(fields, line, model, defaults) for line, fields in records)


def _raising(rows: Generator[BatchRow | ManifestError]) -> Iterator[BatchRow]:
    # The error's traceback would keep the file open for as long as somebody holds it.
    with contextlib.closing(rows):
        for row in rows:
            if isinstance(row, ManifestError):
                raise row
            yield row


def _records(file: Path, reader: Reader, known: Collection[str], max_line_bytes: int) -> Iterator[Record]:
    empty = True
    try:
        with Lines(file, max_line_bytes) as lines:
            for record in reader(lines, known):
                empty = False
                yield record
    except OSError as error:
        raise _unreadable(file, error) from error
    if empty:
        raise ManifestError(f"{file} holds no rows.")


def _unreadable(file: Path, error: OSError) -> ManifestError:
    return ManifestError(f"{file} cannot be read: {error.strerror}.")


def _row(
    fields: Mapping[str, object] | ManifestError,
    line: int,
    model: str | None,
    defaults: Mapping[str, object] | None,
) -> BatchRow | ManifestError:
    if isinstance(fields, ManifestError):
        return fields
    try:
        return BatchRow.of(fields, model=model, line=line, defaults=defaults)
    except ManifestError as error:
        return error


def _reader_for(file: Path) -> Reader:
    if reader := _READERS.get(file.suffix.lower()):
        return reader
    raise ManifestError(
        f"{file} is no manifest by its suffix {file.suffix!r}; a manifest is .jsonl, .csv, .tsv or .txt."
    )
