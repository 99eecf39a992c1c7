"""Jobs with real image files and a real journal, made without any service."""

from __future__ import annotations

import hashlib
import struct
import zlib
from collections.abc import Awaitable, Callable, Sequence
from io import BytesIO
from pathlib import Path
from typing import Any, TypeAlias

import anyio
import attrs
import pytest
from PIL import Image

from nanogpt_images.batch.journal import ImageRecord, Journal, SignedUrl
from nanogpt_images.batch.outcomes import Done, Failed, Linked
from nanogpt_images.batch.rows import BatchRow
from nanogpt_images.errors import Charge
from nanogpt_images.types.parameters import CountRule

HOSTILE = {
    "script": "</script><script>globalThis.pwned = 1; alert(1)</script>",
    "comment": "<!--<script>alert(2)",
    "handler": '"><img src=x onerror="globalThis.pwned = 2"> & \'quotes\' &lt;b&gt;',
    "template": "{{ 7 * 7 }} {% raw %} ${7 * 7}",
    "right-to-left": "ثعلب أحمر في الثلج \u202e abc",
    "emoji": "a fox 🦊👩‍👩‍👧 in the snow ❄️",
    "lines": "first line\nsecond line\r\n\tthird \u2028 fourth",
    "long": ("very " * 800)[:3_990] + "long fox 🦊",
}
"""Prompts that a careless page would run, break or cut."""


@attrs.frozen(kw_only=True)
class Row:
    """
    A row of a job, and how it ended: `done` where nothing else is said.

    Attributes:
        prompt: Its prompt.
        ending: A charge makes it failed or unknown, "linked" leaves its download open, "pending" does not send it.
        files: Contents of its images; by default one picture for each that was asked for.
        fields: Further fields of the row.
    """

    prompt: str
    ending: Charge | str | None = None
    files: Sequence[bytes] | None = None
    media_type: str = "image/png"
    size: tuple[int, int] | None = (48, 32)
    fields: dict[str, Any] = attrs.field(factory=dict)


MakeJob: TypeAlias = Callable[[Sequence[Row]], Awaitable[Path]]


def picture(width: int = 48, height: int = 32, colour: object = (180, 70, 30), kind: str = "PNG") -> bytes:
    """An image file of one colour."""
    buffer = BytesIO()
    Image.new("RGB", (width, height), colour).save(buffer, kind)
    return buffer.getvalue()


def bomb(width: int = 100_000, height: int = 100_000) -> bytes:
    """A PNG file of some hundred bytes that claims to be as large as this."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + header + chunk(b"IDAT", zlib.compress(bytes(100))) + chunk(b"IEND", b"")


@pytest.fixture
def make_job(tmp_path: Path) -> MakeJob:
    """Writes a job into a directory and gives it back."""

    async def make(rows: Sequence[Row]) -> Path:
        return await write_job(tmp_path / "job", rows)

    return make


async def write_job(out: Path, rows: Sequence[Row]) -> Path:
    """Write a job of *rows* into *out*."""
    (out / "images").mkdir(parents=True)
    async with await Journal.open(out, service="sandbox", fsync_images=False) as journal:
        admissions = await journal.admit([_admitted(row) for row in rows])
        async with anyio.create_task_group() as group:
            for place, (row, admission) in enumerate(zip(rows, admissions, strict=True)):
                if row.ending != "pending":
                    group.start_soon(_end, journal, out, admission.unit, row, place)
    return out


def _admitted(row: Row) -> tuple[BatchRow, CountRule]:
    fields = {"model": "gpt-image-2", **row.fields}
    return BatchRow(row.prompt, **fields), CountRule(maximum=fields.get("count", 1))


async def _end(journal: Journal, out: Path, unit: Any, row: Row, place: int) -> None:
    await journal.sent(unit.id, 50_000_000)
    request_id = f"req-{place}"
    images = _write(out, unit, row, place)
    if isinstance(row.ending, Charge):
        await journal.record(
            unit.id,
            Failed(
                charge=row.ending,
                error_type="ContentPolicyError" if row.ending is Charge.REJECTED else "OutcomeUnknownError",
                error_text=f"it went wrong: {row.prompt[:40]}",
                images=images if row.files else [],
                request_id=request_id,
            ),
        )
    elif row.ending == "linked":
        await journal.record(
            unit.id,
            Linked(links=[SignedUrl(index=0, url="https://files.invalid/secret")], request_id=request_id),
        )
    else:
        await journal.record(unit.id, Done(images=images, cost_nano=40_000_000, request_id=request_id))


def _write(out: Path, unit: Any, row: Row, place: int) -> list[ImageRecord]:
    files = row.files
    if files is None:
        width, height = row.size or (48, 32)
        files = [
            picture(width, height, (40 + place * 37 % 200, 90, 60 + index * 50))
            for index in range(unit.images)
        ]
    stored = []
    for index, data in enumerate(files):
        suffix = row.media_type.partition("/")[2].partition("+")[0]
        name = f"images/{unit.image_stem(index)}.{suffix}"
        (out / name).write_bytes(data)
        stored.append(
            ImageRecord(
                index=index,
                file=name,
                media_type=row.media_type,
                width=row.size[0] if row.size else None,
                height=row.size[1] if row.size else None,
                bytes=len(data),
                sha256=hashlib.sha256(data).hexdigest(),
            )
        )
    return stored
