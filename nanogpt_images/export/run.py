"""Export: journal → rows → writer → a file that appears when it is complete."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Final, Literal, Protocol, TypeAlias, assert_never

import anyio

from .._base.threads import in_thread
from ..batch.journal import Journal, ResultRecord
from ..batch.manifest.picks import read_picks
from ..errors import ParameterError
from .report import ExportReport
from .target import Target, failing_as

ExportFormat: TypeAlias = Literal["parquet", "webdataset", "csv"]

_CHUNK: Final = 1_000
_SHARD_BYTES: Final = 10**9
_NAMES: Final[dict[ExportFormat, str]] = {
    "parquet": "export.parquet",
    "webdataset": "export-webdataset",
    "csv": "export.csv",
}


class RowWriter(Protocol):
    """Writes one format. Blocking; used by one thread at a time."""

    @property
    def images(self) -> int: ...
    @property
    def missing(self) -> int: ...
    def write(self, images: Sequence[ResultRecord]) -> None:
        """Add *images*."""
        ...

    def close(self) -> None:
        """Complete the file."""
        ...


async def export_batch(
    directory: str | os.PathLike[str],
    *,
    to: ExportFormat,
    path: str | os.PathLike[str] | None = None,
    embed_images: bool = False,
    overwrite: bool = False,
    raw: bool = False,
    max_shard_bytes: int | None = None,
    picked: str | os.PathLike[str] | None = None,
) -> ExportReport:
    """
    Export the images of a batch, with their prompts and parameters, to a file for other programs.

    The columns are the fields of `results.jsonl`. The journal is read a thousand images at a time, even while a
    batch is running; the file appears under its name when it is complete.

    Args:
        directory: The batch's directory.
        to: `parquet`; `webdataset`: a directory of tar files with an image, its prompt and its fields for each
            sample; or `csv`.
        path: Where to write; by default `export.parquet` (shards: `export-parquet`), `export-webdataset` or `export.csv` in
            *directory*.
        embed_images: For Parquet: add a column `image` with the bytes, in the form of Hugging Face's `datasets`.
        overwrite: Replace an existing file; an existing directory is never replaced.
        raw: For CSV: write texts that begin like a formula (`=`, `+`, `-`, `@`, tab, carriage return) unchanged, for
            programs. Otherwise they get an apostrophe, because a spreadsheet would execute them.
        max_shard_bytes: Start a new shard once one has reached this size. Parquet is one file without it, and with it
            a directory of `000000.parquet` …; WebDataset has always shards, of 1 GB by default.
        picked: Only the images that this file of a gallery marks with 1 to 5.

    Raises:
        ConfigurationError: Parquet needs the extra `parquet`.
        JournalError: *directory* is not a batch directory, or its journal cannot be read.
        OutputError: *path* exists or cannot be written.
        ParameterError: The options contradict each other.
    """
    if to not in _NAMES:
        raise ParameterError(f"to must be one of {', '.join(_NAMES)}, not {to!r}.", parameter="to")
    if embed_images and to != "parquet":
        raise ParameterError(
            f"embed_images requires to='parquet': {to} "
            + ("has no column for bytes." if to == "csv" else "always holds the images."),
            parameter="embed_images",
        )
    if raw and to != "csv":
        raise ParameterError(f"raw requires to='csv': {to} has no formulas.", parameter="raw")
    if max_shard_bytes is not None and (to == "csv" or max_shard_bytes < 1):
        raise ParameterError(
            "max_shard_bytes requires to='parquet' or to='webdataset': CSV is one file."
            if to == "csv"
            else f"max_shard_bytes must be at least 1, not {max_shard_bytes}.",
            parameter="max_shard_bytes",
        )
    name = "export-parquet" if to == "parquet" and max_shard_bytes is not None else _NAMES[to]
    source = Path(directory)
    kept = None if picked is None else (await in_thread(read_picks, picked)).kept.keys()
    async with await Journal.open(source, service=None, read_only=True) as journal:
        if kept is not None:
            await _check_picked(journal, kept)
        target = await in_thread(lambda: Target(Path(path or source / name), overwrite=overwrite))
        writer: RowWriter | None = None
        try:
            with failing_as(target.path):
                writer = await in_thread(
                    lambda: _open(
                        to,
                        source,
                        target,
                        embed_images=embed_images,
                        raw=raw,
                        max_shard_bytes=max_shard_bytes,
                    )
                )
                async for images in journal.results(chunk=_CHUNK):
                    chosen = [image for image in images if kept is None or image.file in kept]
                    await in_thread(writer.write, chosen)
                await in_thread(writer.close)
                await in_thread(target.publish)
        except BaseException:
            with anyio.CancelScope(shield=True):
                await in_thread(_abandon, writer, target)
            raise
        size_bytes = await in_thread(lambda: target.size_bytes)
    return ExportReport(path=target.path, images=writer.images, missing=writer.missing, size_bytes=size_bytes)


async def _check_picked(journal: Journal, kept: Collection[str]) -> None:
    """Raise ParameterError where no image is picked, or one that the journal does not list."""
    if not kept:
        raise ParameterError("no image is picked with 1 to 5.", parameter="picked")
    if strange := len(kept) - len(await journal.recorded(list(kept))):
        raise ParameterError(
            f"{strange:,} of {len(kept):,} picked images are not in {journal.directory}.",
            parameter="picked",
            advice="Save the picks in the gallery of this batch.",
        )


def _open(
    to: ExportFormat,
    source: Path,
    target: Target,
    *,
    embed_images: bool,
    raw: bool,
    max_shard_bytes: int | None,
) -> RowWriter:
    """Open the writer of a format; load only its module."""
    match to:
        case "csv":
            from .csv_file import CsvWriter

            return CsvWriter(target.part, raw=raw)
        case "parquet":
            from .parquet import ParquetShards, ParquetWriter

            embedded = source if embed_images else None
            if max_shard_bytes is None:
                return ParquetWriter(target.part, embedded)
            return ParquetShards(target.part, embedded, max_shard_bytes)
        case "webdataset":
            from .webdataset import ShardWriter

            return ShardWriter(target.part, source, max_shard_bytes or _SHARD_BYTES)
        case _:
            assert_never(to)


def _abandon(writer: RowWriter | None, target: Target) -> None:
    if writer is not None:
        # Flushing fails again on a full disk; only the file has to be closed.
        with contextlib.suppress(Exception):
            writer.close()
    target.abandon()
