"""Parquet: typed columns, and optionally the images. Needs the extra `parquet`."""

from __future__ import annotations

import importlib
import importlib.util
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

from .._base.display import install_hint
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
        group_bytes: Start a new row group after so many bytes of images.
    """

    def __init__(self, path: Path, source: Path | None, group_bytes: int | None = None) -> None:
        self.images = 0
        self.missing = 0
        self._path = path
        self._group_bytes = _GROUP_BYTES if group_bytes is None else group_bytes
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
            if len(self._rows) >= _GROUP_ROWS or self._held_bytes >= self._group_bytes:
                self._flush()

    @property
    def size_bytes(self) -> int:
        """Bytes in the file so far, without the row group that is being collected."""
        return self._path.stat().st_size

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


class ParquetShards:
    """
    Writes a directory of Parquet files, `000000.parquet` and so on, each closed once it has reached a size.

    Args:
        directory: Directory of the shards; it is created.
        source: The batch's directory, to embed its images; None leaves them out.
        max_shard_bytes: Start a new shard once one has reached this size; it is looked at after each row group.
    """

    def __init__(self, directory: Path, source: Path | None, max_shard_bytes: int) -> None:
        self._directory = directory
        self._source = source
        self._max_shard_bytes = max_shard_bytes
        self._closed: list[ParquetWriter] = []
        directory.mkdir()
        self._shard = self._next_shard()

    @property
    def images(self) -> int:
        """Rows of all shards."""
        return self._shard.images + sum(shard.images for shard in self._closed)

    @property
    def missing(self) -> int:
        """Images of all shards that are no longer on disk."""
        return self._shard.missing + sum(shard.missing for shard in self._closed)

    def write(self, images: Sequence[ResultRecord]) -> None:
        """Add one row per image."""
        for image in images:
            if self._shard.images and self._shard.size_bytes >= self._max_shard_bytes:
                self._shard.close()
                self._closed.append(self._shard)
                self._shard = self._next_shard()
            self._shard.write([image])

    def close(self) -> None:
        """Complete the last shard."""
        self._shard.close()

    def _next_shard(self) -> ParquetWriter:
        path = self._directory / f"{len(self._closed):06d}.parquet"
        return ParquetWriter(path, self._source, min(_GROUP_BYTES, self._max_shard_bytes))


def _pyarrow(module: str) -> Any:
    if importlib.util.find_spec("pyarrow") is None:
        raise ConfigurationError(f"Parquet needs pyarrow: {install_hint('parquet')}.")
    return importlib.import_module(module)
