"""The entry of a request on the page, as JSON values."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final, cast

from ..batch.journal import KeptImage, UnitRecord
from ..batch.states import State
from .thumbnails import Thumbnail

# Requests that are pending or in progress are only counted.
_WITHOUT_IMAGES: Final = (State.FAILED, State.UNKNOWN, State.LINKED)

_MAX_TEXT: Final = 300


def request_entry(record: UnitRecord, thumbnails: Sequence[Thumbnail]) -> dict[str, object]:
    """
    Build the entry of a request and its images.

    Args:
        record: The request.
        thumbnails: One thumbnail per image.
    """
    unit, row = record.unit, record.unit.row
    entry: dict[str, object] = {
        "id": unit.id,
        "at": round(record.updated_at),
        "name": unit.name,
        "prompt": row.prompt,
        "model": row.model,
        "route": row.route,
        "parameters": {name: _shown(value) for name, value in row.parameters.items()},
        "state": record.state.value,
        "cost_usd": record.cost_usd,
        "images": [
            _image_entry(kept, unit.first_index, thumbnail)
            for kept, thumbnail in zip(record.images, thumbnails, strict=True)
        ],
    }
    optional: dict[str, object] = {
        "key": row.key,
        "row": row.number,
        "metadata": _shown(row.metadata) or None,
        "took_s": None if record.took_s is None else round(record.took_s, 1),
        "n": unit.n,
        "part": f"{unit.part + 1} of {unit.parts}" if unit.parts > 1 else None,
        "request_id": record.request_id,
        "attempts": record.attempts if record.attempts > 1 else None,
    }
    if record.state is not State.DONE:
        optional["charge"] = record.charge.value if record.charge else None
        optional["error"] = record.error_type
        optional["reason"] = record.error_text
    return entry | {name: value for name, value in optional.items() if value is not None}


def card_count(record: UnitRecord) -> int:
    """Count the cards of a request: one per image, and one if it failed or is still open."""
    return len(record.images) + (record.state in _WITHOUT_IMAGES)


def _image_entry(kept: KeptImage, first_index: int, thumbnail: Thumbnail) -> dict[str, object]:
    image = kept.image
    entry: dict[str, object] = {
        "index": first_index + image.index,
        "file": image.file,
        "type": image.media_type,
        "bytes": image.bytes,
        "cost_usd": kept.cost_usd,
    }
    if thumbnail.file is not None:
        entry["thumbnail"] = thumbnail.file
    else:
        entry["fault"] = thumbnail.fault
    if image.width and image.height:
        entry |= {"width": image.width, "height": image.height}
    return entry


def _shown(value: object) -> object:
    """Shorten long texts in *value*, such as the data URLs of reference images."""
    if isinstance(value, str) and len(value) > _MAX_TEXT:
        return f"{value[:60]}… ({len(value):,} characters)"
    if isinstance(value, Mapping):
        return {name: _shown(inner) for name, inner in cast("Mapping[str, object]", value).items()}
    if isinstance(value, list | tuple):
        return [_shown(inner) for inner in cast("Sequence[object]", value)]
    return value
