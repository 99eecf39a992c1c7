"""An answer of success, its images already cut out → typed facts."""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Mapping
from datetime import datetime
from typing import Final, cast
from urllib.parse import unquote_to_bytes

import attrs

from .._base.display import shown_url
from ..money.nano import MAX_REQUEST_USD, MAX_USD
from ..types.prices import Cost
from .b64text import RefusedError, decoded
from .convert import Json, as_object, as_objects, as_text, as_time, as_usd
from .failures import COST_HEADERS, moderation_usd

_NONE_BROKEN: Final[Mapping[int, str]] = {}
_BALANCE_HEADERS: Final = ("x-remaining-balance",)
# The backslash of an escape that JSON does not know, once those that stand for themselves are out of the way.
_UNKNOWN_ESCAPE: Final = re.compile(r'\\(?!["/bfnrt]|u[0-9A-Fa-f]{4})')
_BACKSLASH: Final = "\udc00"  # in no decoded text


@attrs.frozen(kw_only=True)
class AnswerEntry:
    """
    One entry of `data` that holds an image.

    Attributes:
        index: Its place in `data`.
        url: Its signed URL; None when its bytes came in the body.
        data: Its bytes, where they stood in `url` and were not cut out of the body.
        extra: What else the entry holds, such as `revised_prompt`.
    """

    index: int
    url: str | None = attrs.field(default=None, repr=lambda url: repr(url and shown_url(url)))
    data: bytes | None = attrs.field(default=None, repr=False)
    extra: Json = attrs.field(factory=dict[str, object])


@attrs.frozen(kw_only=True)
class Answer:
    """
    What a success says beside its images. Every field but `entries` may be missing on the wire.

    Attributes:
        cost_usd: The cost, where it is stated in USD.
        other_cost: The cost, where it is stated in another currency.
        problems: What is wrong with images that came and cannot be used, in words.
        task_id: ID of a task to be polled, where the service gives one.
    """

    entries: tuple[AnswerEntry, ...]
    created: datetime | None = None
    cost_usd: float | None = None
    other_cost: Cost | None = None
    payment_source: str | None = None
    remaining_balance: float | None = None
    request_id: str | None = None
    problems: tuple[str, ...] = ()
    task_id: str | None = None
    extra: Json = attrs.field(factory=dict[str, object])

    @property
    def cost(self) -> Cost | None:
        """The cost as it came."""
        return self.other_cost or (None if self.cost_usd is None else Cost(self.cost_usd))


def decode_answer(
    rest: bytes,
    headers: Mapping[str, str],
    received: Collection[int],
    broken: Mapping[int, str] = _NONE_BROKEN,
) -> Answer:
    """
    Decode the facts of a success.

    Its images are paid for, so a fault within a text, such as a character cut in two, costs that text and no image.

    Args:
        rest: The body without its images.
        headers: The answer's headers, where money and the request's ID may stand instead.
        received: Indices in `data` whose bytes were cut out of the body.
        broken: Why an image of the body cannot be used, by its index.

    Raises:
        ValueError: *rest* is not JSON.

    Source: docs/service.md, "Generate, OpenAI-compatible", "Response"; docs/service.md, "The answer to a generation".
    """
    body = as_object(_tolerant(rest))
    known = {"created", "data", "cost", "paymentSource", "remainingBalance"}
    amount = as_usd(body.get("cost"), most=MAX_REQUEST_USD)
    if amount is None:
        amount = _header_usd(headers, COST_HEADERS, most=MAX_REQUEST_USD)
    balance = as_usd(body.get("remainingBalance"))
    entries, undecoded = _entries(body.get("data"), received)
    broken = {**broken, **undecoded}
    usable = {entry.index for entry in entries}
    cost = None if amount is None else Cost(amount, currency_of(body))
    cost_usd = None if cost is None else cost.usd
    if cost_usd is not None and (check_usd := moderation_usd(headers)) is not None:
        # Assumption: `cost` is that of the images, and the check comes on top.
        cost_usd = round(cost_usd + check_usd, 12)
    return Answer(
        entries=entries,
        problems=tuple(
            f"image {index} cannot be used: {reason}"
            for index, reason in sorted(broken.items())
            if index not in usable
        ),
        task_id=_task_id(body),
        created=as_time(body.get("created")),
        cost_usd=cost_usd,
        other_cost=None if cost is None or cost.currency == "USD" else cost,
        payment_source=as_text(body.get("paymentSource")),
        remaining_balance=_header_usd(headers, _BALANCE_HEADERS) if balance is None else balance,
        request_id=headers.get("X-Request-ID") or as_text(body.get("requestId")),
        extra={name: value for name, value in body.items() if name not in known},
    )


def _tolerant(text: bytes) -> object:
    """
    Parse JSON *text*, whatever its strings hold: undecodable bytes, control characters, unknown escapes.

    Raises:
        ValueError: Its structure is not that of JSON.
    """
    spelt = text.decode("utf-8-sig", "replace")
    try:
        return json.loads(spelt, strict=False)
    except ValueError:
        # A backslash outside a string stays an error.
        spelt = _UNKNOWN_ESCAPE.sub(r"\\\\", spelt.replace(r"\\", _BACKSLASH)).replace(_BACKSLASH, r"\\")
        return json.loads(spelt, strict=False)


def _entries(data: object, received: Collection[int]) -> tuple[tuple[AnswerEntry, ...], Mapping[int, str]]:
    """Return the entries with an image, and why those at other indices cannot be decoded."""
    entries: list[AnswerEntry] = []
    undecoded: dict[int, str] = {}
    items = cast("list[object]", data) if isinstance(data, list) else []
    for index, item in enumerate(items):
        fields = as_object(item)
        url = as_text(fields.get("url"))
        extra = {name: value for name, value in fields.items() if name not in ("b64_json", "url")}
        if index in received:
            entries.append(AnswerEntry(index=index, extra=extra))
        elif url is not None and url.lstrip()[:5].lower() == "data:":
            try:
                entries.append(AnswerEntry(index=index, data=_data_of(url), extra=extra))
            except RefusedError as refusal:
                undecoded[index] = str(refusal)
        elif url is not None:
            entries.append(AnswerEntry(index=index, url=url, extra=extra))
    return tuple(entries), undecoded


def _data_of(url: str) -> bytes:
    """
    Return the bytes in a data URL.

    Raises:
        RefusedError: There are none.
    """
    # Source: RFC 2397. An SVG comes without base64; base64 was cut out of the body unless its header is very long.
    header, _, text = url.partition(",")
    data = unquote_to_bytes(text.encode("utf-8", "replace"))
    if header.rstrip().lower().endswith(";base64"):
        return decoded(data)
    if not data:
        raise RefusedError("the data URL is empty")
    return data


def _task_id(body: Json) -> str | None:
    # Assumption: the ID stands beside `data`, or in it.
    for place in (body, *as_objects(body.get("data"))):
        for name in ("task_id", "taskId"):
            if (task_id := as_text(place.get(name))) is not None:
                return task_id
    return None


def currency_of(body: Json) -> str:
    """Return the first currency that is not USD among what the answer names; USD where it names none."""
    # Source: docs/service.md, "The answer to a generation": with `paymentSource` XNO the cost may be in XNO.
    named = (as_text(body.get(name)) for name in ("currency", "paymentSource"))
    return next((name.strip() for name in named if name is not None and name.strip().upper() != "USD"), "USD")


def _header_usd(headers: Mapping[str, str], names: tuple[str, ...], *, most: int = MAX_USD) -> float | None:
    return next((usd for name in names if (usd := as_usd(headers.get(name), most=most)) is not None), None)
