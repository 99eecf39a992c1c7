"""`export`: the images of a batch as one file for other programs."""

from __future__ import annotations

from pathlib import Path

import click

from ...export import ExportFormat, ExportReport, export_batch, export_failed
from .. import common as _common
from ..client import run_async
from ..errors import FAILED
from ..job import require_journal
from ..output import count, note, one_line, say, say_json, size


@_common.verb("export", example="export out --to parquet -o foxes.parquet --embed-images")
@_common.directory
@click.option(
    "--to",
    type=click.Choice(["parquet", "webdataset", "csv"]),
    help="Format: webdataset makes a directory of tar files, the others one file.",
)
@click.option(
    "--failed",
    is_flag=True,
    help="Write the rows that failed instead, as a manifest for 'batch'.",
)
@click.option(
    "-o", "--out", metavar="PATH", help="File or directory to write (default: DIR/export.parquet and so on)."
)
@click.option(
    "--shard-mb",
    type=click.IntRange(min=1),
    metavar="MB",
    help="Split Parquet into files of about this size, or set the size of WebDataset's (default: 1,000).",
)
@click.option(
    "--embed-images", is_flag=True, help="Put the images themselves into Parquet, not only their names."
)
@click.option(
    "--raw", is_flag=True, help="Leave CSV texts as they are, also those that spreadsheets take for formulas."
)
@click.option(
    "--picked", metavar="FILE", help="Write only images picked with 1 to 5 in FILE, which the gallery saves."
)
@click.option("--overwrite", is_flag=True, help="Replace an existing file of that name.")
def command(
    directory: str,
    to: ExportFormat | None,
    failed: bool,
    out: str | None,
    shard_mb: int | None,
    embed_images: bool,
    raw: bool,
    picked: str | None,
    overwrite: bool,
    base_url: str | None,
    as_json: bool,
) -> int:
    """
    Write the images of the batch in DIR, or with --failed its failed rows, for other programs. Nothing is sent.

    The exit code is 1 where images are no longer on disk.
    """
    del base_url
    if failed is (to is not None):
        raise click.UsageError(
            "say what to export: --to FORMAT or --failed, one of the two.", click.get_current_context()
        )
    require_journal(Path(directory))
    report = run_async(
        lambda: (
            export_failed(directory, path=out, overwrite=overwrite)
            if to is None
            else export_batch(
                directory,
                to=to,
                path=out,
                embed_images=embed_images,
                overwrite=overwrite,
                raw=raw,
                picked=picked,
                max_shard_bytes=None if shard_mb is None else shard_mb * 10**6,
            )
        )
    )
    if as_json:
        say_json(report.to_dict())
    else:
        _print(report, "image" if to is not None else "failed row")
    return FAILED if report.missing else 0


def _print(report: ExportReport, what: str) -> None:
    say(f"{one_line(str(report.path))}  {count(report.images, what)}  {size(report.size_bytes)}")
    if report.missing:
        note(f"note: {count(report.missing, 'image')} of the journal are not on disk any more")
