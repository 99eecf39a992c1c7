"""An answer of failure → the error it means, and what it says about money."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Final
from urllib.parse import urlsplit

import attrs

from ..errors import (
    AuthenticationError,
    BadRequestError,
    Charge,
    ContentPolicyError,
    DailyLimitError,
    InsufficientBalanceError,
    NotFoundError,
    PayloadTooLargeError,
    PermissionDeniedError,
    RateLimitError,
    ServerError,
    StatusError,
)
from ._convert import as_object, as_text

_EXCERPT_CHARS: Final = 200
_REFUSED_5XX: Final = frozenset({408, 425, 503})

_BY_STATUS: Final[Mapping[int, type[StatusError]]] = {
    401: AuthenticationError,
    402: InsufficientBalanceError,
    403: PermissionDeniedError,
    404: NotFoundError,
    408: ServerError,
    413: PayloadTooLargeError,
    429: RateLimitError,
}
_DAILY_CODES: Final = frozenset({"daily_rpd_limit_exceeded", "daily_usd_limit_exceeded"})
_POLICY_CODES: Final = frozenset({"content_policy_violation", "content_policy"})
# The negation must belong to the verb: "not stored, was billed" says that it was.
_NOT_BILLED: Final = re.compile(
    r"(?:\b(?:not|never)|n['\u2019]t) (?:yet |actually )?(?:be |been |being )?(?:charged|billed)\b"
    r"|\bnothing (?:is|was|has been|will be) (?:charged|billed)\b|\bno charge\b",
    re.IGNORECASE,
)
_PERHAPS_BILLED: Final = re.compile(
    r"\b(?:may|might|could) (?:already )?(?:have been|be) (?:charged|billed)\b", re.IGNORECASE
)
_BILLED: Final = re.compile(
    r"\b(?:has been|have been|was|were|been|is|are) (?:charged|billed)\b", re.IGNORECASE
)
# Neither pattern can look past the next "<": a body of nothing else would cost the square of its length.
_TAG: Final = re.compile(r"(<[^<>]*>)")
_HIDING: Final = re.compile(r"<(/?)(?:script|style)\b", re.IGNORECASE)
_SPACE: Final = re.compile(r"\s+")
# A key in an echoed header or body must not reach a log. Within a word ("risk-averse") it must be a long one.
_KEY: Final = re.compile(
    r"(?<![a-z0-9])sk-[a-z0-9_-]{6,}|sk-[a-z0-9_-]{16,}|[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}",
    re.IGNORECASE,
)


@attrs.frozen(kw_only=True)
class Failure:
    """The facts of a failure, out of any of the shapes that occur."""

    message: str | None = None
    code: str | None = None
    type: str | None = None
    parameter: str | None = None
    request_id: str | None = None
    details: Mapping[str, object] = attrs.field(factory=dict[str, object])


def decode_failure(
    status: int,
    headers: Mapping[str, str],
    body: bytes,
    *,
    target: str,
    paid: bool,
    now: datetime | None = None,
) -> StatusError:
    """
    The error that an answer of failure means.

    Args:
        status: HTTP status, 300 or more.
        headers: The answer's headers; look-up ignores case.
        body: The body, or as much of it as was read.
        target: What the request was about, for the text: a model's ID or a path.
        paid: Whether success would have cost money.
        now: For a `Retry-After` that is a date.

    Source: API_FACTS, "Errors": every shape of its list.
    """
    failure = _read(body)
    text = failure.message or _excerpt(body)
    charge = charge_of(status, text, paid=paid)
    retry_after_s = parse_retry_after(headers.get("Retry-After"), now=now)
    parts = [f"{target}: the service answered {status}"]
    if failure.code and failure.code != str(status):
        parts[0] += f" {_redact(failure.code)[:100]}"
    if text:
        parts.append(_redact(text)[:500])
    elif location := headers.get("Location"):
        parts.append(
            f"a redirect to {_origin(location)}, which is not followed; set base_url to the right address"
        )
    advice = _advice(status, failure, retry_after_s)
    message = f"{': '.join(parts).rstrip('.')}. {charge.sentence if paid else ''}".rstrip()
    return _class_of(status, failure)(
        f"{message} {advice}".rstrip(),
        status=status,
        charge=charge,
        request_id=failure.request_id or headers.get("X-Request-ID"),
        code=failure.code,
        type=failure.type,
        parameter=failure.parameter,
        retry_after_s=retry_after_s,
        excerpt=_excerpt(body),
        details=failure.details,
    )


def charge_of(status: int, text: str, *, paid: bool) -> Charge:
    """What an answer of failure says about money."""
    if not paid:
        return Charge.NOT_SENT
    if _NOT_BILLED.search(text):
        return Charge.REJECTED
    if _PERHAPS_BILLED.search(text):
        return Charge.UNKNOWN
    if _BILLED.search(text):
        return Charge.CHARGED
    # Assumption: 4xx, 503 and 408 are refusals; any other 5xx, and 303 ("see the result there"), may follow work done.
    refused = status < 500 and status != 303
    return Charge.REJECTED if refused or status in _REFUSED_5XX else Charge.UNKNOWN


def parse_retry_after(value: str | None, *, now: datetime | None = None) -> float | None:
    """Seconds out of a `Retry-After` header: a number, or an HTTP date. None for anything else."""
    if value is None:
        return None
    try:
        seconds = float(value)
    except ValueError:
        try:
            moment = parsedate_to_datetime(value)
        except (ValueError, TypeError, IndexError, OverflowError):
            return None
        if moment.tzinfo is None:
            moment = moment.replace(tzinfo=UTC)
        seconds = (moment - (now or datetime.now(UTC))).total_seconds()
    return max(0.0, seconds) if seconds < float("inf") else None


def _read(body: bytes) -> Failure:
    try:
        document: object = json.loads(body)
    except (ValueError, RecursionError):
        return Failure()
    outer = as_object(document)
    if not outer:
        return Failure(message=as_text(document))
    inner = outer.get("error")
    fields = {**outer, **as_object(inner)}
    code = fields.get("code")
    known = {"error", "message", "code", "type", "param", "parameter", "requestId", "request_id", "status"}
    return Failure(
        message=as_text(inner) if isinstance(inner, str) else as_text(fields.get("message")),
        code=str(code) if isinstance(code, str | int) and not isinstance(code, bool) else None,
        type=as_text(fields.get("type")),
        parameter=as_text(fields.get("param")) or as_text(fields.get("parameter")),
        request_id=as_text(fields.get("requestId")) or as_text(fields.get("request_id")),
        details={name: value for name, value in outer.items() if name not in known},
    )


def _class_of(status: int, failure: Failure) -> type[StatusError]:
    if failure.code in _DAILY_CODES:
        return DailyLimitError
    if status < 500 and (failure.code in _POLICY_CODES or failure.type in _POLICY_CODES):
        return ContentPolicyError
    if status in _BY_STATUS:
        return _BY_STATUS[status]
    if status >= 500:
        return ServerError
    return BadRequestError if status >= 400 else StatusError


def _advice(status: int, failure: Failure, retry_after_s: float | None) -> str:
    if failure.code in _DAILY_CODES:
        wait = f" in {retry_after_s / 3600:.1f} h" if retry_after_s else ""
        return f"The key's daily limit is lifted at 00:00 UTC{wait}."
    if status == 401:
        return "Check the key (NANOGPT_API_KEY or api_key=)."
    if status == 402:
        needed = failure.details.get("requiredBalance")
        return f"The balance must hold {needed} USD." if needed is not None else "Top up the balance."
    if retry_after_s is not None:
        return f"Try again in {retry_after_s:g} s."
    return ""


def _excerpt(body: bytes) -> str:
    text = _without_markup(body[:20_000].decode("utf-8", "replace"))
    text = "".join(char if char.isprintable() else " " for char in text)
    return _redact(_SPACE.sub(" ", text).strip())[:_EXCERPT_CHARS]


def _without_markup(text: str) -> str:
    """The text outside tags, scripts and styles."""
    kept: list[str] = []
    hidden = False
    for place, piece in enumerate(_TAG.split(text)):
        if place % 2 == 0:
            kept += [] if hidden else [piece]
        elif hiding := _HIDING.match(piece):
            hidden = not hiding[1]
    return " ".join(kept)


def _redact(text: str) -> str:
    return _KEY.sub("[redacted]", text)


def _origin(location: str) -> str:
    try:
        parts = urlsplit(location)
    except ValueError:
        return "an unreadable address"
    return f"{parts.scheme}://{parts.hostname}" if parts.hostname else parts.path
