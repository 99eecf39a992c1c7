"""`gallery`: a batch as a page for people."""

from __future__ import annotations

from pathlib import Path

import click

from ...gallery import Gallery, require_gallery, write_gallery
from .. import common as _common
from ..client import run_async
from ..gallery_page import gallery_progress
from ..job import require_journal
from ..output import count, note, say_fields, say_json


@_common.verb("gallery", example="gallery out --open")
@_common.directory
@click.option("--open", "launch", is_flag=True, help="Open the page in a browser.")
@_common.quiet
def command(directory: str, launch: bool, quiet: bool, base_url: str | None, as_json: bool) -> int:
    """
    Write DIR/index.html: the images of the batch in DIR, with prompts, costs and failures.

    The page opens from disk and needs no network. Thumbnails are made once and kept in DIR/thumbnails.
    The batch may be running; nothing is sent.
    """
    del base_url
    folder = Path(directory)
    require_journal(folder)
    require_gallery()
    with gallery_progress(silent=quiet or as_json) as progress:
        gallery = run_async(lambda: write_gallery(folder, on_progress=progress))
    if as_json:
        say_json(_document(gallery))
    else:
        _print(gallery)
    if launch and click.launch(str(gallery.index.resolve())):
        note(f"{gallery.index} could not be opened; open it in a browser")
    return 0


def _print(gallery: Gallery) -> None:
    pages = len(gallery.pages)
    say_fields(
        {
            "gallery": [str(gallery.index), *([f"{count(pages, 'page')}"] if pages > 1 else [])],
            "images": count(gallery.images, "image"),
            "thumbnails": f"{gallery.thumbnails_made:,} made now",
            "not shown": f"{gallery.not_shown:,}; too large, broken or missing" if gallery.not_shown else "",
        }
    )


def _document(gallery: Gallery) -> dict[str, object]:
    return {
        "gallery": str(gallery.index),
        "pages": [str(page) for page in gallery.pages],
        "images": gallery.images,
        "not_shown": gallery.not_shown,
        "thumbnails_made": gallery.thumbnails_made,
    }
