"""Tables with types: files of Parquet and Arrow, and data frames, by what they can do and without importing them."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, Final, Protocol, cast

from ..._base.logs import get_logger
from ...errors import ManifestError
from .columns import Columns, is_blank
from .formats import Record
from .text import pyarrow

_LOG: Final = get_logger("nanogpt_images.batch")
_BATCH_ROWS: Final = 512
_PARQUET: Final = (".parquet", ".pq")


class Table(Protocol):
    """A data frame of pandas or polars, or a table of Arrow: what they have in common."""

    @property
    def columns(self) -> object:
        """Its columns, or their names."""
        ...

    @property
    def shape(self) -> tuple[int, int]:
        """How many rows and columns it has."""
        ...


def shards_of(directory: Path) -> list[Path]:
    """
    Find the Parquet files of a dataset, in the order of their names.

    Raises:
        ManifestError: There are none.
    """
    found = sorted(
        path for path in directory.rglob("*") if path.suffix.lower() in _PARQUET and path.is_file()
    )
    if not found:
        raise ManifestError(
            f"the folder {directory} has neither images nor .parquet files in it, so it is not a manifest."
        )
    return found


def arrow_records(files: Iterable[Path], columns: Columns) -> Iterator[Record]:
    """
    Read the rows of Parquet and Arrow files, some hundred at a time; columns of bytes are left out unread.

    Raises:
        ConfigurationError: pyarrow is not installed.
        ManifestError: There is no prompt column, or a file is damaged.
    """
    number = itertools.count(1)
    for file in files:
        with _failing(file), _Table(file) as table:
            header = columns.header(table.columns, line=1)
            for batch in table.batches():
                for cells in zip(*(column.to_pylist() for column in batch.columns), strict=True):
                    place = next(number)
                    try:
                        yield place, header.read(cells, line=place)
                    except ManifestError as error:
                        yield place, error


def count_rows_of(files: Iterable[Path]) -> int:
    """
    Count the rows of Parquet and Arrow files, without reading them where the file says it.

    Raises:
        ConfigurationError: pyarrow is not installed.
        ManifestError: A file is damaged.
    """
    rows = 0
    for file in files:
        with _failing(file), _Table(file) as table:
            rows += table.rows()
    return rows


class _failing:  # noqa: N801 - a context manager that reads like a verb
    def __init__(self, file: Path) -> None:
        self._file = file

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if isinstance(error, OSError) or type(error).__module__ == "pyarrow.lib":
            raise ManifestError(
                f"{self._file} cannot be read as a table ({str(error).splitlines()[0][:200]})."
            ) from error


class _Table:
    """One open file; `columns` are those that are not bytes."""

    def __init__(self, file: Path) -> None:
        self._is_parquet = file.suffix.lower() in _PARQUET
        self._source: Any = None
        if self._is_parquet:
            module = pyarrow("pyarrow.parquet", needed_for="Parquet")
            self._reader: Any = module.ParquetFile(str(file), memory_map=True)
            schema = self._reader.schema_arrow
        else:
            arrow, ipc = pyarrow("pyarrow", needed_for="Arrow"), pyarrow("pyarrow.ipc", needed_for="Arrow")
            self._source = arrow.memory_map(str(file))
            try:
                self._reader = ipc.open_file(self._source)
            except arrow.ArrowInvalid:
                self._source.seek(0)
                self._reader = ipc.open_stream(self._source)
            schema = self._reader.schema
        self.columns = [field.name for field in schema if not _holds_bytes(field.type)]
        if left_out := [field.name for field in schema if field.name not in self.columns]:
            _LOG.info("columns of bytes are left out: %s", ", ".join(left_out))

    def __enter__(self) -> _Table:
        return self

    def __exit__(self, *exc_info: object) -> None:
        if self._is_parquet:
            self._reader.close()
        else:
            self._source.close()

    def rows(self) -> int:
        """Count all rows."""
        if self._is_parquet:
            return int(self._reader.metadata.num_rows)
        return sum(batch.num_rows for batch in self._raw_batches())

    def batches(self) -> Iterator[Any]:
        """Yield the rows in record batches of some hundred."""
        if self._is_parquet:
            yield from self._reader.iter_batches(batch_size=_BATCH_ROWS, columns=self.columns)
            return
        for batch in self._raw_batches():
            chosen = batch.select(self.columns)
            for start in range(0, chosen.num_rows, _BATCH_ROWS):
                yield chosen.slice(start, _BATCH_ROWS)

    def _raw_batches(self) -> Iterator[Any]:
        if hasattr(self._reader, "num_record_batches"):
            for index in range(self._reader.num_record_batches):
                yield self._reader.get_batch(index)
        else:
            yield from self._reader


def _holds_bytes(kind: Any) -> bool:
    if "binary" in str(kind).split("[")[0].split("<")[0]:
        return True
    fields = getattr(kind, "num_fields", 0)
    return any(_holds_bytes(kind.field(index).type) for index in range(fields))


def is_table(table: object) -> bool:
    """Whether *table* is a data frame or an Arrow table."""
    return _mappings(cast("Any", table)) is not None


def rows_of_table(table: object) -> Iterator[Mapping[str, object]] | None:
    """
    Read a data frame or an Arrow table row by row; a cell without a value is left out.

    Returns:
        Its rows as mappings; None where *table* is neither.
    """
    found = _mappings(cast("Any", table))
    if found is None:
        return None
    return ({str(name): cell for name, cell in row.items() if not is_blank(cell)} for row in found)


def _mappings(table: Any) -> Iterable[Mapping[object, object]] | None:
    if hasattr(table, "to_batches"):  # pyarrow.Table, Dataset
        return (row for batch in table.to_batches(max_chunksize=_BATCH_ROWS) for row in batch.to_pylist())
    if hasattr(table, "read_next_batch"):  # pyarrow.RecordBatchReader
        return (row for batch in table for row in batch.to_pylist())
    if hasattr(table, "columns") and hasattr(table, "iter_rows"):  # polars.DataFrame
        return cast("Iterable[Mapping[object, object]]", table.iter_rows(named=True))
    if hasattr(table, "columns") and hasattr(table, "itertuples"):  # pandas.DataFrame
        names = list(table.columns)
        return (dict(zip(names, cells, strict=True)) for cells in table.itertuples(index=False, name=None))
    if hasattr(table, "to_pylist") and hasattr(table, "schema"):  # pyarrow.RecordBatch
        return cast("Iterable[Mapping[object, object]]", table.to_pylist())
    return None
