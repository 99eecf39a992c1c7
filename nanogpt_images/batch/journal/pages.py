"""What a journal holds, read from end to end in chunks: every unit with its images, or every image."""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterator
from typing import Final, TypeAlias

from ...errors import Charge
from ...money.nano import to_usd
from ..outcomes import ImageRecord
from ..states import State
from .database.store import Store
from .queries import TOOK_S, UNIT_COLUMNS, UNIT_WIDTH, RawUnit, read_unit
from .records import KeptImage, ResultRecord, UnitRecord

_Record: TypeAlias = tuple[
    *RawUnit, int, str, str, int | None, str | None, str | None, str | None, int, int, float, float | None
]
_ImageRecord: TypeAlias = tuple[int, int, str, str, int | None, int | None, int, str, int]
_ResultRow: TypeAlias = tuple[str, int, str | None, str, str, int | None, int | None, int, str, int, int]

_UNITS: Final = (
    f"SELECT {UNIT_COLUMNS}, seq, state, charge, owner, error_type, error_text, request_id,"  # noqa: S608
    f" cost_nano + reserved_nano, attempts, updated_at, {TOOK_S} FROM unit WHERE seq > ? ORDER BY seq LIMIT ?"
)
_IMAGES: Final = (
    "SELECT unit, idx, file, media_type, width, height, bytes, sha256, cost_nano FROM image"
    " WHERE unit > ? AND unit <= ? ORDER BY unit, attempt, idx"
)

_RESULTS: Final = (
    "SELECT unit.row, unit.first_index + idx, unit.request_id, file, media_type, width, height, bytes, sha256,"
    " image.cost_nano, image.rowid FROM image JOIN unit ON unit.seq = image.unit"
)


def units(store: Store, after: int, limit: int) -> tuple[list[UnitRecord], int]:
    """
    Read units in the order of admission.

    Args:
        store: The journal.
        after: 0, or what the previous call returned.
        limit: How many at most.

    Returns:
        The units, and where the next call continues; no units at the end.
    """
    found = store.connection.execute(_UNITS, (after, limit)).fetchall()
    if not found:
        return [], after
    last = found[-1][UNIT_WIDTH]
    kept = dict(_images(store, after, last))
    return [_record(store, record, kept.get(record[UNIT_WIDTH], ())) for record in found], last


def _images(store: Store, after: int, last: int) -> Iterator[tuple[int, tuple[KeptImage, ...]]]:
    records = store.connection.execute(_IMAGES, (after, last))
    for seq, group in itertools.groupby(records, key=lambda record: record[0]):
        yield seq, tuple(map(_image, group))


def _image(record: _ImageRecord) -> KeptImage:
    _, index, file, media_type, width, height, size, sha256, cost_nano = record
    image = ImageRecord(
        index=index,
        file=file,
        media_type=media_type,
        width=width,
        height=height,
        bytes=size,
        sha256=sha256,
    )
    return KeptImage(image=image, cost_nano=cost_nano)


def _record(store: Store, record: _Record, images: tuple[KeptImage, ...]) -> UnitRecord:
    _, state_text, charge, owner, error_type, error_text, request_id, nano, attempts, at, took_s = record[
        UNIT_WIDTH:
    ]
    state = State(state_text)
    if state is State.SENT and owner in store.members.gone:
        # A reader records nothing, so what a dead process had sent still stands as sent.
        state, charge = State.UNKNOWN, Charge.UNKNOWN.value
    return UnitRecord(
        unit=read_unit(record[:UNIT_WIDTH]),
        state=state,
        charge=Charge(charge) if charge else None,
        error_type=error_type,
        error_text=error_text,
        request_id=request_id,
        cost_nano=nano,
        attempts=attempts,
        images=images,
        updated_at=at,
        took_s=took_s,
    )


def results(store: Store, after: int, limit: int) -> tuple[list[ResultRecord], int]:
    """
    Read the images on disk, in the order in which they came.

    Args:
        store: The journal.
        after: 0, or what the previous call returned.
        limit: How many at most.

    Returns:
        The images, and where the next call continues; no images at the end.
    """
    found = store.connection.execute(
        f"{_RESULTS} WHERE image.rowid > ? ORDER BY image.rowid LIMIT ?", (after, limit)
    ).fetchall()
    return [_result(record) for record in found], found[-1][-1] if found else after


def result_of(store: Store, file: str) -> ResultRecord | None:
    """Find the image in *file*, a path relative to the directory; None where the journal does not list it."""
    found = store.connection.execute(f"{_RESULTS} WHERE file = ?", (file,)).fetchone()
    return None if found is None else _result(found)


def _result(record: _ResultRow) -> ResultRecord:
    row, index, request_id, file, media_type, width, height, size, sha256, cost_nano, _ = record
    # Not through BatchRow: its checks, made when the row was admitted, would take most of the time of an export.
    fields = json.loads(row)
    return ResultRecord(
        key=fields["key"],
        index=index,
        prompt=fields["prompt"],
        model=fields["model"],
        parameters=fields["parameters"],
        row=fields.get("number"),
        metadata=fields.get("metadata", {}),
        file=file,
        media_type=media_type,
        width=width,
        height=height,
        bytes=size,
        sha256=sha256,
        cost_usd=to_usd(cost_nano),
        request_id=request_id,
    )
