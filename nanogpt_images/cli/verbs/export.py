"""`export`: the images of a batch as one file for other programs."""

from __future__ import annotations

from pathlib import Path

import attrs
import click

from ...export import ExportFormat, ExportReport, export_batch
from .. import common as _common
from ..client import run_async
from ..errors import FAILED
from ..job import require_journal
from ..output import count, note, one_line, say, say_json, size


@_common.verb("export", example="export out --to parquet -o foxes.parquet --embed-images")
@_common.directory
@click.option(
    "--to",
    required=True,
    type=click.Choice(["parquet", "webdataset", "csv"]),
    help="webdataset makes a directory of tar files, the others one file.",
)
@click.option("-o", "--out", metavar="PATH", help="Where to write; DIR/export.parquet and so on.")
@click.option("--embed-images", is_flag=True, help="Parquet with the images in it, not just their names.")
@click.option(
    "--raw", is_flag=True, help="CSV with texts as they are, also those that spreadsheets take for formulas."
)
@click.option(
    "--picked", metavar="FILE", help="Only images picked with 1 to 5: FILE is what the gallery saves."
)
@click.option("--overwrite", is_flag=True, help="Replace a file of that name.")
def command(
    directory: str,
    to: ExportFormat,
    out: str | None,
    embed_images: bool,
    raw: bool,
    picked: str | None,
    overwrite: bool,
    base_url: str | None,
    as_json: bool,
) -> int:
    """
    Write the images of the batch in DIR to one file that other programs read. Nothing is sent.

    The exit code is 1 where images are not on disk any more.
    """
    del base_url
    require_journal(Path(directory))
    report = run_async(
        lambda: export_batch(
            directory,
            to=to,
            path=out,
            embed_images=embed_images,
            overwrite=overwrite,
            raw=raw,
            picked=picked,
        )
    )
    if as_json:
        say_json(attrs.asdict(report))
    else:
        _print(report)
    return FAILED if report.missing else 0


def _print(report: ExportReport) -> None:
    say(f"{one_line(str(report.path))}  {count(report.images, 'image')}  {size(report.size_bytes)}")
    if report.missing:
        note(f"note: {count(report.missing, 'image')} of the journal are not on disk any more")
