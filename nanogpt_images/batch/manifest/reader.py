"""Files of prompts, read row by row in constant memory."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Collection, Generator, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final, TypeGuard, TypeVar, cast

import attrs

from ...errors import ManifestError
from ..rows import BatchRow, refuse_one_row
from ..sweeps import Sweep, rows_of
from .columns import Columns
from .folder import folder_records, holds_only_images, image_files
from .formats import (
    Record,
    csv_records,
    csv_rows,
    json_records,
    jsonl_records,
    tsv_records,
    tsv_rows,
    txt_records,
)
from .selection import Selection
from .tables import Table, arrow_records, count_rows_of, rows_of_table, shards_of
from .templates import Templates
from .text import PACKED, Lines, reading
from .vocabulary import KNOWN_PARAMETERS

RowsT = TypeVar("RowsT")

MAX_LINE_BYTES: Final = 1024 * 1024
MAX_ROWS: Final = 10_000_000
"""Most rows that the sweep of a whole manifest may make."""

_TEXT: Final = {
    "jsonl": jsonl_records,
    "json": json_records,
    "csv": csv_records,
    "tsv": tsv_records,
    "txt": txt_records,
}
_SUFFIXES: Final[Mapping[str, str]] = {
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
    ".json": "json",
    ".csv": "csv",
    ".tsv": "tsv",
    ".tab": "tsv",
    ".txt": "txt",
    ".parquet": "parquet",
    ".pq": "parquet",
    ".arrow": "arrow",
    ".feather": "arrow",
}
FORMATS: Final = ("txt", "csv", "tsv", "jsonl", "json", "parquet", "arrow")


def read_manifest(
    path: str | os.PathLike[str],
    *,
    model: str | None = None,
    defaults: Mapping[str, object] | None = None,
    known_parameters: Collection[str] = KNOWN_PARAMETERS,
    max_line_bytes: int = MAX_LINE_BYTES,
    format: str | None = None,  # noqa: A002 - the word for it
    prompt_column: str | None = None,
    key_column: str | None = None,
    columns: Mapping[str, str] | None = None,
    where: Sequence[str] = (),
    limit: int | None = None,
    sample: int | None = None,
    seed: int = 0,
    sweep: Mapping[str, object] | None = None,
    zip: bool = False,  # noqa: A002 - the word for it
    templates: bool = True,
    wildcard_seed: int = 0,
) -> Iterator[BatchRow]:
    """
    Read a manifest row by row, lazily; the file's suffix says what it is.

    - `.jsonl`, `.ndjson`: an object per line; `.json`: an array of objects or prompts.
    - `.csv`: a header with a `prompt` column; the delimiter is the header's: a comma, semicolon, tab or bar.
    - `.tsv`: the same with tabs. A cell that quotes enclose may hold tabs, line ends and doubled quotes; a quote
      anywhere else is text.
    - `.txt`: a prompt per line, without the space around it.
    - `.parquet`, `.arrow`, `.feather`, or a directory of Parquet files (with the extra `parquet`).
    - A folder: an edit of each image in it, with `image` and `key`; *defaults* has the prompt.

    Files of text may be packed as `.gz` or (with the extra `parquet`) `.zst`. They are UTF-8, or UTF-16 with a byte
    order mark; lines end in LF, CRLF or CR, and blank ones are skipped.

    Columns are fields of `BatchRow` and parameters, whatever their case; all others are metadata of the row. A name that
    is nearly a known one is an error.

    Args:
        path: The file.
        model: ID of the model for rows that name none.
        defaults: Fields and parameters for rows that lack them.
        known_parameters: Further names of columns that are parameters.
        max_line_bytes: Greatest length of a line, or of a record of several lines.
        format: What the file is, where its suffix does not say it: `txt`, `csv`, `tsv`, `jsonl`, `json`, `parquet` or
            `arrow`.
        prompt_column: The column that holds prompts.
        key_column: The column that holds keys.
        columns: Fields or parameters by the name of the column that holds them; `metadata` for what is not for the
            service.
        where: Only rows that meet all conditions, such as `Category=Animals`; text is compared as it is.
        limit: Only so many rows, from the first one.
        sample: Only so many rows, chosen at random by `seed`.
        seed: Decides which rows a sample is of.
        sweep: Values to combine for each row, as for `nanogpt_images.sweep`; a row that has a value keeps it.
        zip: Pair the values of `sweep` instead of combining each with all.
        templates: Fill the gaps of prompts: `{column}`, `{a|b|c}` and `__file__`, a line of `file.txt` beside the
            manifest.
        wildcard_seed: Decides, with a row's number, what the last two become.

    Raises:
        ManifestError: At once for a file that cannot be read or has another suffix; while iterating for the
            first row that is wrong (with its `line`) and for a file without rows.

    Source: docs/bulk.md, "Read rows from a file".
    """
    given = dict(locals())
    return ManifestRows(given.pop("path"), ReadOptions.of(given))


@attrs.frozen(kw_only=True)
class ReadOptions:
    """How rows are made of a manifest: the arguments of `read_manifest`."""

    model: str | None = None
    defaults: Mapping[str, object] | None = None
    known_parameters: Collection[str] = KNOWN_PARAMETERS
    max_line_bytes: int = MAX_LINE_BYTES
    format: str | None = None
    prompt_column: str | None = None
    key_column: str | None = None
    columns: Mapping[str, str] | None = None
    where: Sequence[str] = ()
    limit: int | None = None
    sample: int | None = None
    seed: int = 0
    sweep: Mapping[str, object] | None = None
    zip: bool = False
    templates: bool = True
    wildcard_seed: int = 0

    @classmethod
    def of(cls, options: Mapping[str, object]) -> ReadOptions:
        """Make them of arguments, or of what a journal recorded of them."""
        return cls(**cast("dict[str, Any]", options))

    @property
    def chosen(self) -> dict[str, object]:
        """Those that are not the default, by name."""
        defaults = ReadOptions()
        given = {
            name: value for name, value in attrs.asdict(self, recurse=False).items() if value or value == 0
        }
        chosen = {name: value for name, value in given.items() if value != getattr(defaults, name)}
        if "known_parameters" in chosen:
            chosen["known_parameters"] = sorted(self.known_parameters)
        return {name: value for name, value in chosen.items() if value not in ((), {}, [])}


class ManifestRows(Iterator[BatchRow]):
    """
    The rows of a manifest; see `read_manifest`.

    Attributes:
        path: The file or directory.
        reading: How rows are made of it.
        keep: Rows for which it says False are left out, as if the manifest did not have them.
        planned_nano: What all of its rows are expected to cost (nano-USD), for the journal; None where it was not planned.
    """

    planned_nano: int | None = None

    def __init__(
        self,
        path: str | os.PathLike[str],
        options: ReadOptions | None = None,
        *,
        model: str | None = None,
        keep: Callable[[BatchRow], bool] | None = None,
    ) -> None:
        self.path = Path(path)
        self.reading = options or ReadOptions(model=model)
        self.keep = keep
        self._format = _format_of(self.path, self.reading.format)
        self._columns = Columns.of(
            prompt_column=self.reading.prompt_column,
            key_column=self.reading.key_column,
            mapping=self.reading.columns,
            known=self.reading.known_parameters,
        )
        self._selection = Selection.of(
            where=self.reading.where,
            limit=self.reading.limit,
            sample=self.reading.sample,
            seed=self.reading.seed,
        )
        self._sweep = Sweep.of(self.reading.sweep, zipped=self.reading.zip) if self.reading.sweep else None
        self._files = _files_of(self.path)
        self._scanned = self.scan()

    def __next__(self) -> BatchRow:
        row = next(self._scanned)
        if isinstance(row, ManifestError):
            # The error's traceback would keep the file open for as long as somebody holds it.
            self._scanned.close()
            raise row
        return row

    def rest(self) -> Iterator[BatchRow | ManifestError]:
        """Return what iteration has not come to yet, with an error in place of each row that is wrong."""
        return self._scanned

    @property
    def options(self) -> dict[str, object]:
        """What `read_manifest` was called with beside the path, where that is not the default."""
        return self.reading.chosen

    def again(self) -> ManifestRows:
        """Return its rows from the first one."""
        rows = ManifestRows(self.path, self.reading, keep=self.keep)
        rows.planned_nano = self.planned_nano
        return rows

    def scan(self) -> Generator[BatchRow | ManifestError]:
        """
        Yield its rows, and an error in place of each that is wrong.

        Raises:
            ManifestError: The file as a whole cannot be read.
        """
        if self._sweep is not None and (total := self._count_records() * self._sweep.size) > MAX_ROWS:
            raise ManifestError(f"the sweep makes {total:,} rows of {self.path}; {MAX_ROWS:,} are the most.")
        empty = True
        for row in self._selection.of_rows(self._made(), self.path):
            empty = False
            yield row
        if empty:
            raise ManifestError(f"{self.path} holds no rows{self._selection.said}.")

    def count(self) -> int:
        """
        Count all rows, without looking into them where nothing but their number matters.

        Raises:
            ManifestError: The file cannot be read.
        """
        if self._sweep is None and self.keep is None and not self._selection.looks_into_rows:
            rows = self._count_records()
            if not self._holds_sweeps:
                return self._selection.of_count(rows)
        try:
            return sum(1 for _ in self.scan())
        except ManifestError:
            # Reading the rows reports faults.
            return 0

    def _made(self) -> Iterator[BatchRow | ManifestError]:
        templates = None
        if self.reading.templates:
            directory = self.path.parent if self._files == [self.path] else self.path
            templates = Templates(directory=directory, seed=self.reading.wildcard_seed)
        with contextlib.closing(self._records()) as records:
            for number, (line, fields) in enumerate(records, start=1):
                if isinstance(fields, ManifestError):
                    yield fields
                    continue
                try:
                    _refuse_nul(fields, line)
                    for row in rows_of(
                        fields,
                        model=self.reading.model,
                        defaults=self.reading.defaults,
                        line=line,
                        number=number,
                        given=self._sweep,
                        templates=templates,
                    ):
                        if self.keep is None or self.keep(row):
                            yield row
                except ManifestError as error:
                    yield error

    def _records(self) -> Generator[Record]:
        if self._format == "folder":
            yield from folder_records(self._files)
            return
        if self._format in ("parquet", "arrow"):
            yield from arrow_records(self._files, self._columns)
            return
        with reading(self.path), Lines(self.path, self.reading.max_line_bytes) as lines:
            yield from _TEXT[self._format](lines, self._columns)

    def _count_records(self) -> int:
        """Count rows as far as they can be separated, before any sweep."""
        self._holds_sweeps = False
        if self._format == "folder":
            return len(self._files)
        if self._format in ("parquet", "arrow"):
            self._holds_sweeps = any(
                "sweep" in row for _, row in _first(self._records()) if isinstance(row, Mapping)
            )
            return count_rows_of(self._files)
        rows = 0
        # Reading a line for its row reports its faults.
        with (
            reading(self.path),
            Lines(self.path, self.reading.max_line_bytes) as lines,
            contextlib.suppress(ManifestError),
        ):
            if self._format == "json":
                for _, record in json_records(lines, Columns()):
                    rows += 1
                    self._holds_sweeps |= isinstance(record, Mapping) and "sweep" in record
                return rows
            if self._format in ("csv", "tsv"):
                table = csv_rows(lines, self._columns) if self._format == "csv" else tsv_rows(lines)
                for _, cells in table:
                    rows += 1
                    self._holds_sweeps |= (
                        rows == 1 and isinstance(cells, list) and "sweep" in map(str.lower, cells)
                    )
            else:
                for text in lines.records():
                    rows += 1
                    self._holds_sweeps |= '"sweep"' in text
        return max(0, rows - (self._format in ("csv", "tsv")))


def _first(records: Generator[Record]) -> list[Record]:
    with contextlib.closing(records):
        return [record for record in [next(records, None)] if record is not None]


def count_rows(path: Path, *, max_line_bytes: int = MAX_LINE_BYTES) -> int:
    """Count the rows of a manifest, as far as they can be separated. Raises ManifestError."""
    return ManifestRows(path, ReadOptions(max_line_bytes=max_line_bytes)).count()


def scan_manifest(
    path: str | os.PathLike[str],
    *,
    model: str | None = None,
    defaults: Mapping[str, object] | None = None,
) -> Generator[BatchRow | ManifestError]:
    """
    Read a manifest like `read_manifest`, but yield a row that is wrong as its error, and go on where that is possible.

    Raises:
        ManifestError: As `read_manifest`, but for single rows.
    """
    return ManifestRows(path, ReadOptions(model=model, defaults=defaults)).scan()


def names_manifest(rows: object) -> TypeGuard[str | os.PathLike[str]]:
    """Whether *rows* is the path of a manifest: a path, or a text that ends as one; the file is not looked at."""
    if isinstance(rows, os.PathLike):
        return True
    return isinstance(rows, str) and "\n" not in rows and _format_by_suffix(Path(rows)) is not None


def rows_from(
    rows: RowsT | Table | str | os.PathLike[str],
    *,
    model: str | None = None,
    defaults: Mapping[str, object] | None = None,
) -> RowsT | ManifestRows | Iterator[Mapping[str, object]]:
    """
    Open what a caller gives as rows: a manifest by its path, a data frame, an Arrow table; all else is handed on.

    Args:
        rows: Rows, or where they are.
        model: ID of the model for rows of a manifest that name none.
        defaults: Fields and parameters for rows of a manifest that lack them.

    Raises:
        ManifestError: The manifest cannot be read.
        ParameterError: *rows* is a single row.
    """
    if names_manifest(rows):
        return ManifestRows(rows, ReadOptions(model=model, defaults=defaults))
    if (table := rows_of_table(rows)) is not None:
        return table
    refuse_one_row(rows)
    return cast("RowsT", rows)


def _refuse_nul(fields: Mapping[str, object], line: int) -> None:
    for name, value in fields.items():
        if isinstance(value, str) and "\0" in value:
            raise ManifestError(f"line {line}: {name} holds a NUL character.", line=line)


def _format_of(path: Path, given: str | None) -> str:
    if given is not None:
        if given not in FORMATS:
            raise ManifestError(f"format must be one of {', '.join(FORMATS)}, not {given!r}.")
        return given
    with contextlib.suppress(OSError, ValueError):
        if path.is_dir():
            return "folder" if holds_only_images(path) else "parquet"
    if (found := _format_by_suffix(path)) is not None:
        return found
    raise ManifestError(
        f"cannot read {path} as a manifest: its suffix {path.suffix!r} is not known. Expected .jsonl, .json, .csv, .tsv, "
        ".txt, .parquet or .arrow; --format (format=) says what another file is."
    )


def _format_by_suffix(path: Path) -> str | None:
    suffix = path.suffix.lower()
    if suffix not in PACKED:
        return _SUFFIXES.get(suffix)
    found = _SUFFIXES.get(Path(path.stem).suffix.lower())
    return found if found in _TEXT else None


def _files_of(path: Path) -> list[Path]:
    try:
        if path.is_dir():
            return image_files(path) if holds_only_images(path) else shards_of(path)
        if not path.exists():
            raise ManifestError(f"there is no file {path}.")
    except ValueError:
        raise ManifestError(f"there is no file {path}.") from None
    except OSError as error:
        raise ManifestError(f"{path} cannot be read: {error.strerror}.") from error
    return [path]
