"""Faults that alter the body of a success."""

from __future__ import annotations

import base64
import struct
import zlib
from collections.abc import Callable, Mapping
from typing import cast

import attrs

from ..http.payload import Payload, Pieces, b64_entry
from ..http.responses import Response


def altered(kind: str, payload: Payload) -> Response:
    """Return the answer with *payload*, altered by a fault of the stage PAYLOAD."""
    if kind in _ALTERATIONS:
        _ALTERATIONS[kind](payload)
    answer = payload.answer()
    if kind == "event_stream":
        return event_stream(answer)
    return truncated(answer) if kind == "truncated_json" else answer


def truncated(answer: Response) -> Response:
    """Cut off the second half of the body, and keep *answer* complete HTTP."""
    body = b"".join(answer.body)
    return attrs.evolve(answer, body=(body[: len(body) // 2],))


def _each_entry(payload: Payload, change: Callable[[Pieces], Pieces]) -> None:
    payload.data = [change(entry) for entry in payload.data or []]


def _each_base64(payload: Payload, change: Callable[[bytes], bytes]) -> None:
    _each_entry(payload, lambda entry: b64_entry(change(entry[1])) if len(entry) == 3 else entry)


def _huge_dimensions(payload: Payload) -> None:
    header = b"IHDR" + struct.pack(">IIBBBBB", 100_000, 100_000, 8, 2, 0, 0, 0)
    png = b"\x89PNG\r\n\x1a\n" + struct.pack(">I", 13) + header + struct.pack(">I", zlib.crc32(header))
    _each_entry(payload, lambda _: b64_entry(base64.b64encode(png)))


def _null_fields(payload: Payload) -> None:
    payload.fields |= {"created": None, "cost": None, "remainingBalance": None, "paymentSource": None}
    _each_entry(payload, lambda entry: _with(entry, b'"url":null' if len(entry) == 3 else b'"b64_json":null'))


def _with(entry: Pieces, field: bytes) -> Pieces:
    """Add *field*, given as JSON, to *entry*."""
    return (*entry[:-1], entry[-1][:-1], b",", field, b"}")


def _unknown_fields(payload: Payload) -> None:
    payload.fields |= {"apiVersion": 7, "usage": {"b64_json": "not here", "steps": [1, [2, {"three": None}]]}}
    meta = b'"meta":{"nsfw":false,"list":[[],{}]}'
    _each_entry(payload, lambda entry: _with(entry, meta))


def _data_last(payload: Payload) -> None:
    payload.data_last = True
    _each_base64(payload, lambda text: text.replace(b"/", b"\\/"))
    _each_entry(payload, lambda entry: (b"\n  ", *entry, b"\n"))


def _broken_image(payload: Payload) -> None:
    first, *others = payload.data or []
    payload.data = [b64_entry(first[1][:40] + b"!*% " + first[1][44:]), *others]


def _task_id(payload: Payload) -> None:
    payload.data = None
    payload.fields = {"task_id": "task-1f7c", "status": "pending"}


def event_stream(answer: Response) -> Response:
    """Convert *answer* to two server-sent events: progress, then the images."""
    progress = b'event: image_generation.in_progress\ndata: {"type":"image_generation.in_progress"}\n\n'
    completed = b"event: image_generation.completed\ndata: "
    body = (progress, completed, *answer.body, b"\n\n")
    return attrs.evolve(answer, body=body, content_type="text/event-stream")


def _text_money(payload: Payload) -> None:
    for field in ("cost", "remainingBalance"):
        payload.fields[field] = str(payload.fields[field])


def _take_money(payload: Payload) -> tuple[object, object]:
    return payload.fields.pop("cost"), payload.fields.pop("remainingBalance")


def _header_money(payload: Payload) -> None:
    cost, balance = _take_money(payload)
    payload.headers |= {"x-cost": str(cost), "x-remaining-balance": str(balance)}


def _nano_money(payload: Payload) -> None:
    cost, _ = _take_money(payload)
    payload.fields["paymentSource"] = "XNO"
    payload.headers["x-nano-cost"] = str(cost)


def _other_currency(payload: Payload) -> None:
    payload.fields["cost"] = round(cast("float", payload.fields["cost"]) * 40, 9)
    payload.fields |= {"paymentSource": "XNO", "currency": "XNO"}


def _milliseconds(payload: Payload) -> None:
    payload.fields["created"] = cast("int", payload.fields["created"]) * 1000


def _nulls_around(payload: Payload) -> None:
    payload.data = [(b"null",), *(payload.data or []), (b"null",)]


_PREFIX = b"data:image\\/png;base64,"
_ALTERATIONS: Mapping[str, Callable[[Payload], object]] = {
    "garbage_base64": lambda payload: _each_base64(payload, lambda text: text[:40] + b"!*% " + text[44:]),
    "truncated_base64": lambda payload: _each_base64(payload, lambda text: text[: len(text) // 8 * 4 + 1]),
    "broken_image": _broken_image,
    "empty_image": lambda payload: setattr(payload, "data", [*(payload.data or [])[:-1], b64_entry(b"")]),
    "unpadded_base64": lambda payload: _each_base64(payload, lambda text: text.rstrip(b"=")),
    "urlsafe_base64": lambda payload: _each_base64(
        payload, lambda text: text.replace(b"+", b"-").replace(b"/", b"_")
    ),
    "data_url": lambda payload: _each_base64(payload, lambda text: _PREFIX + text),
    "data_url_in_url": lambda payload: _each_entry(
        payload, lambda entry: (b'{"url":"', _PREFIX + entry[1], b'"}')
    ),
    "task_id": _task_id,
    "wrong_content_type": lambda payload: setattr(payload, "content_type", "text/plain"),
    "zero_images": lambda payload: setattr(payload, "data", []),
    "missing_data": lambda payload: setattr(payload, "data", None),
    "not_an_image": lambda payload: _each_entry(
        payload, lambda _: b64_entry(base64.b64encode(b"This is not an image. " * 8))
    ),
    "huge_dimensions": _huge_dimensions,
    "null_entries": _nulls_around,
    "null_fields": _null_fields,
    "unknown_fields": _unknown_fields,
    "data_last": _data_last,
    "millisecond_created": _milliseconds,
    "decimal_string_money": _text_money,
    "header_money": _header_money,
    "other_currency": _other_currency,
    "nano_money": _nano_money,
    "no_money": _take_money,
}
