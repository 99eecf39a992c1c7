"""Parquet: typed columns, and optionally the images. Needs the extra `parquet`."""

from __future__ import annotations

import importlib
import importlib.util
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

from ..batch.journal import ResultRecord
from ..errors import ConfigurationError
from .columns import NAMES, cells

_TYPES: Final = {
    "index": "int32",
    "row": "int64",
    "width": "int32",
    "height": "int32",
    "bytes": "int64",
    "cost_usd": "float64",
}
_GROUP_ROWS: Final = 10_000
_GROUP_BYTES: Final = 32 * 2**20
# With this metadata, Hugging Face's `datasets` decodes the column as images.
_HUGGING_FACE: Final = {"huggingface": json.dumps({"info": {"features": {"image": {"_type": "Image"}}}})}


class ParquetWriter:
    """
    Writes Parquet in row groups of at most 10,000 rows or about 32 MiB of images.

    Args:
        path: The file to write.
        source: The batch's directory, to embed its images; None leaves them out.
    """

    def __init__(self, path: Path, source: Path | None) -> None:
        self.images = 0
        self.missing = 0
        self._source = source
        self._rows: list[list[object]] = []
        self._held_bytes = 0
        # pyarrow ships no types.
        self._arrow: Any = _pyarrow("pyarrow")
        self._schema = self._make_schema()
        # Encoded images do not compress; the other columns do.
        compression = dict.fromkeys(NAMES, "zstd") | {"image.bytes": "none", "image.path": "zstd"}
        self._parquet: Any = _pyarrow("pyarrow.parquet").ParquetWriter(
            path,
            self._schema,
            compression=compression if source is not None else "zstd",
            use_dictionary=["model", "media_type", "parameters", "metadata"],
        )

    def write(self, images: Sequence[ResultRecord]) -> None:
        """Add one row per image; an image that is not on disk counts as missing."""
        for image in images:
            row = cells(image)
            if self._source is not None:
                data = self._read(self._source / image.file)
                self._held_bytes += len(data or b"")
                row.append({"bytes": data, "path": Path(image.file).name})
            self._rows.append(row)
            if len(self._rows) >= _GROUP_ROWS or self._held_bytes >= _GROUP_BYTES:
                self._flush()

    def close(self) -> None:
        """Write the last row group and the footer."""
        self._flush()
        self._parquet.close()

    def _flush(self) -> None:
        """Write the collected rows as a row group."""
        if self._rows:
            columns = zip(*self._rows, strict=True)
            arrays = [
                self._arrow.array(column, field.type)
                for column, field in zip(columns, self._schema, strict=True)
            ]
            self._parquet.write_table(self._arrow.Table.from_arrays(arrays, schema=self._schema))
        self.images += len(self._rows)
        self._rows, self._held_bytes = [], 0

    def _read(self, file: Path) -> bytes | None:
        try:
            return file.read_bytes()
        except FileNotFoundError:
            self.missing += 1
            return None

    def _make_schema(self) -> Any:
        arrow = self._arrow
        fields = [(name, getattr(arrow, _TYPES.get(name, "string"))()) for name in NAMES]
        if self._source is None:
            return arrow.schema(fields)
        picture = arrow.struct({"bytes": arrow.binary(), "path": arrow.string()})
        return arrow.schema([*fields, ("image", picture)], metadata=_HUGGING_FACE)


def _pyarrow(module: str) -> Any:
    if importlib.util.find_spec("pyarrow") is None:
        raise ConfigurationError("Parquet needs pyarrow: pip install 'nanogpt_images[parquet]'")
    return importlib.import_module(module)
