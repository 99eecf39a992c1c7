"""
HTML for images, results, models and reports in a notebook. Needs no extra; Pillow, if installed, makes thumbnails.

No request is made: an image that is only a URL is not downloaded. A page stays small: images up to a limit are
embedded unchanged, larger ones as thumbnails, or without Pillow as a line of text. All text is escaped.
"""

from __future__ import annotations

import base64
import importlib.util
from collections.abc import Iterable, Mapping, Sequence
from functools import singledispatch
from html import escape
from io import BytesIO
from pathlib import Path
from typing import Final

from ..batch.events import BatchFailure, BatchReport
from ..types.model import Listing, ModelRecord, Models
from ..types.result import ImageData, ResultData

EMBED_BYTES: Final = 512 * 1024
"""Maximum size of an image in the page, as base64; a larger one becomes a thumbnail."""
PAGE_BYTES: Final = 4 * 2**20
"""Maximum size of all images of one object together, as base64."""
_LARGE, _SMALL = 512, 160
_SHOWN_MODELS: Final = 50
_SHOWN_FAILURES: Final = 10
_CELL: Final = "margin:0;font-size:smaller;overflow-wrap:anywhere"
_SHEET: Final = "display:flex;flex-wrap:wrap;gap:8px;align-items:flex-end"


@singledispatch
def html_of(shown: object) -> str:
    """Render *shown* as HTML."""
    return f"<pre>{escape(repr(shown))}</pre>"


@html_of.register
def _(shown: ImageData) -> str:
    return _figures([shown], _LARGE)


@html_of.register
def _(shown: ResultData) -> str:
    images: Sequence[ImageData] = getattr(shown, "images", ())
    facts = {
        "model": shown.model,
        "prompt": shown.prompt,
        "cost": _cost(shown),
        "request": shown.request_id,
        "note": "; ".join(shown.problems),
    }
    return _figures(images, _LARGE if len(images) == 1 else _LARGE // 2) + _table(facts)


@html_of.register
def _(shown: BatchReport) -> str:
    numbers = {
        "images": f"{shown.images:,}",
        "requests": f"{shown.requests:,}",
        "cost": f"${shown.cost_usd:g}",
        "not in USD": ", ".join(f"{amount:g} {name}" for name, amount in shown.other_costs.items()),
        "skipped": _some(shown.skipped),
        "failed": _some(shown.failed),
        "unknown": f"{shown.unknown:,}, up to ${shown.unknown_usd:g}" if shown.unknown else None,
        "open downloads": _some(shown.open_downloads),
        "stopped": None if shown.stopped is None else str(shown.stopped),
    }
    return _table(numbers) + _failures(shown.failures) + _figures(shown.samples, _SMALL)


@html_of.register
def _(shown: ModelRecord) -> str:
    return _table(
        {
            "model": shown.id,
            "name": shown.name.strip(),
            "price of an image": _price(shown),
            "images per request": str(shown.count_rule),
            "resolutions": ", ".join(shown.resolutions),
            "aspect ratios": ", ".join(shown.aspect_ratios),
            "qualities": ", ".join(shown.qualities),
            "parameters": ", ".join(sorted(shown.parameters)),
            "description": shown.description,
        }
    )


@html_of.register(Listing)
@html_of.register(Models)
def _(shown: Sequence[ModelRecord]) -> str:
    names = ("model", "images per request", "resolutions", "price of an image")
    return _rows(names, map(_cells, shown[:_SHOWN_MODELS]), left=len(shown) - _SHOWN_MODELS)


def _failures(failures: Sequence[BatchFailure]) -> str:
    if not failures:
        return ""
    names = ("not done", "why", "code", "model", "such as", "what it says")
    cells = (
        (f"{found.count:,}", found.error, found.code or "", found.model, found.key, found.text)
        for found in failures[:_SHOWN_FAILURES]
    )
    return _rows(names, cells, left=len(failures) - _SHOWN_FAILURES)


def _rows(names: Sequence[str], rows: Iterable[Sequence[str]], *, left: int) -> str:
    """Render a table with a header; *left* rows are only counted."""
    header = "".join(f"<th>{name}</th>" for name in names)
    cell = '<td style="text-align:left">'
    body = "".join(f"<tr>{''.join(f'{cell}{escape(text)}</td>' for text in row)}</tr>" for row in rows)
    more = f"<p>and {left:,} more</p>" if left > 0 else ""
    return f"<table><tr>{header}</tr>{body}</table>{more}"


def _cells(record: ModelRecord) -> tuple[str, str, str, str]:
    return record.id, str(record.count_rule), ", ".join(record.resolutions), _price(record) or ""


def _price(model: ModelRecord) -> str | None:
    bounds = model.price_bounds()
    if bounds is None:
        return None
    low, high = (f"{price:g} {model.prices.currency}" for price in bounds)
    return low if low == high else f"{low} to {high}"


def _cost(result: ResultData) -> str | None:
    if result.cost_usd is not None:
        return f"${result.cost_usd:g}"
    return None if result.cost is None else f"{result.cost.amount:g} {result.cost.currency}"


def _some(number: int) -> str | None:
    return f"{number:,}" if number else None


def _table(facts: Mapping[str, str | None]) -> str:
    rows = "".join(
        f'<tr><th style="text-align:left">{escape(name)}</th><td style="text-align:left">{escape(value)}</td></tr>'
        for name, value in facts.items()
        if value
    )
    return f"<table>{rows}</table>"


def _figures(images: Iterable[ImageData], max_px: int) -> str:
    figures: list[str] = []
    left = PAGE_BYTES
    for image in images:
        source = _source(image, max_px, min(left, EMBED_BYTES))
        left -= len(source or "")
        caption = escape(_caption(image, embedded=source is not None))
        picture = f'<img src="{source}" alt="" style="max-width:{max_px}px;max-height:{max_px}px">'
        figures.append(
            f'<figure style="margin:0;max-width:{max_px}px">{picture if source else ""}'
            f'<figcaption style="{_CELL}">{caption}</figcaption></figure>'
        )
    return f'<div style="{_SHEET}">{"".join(figures)}</div>' if figures else ""


def _caption(image: ImageData, *, embedded: bool) -> str:
    parts = [image.path.name] if image.path is not None else []
    if image.width and image.height:
        parts.append(f"{image.width} x {image.height}")
    if not embedded and image.data is None and image.path is None:
        parts.append("not downloaded; save() or read() does")
    elif not embedded:
        parts += [image.media_type or "unknown format", f"{image.size_bytes or 0:,} bytes, not shown"]
    return " · ".join(parts)


def _source(image: ImageData, max_px: int, max_bytes: int) -> str | None:
    """Return a data URL of the image if it is small enough, else of a thumbnail; None if neither is available."""
    source = image.path if image.data is None else image.data
    if image.media_type is None or source is None:
        return None
    most = max_bytes * 3 // 4  # base64 makes four characters of three bytes
    try:
        if (len(source) if isinstance(source, bytes) else source.stat().st_size) <= most:
            return _data_url(image.media_type, source if isinstance(source, bytes) else source.read_bytes())
        thumbnail = _thumbnail(source, max_px)
    except OSError:
        return None
    return None if thumbnail is None or len(thumbnail) > most else _data_url("image/webp", thumbnail)


def _data_url(media_type: str, data: bytes) -> str:
    return f"data:{escape(media_type)};base64,{base64.b64encode(data).decode()}"


def _thumbnail(source: bytes | Path, max_px: int) -> bytes | None:
    if importlib.util.find_spec("PIL") is None:
        return None
    from PIL import Image

    file = BytesIO()
    try:
        with Image.open(BytesIO(source) if isinstance(source, bytes) else source) as opened:
            # A JPEG much larger than the thumbnail is decoded at a reduced size.
            opened.draft(None, (max_px * 2, max_px * 2))
            opened.thumbnail((max_px, max_px))
            opened.convert("RGBA").save(file, "WEBP")
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError, Image.DecompressionBombWarning):
        return None
    return file.getvalue()
