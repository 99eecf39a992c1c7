"""Ray Data at both ends of a batch: its rows out of a dataset, and its results as one."""

from __future__ import annotations

import importlib
import json
import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, Protocol, cast

from ..._base.display import install_hint
from ...batch.journal.results import FILE_NAME
from ...errors import ConfigurationError, JournalError


class Dataset(Protocol):
    """The part of `ray.data.Dataset` that is used here; a result has all of it."""

    def iter_rows(self) -> Iterable[Mapping[str, Any]]:
        """Stream the rows."""
        ...

    def write_parquet(self, path: str) -> None:
        """Write the dataset, streamed."""
        ...


def rows_of(dataset: Dataset) -> Iterator[dict[str, object]]:
    """
    Read the rows of a dataset for `ray_batch`, with no more than a block or two in memory.

    Columns are fields of a row or parameters; a cell without a value is left out.
    Reading needs CPUs of the cluster beside those of the batch's workers.
    """
    for row in dataset.iter_rows():
        yield {name: value for name, cell in row.items() if (value := _plain(cell)) is not None}


def results_of(out: str | os.PathLike[str]) -> Dataset:
    """
    Open the results of the batch in *out* as a Ray dataset, a row per image: the fields of `results.jsonl`, with
    `parameters` and `metadata` as JSON text. The dataset is read when it is used, as a stream.

    Raises:
        ConfigurationError: Ray Data is not installed.
        JournalError: There are no results in *out*.
    """
    path = Path(out) / FILE_NAME
    if not path.is_file():
        raise JournalError(f"there is no {FILE_NAME} in {out}. Run a batch with this directory first.")
    lines = _module("ray.data").read_text(str(path.absolute()))
    return cast("Dataset", lines.map_batches(_table, batch_format="pyarrow", zero_copy_batch=True))


def _table(lines: Any) -> Any:
    """Convert lines to a table of results; every block has the same columns, also where they are null."""
    pa = _module("pyarrow")
    text, number = pa.string(), pa.int64()
    kinds: dict[str, Any] = {
        "key": text,
        "index": number,
        "prompt": text,
        "model": text,
        "parameters": text,
        "row": number,
        "metadata": text,
        "file": text,
        "media_type": text,
        "width": number,
        "height": number,
        "bytes": number,
        "sha256": text,
        "cost_usd": pa.float64(),
        "request_id": text,
    }
    results = [json.loads(line) for line in lines.column("text").to_pylist()]
    for result in results:
        for name in ("parameters", "metadata"):
            result[name] = json.dumps(result.get(name, {}), ensure_ascii=False)
    return pa.Table.from_pylist(results, schema=pa.schema(kinds.items()))


def _plain(cell: Any) -> object:
    """Convert a cell to a JSON value: NumPy's numbers and arrays to Python's, not-a-number to None."""
    to_python: Callable[[], object] | None = getattr(cell, "tolist", None)
    value = cell if to_python is None else to_python()
    return None if isinstance(value, float) and value != value else value  # noqa: PLR0124 - that is how NaN shows


def _module(name: str) -> Any:
    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise ConfigurationError(
            f"Ray Data is not installed: {install_hint('ray-data')}.", says_charge=True
        ) from error
