"""Write the pages: replace each file atomically, and only files of this package."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import attrs

from ..batch.journal import ModelTotals, Totals
from ..errors import OutputError
from ..transport.identity import SANDBOX
from .head import model_lines, span_text, tiles
from .page import GENERATOR, Page, render
from .spool import Spool

INDEX: Final = "index.html"

_WRITE_BYTES: Final = 1 << 20
_HEAD_BYTES: Final = 1_000


@attrs.frozen(kw_only=True)
class Summary:
    """
    What the head of every page says of a batch.

    Attributes:
        service: The service that made the images, as the journal names it.
        totals: The sums of its journal.
        models: The sums by model.
        first_at: When it began (seconds since the epoch); None if it never did.
        last_at: When the last of its requests changed.
    """

    service: str | None
    totals: Totals
    models: Sequence[ModelTotals]
    first_at: float | None
    last_at: float | None


def publish(folder: Path, spool: Spool, summary: Summary) -> list[Path]:
    """
    Write the pages of *spool* into *folder*, and remove those of an earlier, longer gallery.

    Args:
        folder: The batch's directory.
        spool: The entries.
        summary: What the head says.

    Returns:
        The paths of the pages, in order.

    Raises:
        OSError: A file cannot be written.
    """
    names = [INDEX, *(f"gallery-{number}.html" for number in range(2, spool.pages + 1))]
    # Write the first page last, so that its links work when it appears.
    for place in reversed(range(spool.pages)):
        page = Page(
            title=folder.resolve().name,
            service="the sandbox" if summary.service == SANDBOX else summary.service or "",
            span=span_text(summary.first_at, summary.last_at),
            tiles=tiles(summary.totals),
            models=model_lines(summary.models),
            entries=spool.lines(place),
            number=place + 1,
            names=names,
        )
        _write(folder / names[place], page)
    for stale in folder.glob("gallery-*.html"):
        if stale.name not in names and _is_ours(stale):
            stale.unlink()
    return [folder / name for name in names]


def check_free(folder: Path) -> None:
    """
    Check that the first page would replace only a page of this package.

    Raises:
        OutputError: There is an `index.html` that this package did not make.
    """
    index = folder / INDEX
    if index.exists() and not _is_ours(index):
        raise OutputError(
            f"{index} was not made by this package, so it is not replaced. Move it, then make the gallery again."
        )


def _write(target: Path, page: Page) -> None:
    partial = target.with_name(f".{target.name}.{os.getpid()}.partial")
    try:
        with partial.open(
            "w", encoding="utf-8", errors="replace", newline="\n", buffering=_WRITE_BYTES
        ) as file:
            file.writelines(render(page))
        partial.replace(target)
    finally:
        partial.unlink(missing_ok=True)


def _is_ours(page: Path) -> bool:
    with page.open("rb") as file:
        return f'content="{GENERATOR}"'.encode() in file.read(_HEAD_BYTES)
