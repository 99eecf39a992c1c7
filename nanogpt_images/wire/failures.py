"""An answer of failure → the error it means, and what it says about money."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Final, cast
from urllib.parse import urlsplit

import attrs

from .._base.display import shown_url, with_short_urls
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
from .charges import Statement, speaks_of_work, statement_of
from .convert import as_object, as_text, as_usd

_EXCERPT_CHARS: Final = 200
CUT_OFF: Final = "\u2026".encode()
"""Stands at the end of a body of which not everything was read."""
_NOT_BEGUN: Final = frozenset({408, 425, 503})
COST_HEADERS: Final = ("x-cost", "x-nano-cost")
_NAMES_AMOUNTS: Final = frozenset({402, 429})

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
# Neither pattern can look past the next "<": a body of nothing else would cost the square of its length.
_TAG: Final = re.compile(r"(<[^<>]*>)")
_HIDING: Final = re.compile(r"<(/?)(?:script|style)\b", re.IGNORECASE)
_MODEL: Final = re.compile(r"\bmodel\b", re.IGNORECASE)
_SPACE: Final = re.compile(r"\s+")
# A key in an echoed header or body must not reach a log. Within a word ("risk-averse") it must be a long one.
_KEY: Final = re.compile(
    r"(?<![a-z0-9])sk-[a-z0-9_-]{6,}|sk-[a-z0-9_-]{16,}|[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}",
    re.IGNORECASE,
)


@attrs.frozen(kw_only=True)
class Failure:
    """
    The facts of a failure, out of any of the shapes that occur.

    Attributes:
        said: Every text of the body, one a line; a contradiction can stand in any of them.
        shows_work: The body has a cost, images, or the ID of a task: what a request that was refused does not have.
    """

    message: str | None = None
    code: str | None = None
    type: str | None = None
    parameter: str | None = None
    request_id: str | None = None
    details: Mapping[str, object] = attrs.field(factory=dict[str, object])
    said: str = ""
    shows_work: bool = False


def decode_failure(
    status: int,
    headers: Mapping[str, str],
    body: bytes,
    *,
    target: str,
    paid: bool,
    url: str = "",
    now: datetime | None = None,
) -> StatusError:
    """
    Decode an answer of failure into the error that it means.

    Args:
        status: HTTP status, 300 or more.
        headers: The answer's headers; look-up ignores case.
        body: The body, or as much of it as was read.
        target: What the request was about, for the text: a model's ID or a path.
        paid: Whether success would have cost money.
        url: Where it was sent, for the text of a 404 that is about the path and not about a model.
        now: For a `Retry-After` that is a date.

    Source: docs/service.md, "Errors": every shape of its list.
    """
    failure = _read(body)
    text = failure.message or _excerpt(body)
    charge = charge_of(status, failure.said, paid=paid)
    if charge is Charge.REJECTED and (status >= 500 or status in _NOT_BEGUN):
        cost = next((usd for name in COST_HEADERS if (usd := as_usd(headers.get(name)))), None)
        if failure.shows_work or cost or speaks_of_work(failure.said):
            charge = Charge.UNKNOWN
    moderated, check_usd, cost_usd = "", moderation_usd(headers), None
    kind = _class_of(status, failure)
    free = charge is Charge.REJECTED or (kind is ContentPolicyError and charge is not Charge.NOT_SENT)
    if free and (check_usd or (check_usd is None and _is_moderated(failure, kind))):
        charge, cost_usd = Charge.CHARGED, check_usd
        amount = "the service does not say how much" if check_usd is None else f"{check_usd:g} USD"
        moderated = f"The moderation of the request was charged ({amount}), the image was not."
    retry_after_s = parse_retry_after(headers.get("Retry-After"), now=now)
    parts = [f"{target}: the service answered {status}"]
    if failure.code and failure.code != str(status):
        parts[0] += f" {_redact(failure.code)[:100]}"
    if text:
        parts.append(with_short_urls(_redact(text))[:500])
    elif location := headers.get("Location"):
        parts.append(
            f"a redirect to {_origin(location)}, which is not followed; set base_url to the right address"
        )
    advice = _advice(status, failure, retry_after_s)
    if status == 404 and kind is StatusError:
        parts[0] = f"{shown_url(url) or target}: the service answered 404, there is nothing at this address"
        advice = "Check base_url: that of the service is https://nano-gpt.com, without a path."
    return kind(
        f"{': '.join(parts).rstrip('.')}. {moderated}".rstrip(),
        advice=advice,
        status=status,
        charge=charge,
        says_charge=paid and not moderated,
        request_id=failure.request_id or headers.get("X-Request-ID"),
        code=failure.code,
        type=failure.type,
        parameter=failure.parameter,
        retry_after_s=retry_after_s,
        excerpt=_excerpt(body),
        details=failure.details,
        cost_usd=cost_usd,
    )


def moderation_usd(headers: Mapping[str, str]) -> float | None:
    """Return what an inline moderation cost; it is charged on top, also when it blocks. Source: docs/service.md, "Inline moderation"."""
    return as_usd(headers.get("x-nanogpt-inline-moderation-cost-usd"))


def _is_moderated(failure: Failure, kind: type[StatusError]) -> bool:
    return kind is ContentPolicyError and bool(as_object(failure.details.get("moderation")))


def charge_of(status: int, text: str, *, paid: bool) -> Charge:
    """
    Return what an answer of failure says about money.

    Its text goes first, where it is clear. Without one, a status below 500 is a refusal, and so are 408, 425 and
    503: by their definition the work was not begun. A text that leaves a doubt makes any of them unknown.

    Args:
        status: HTTP status, 300 or more.
        text: All that the answer says.
        paid: Whether success would have cost money.
    """
    if not paid:
        return Charge.NOT_SENT
    match statement_of(text, quotes=status in _NAMES_AMOUNTS):
        case Statement.FREE:
            return Charge.REJECTED
        case Statement.BILLED:
            return Charge.CHARGED
        case Statement.DOUBTFUL:
            return Charge.UNKNOWN
        case Statement.SILENT:
            # Assumption: any other 5xx, and 303 ("see the result there"), may follow work that was done.
            refused = (status < 500 and status != 303) or status in _NOT_BEGUN
            return Charge.REJECTED if refused else Charge.UNKNOWN


def parse_retry_after(value: str | None, *, now: datetime | None = None) -> float | None:
    """Parse a `Retry-After` header, a number or an HTTP date, into seconds. None for anything else."""
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
        document: object = json.loads(body.removesuffix(CUT_OFF))
    except (ValueError, RecursionError):
        # JSON that is not whole may lack the half that matters.
        return Failure(said=_plain(body) + (CUT_OFF.decode() if body.lstrip()[:1] in (b"{", b"[") else ""))
    outer = as_object(document)
    if not outer:
        return Failure(message=as_text(document), said=_said(document))
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
        said=_said(document),
        shows_work=_shows_work(outer) or _shows_work(fields),
    )


def _shows_work(fields: Mapping[str, object]) -> bool:
    names = {_plain_name(name): value for name, value in fields.items()}
    return bool(
        as_usd(names.get("cost")) or as_usd(names.get("costusd")) or names.get("data") or names.get("taskid")
    )


def _plain_name(name: str) -> str:
    return name.replace("_", "").replace("-", "").casefold()


def _said(document: object) -> str:
    """Yield every text within *document*, one a line, and a field such as `"charged": true` as a statement."""
    found: list[str] = []
    rest = [document]
    while rest:
        value = rest.pop()
        if isinstance(value, str):
            found.append(value)
        elif isinstance(value, list):
            rest += cast("list[object]", value)
        else:
            fields = as_object(value)
            rest += fields.values()
            # `"charged": true` is a statement, in whatever spelling.
            found += [
                "it was charged"
                for name, said in fields.items()
                if re.search(r"(?<!not)(?<!un)(?:charged|billed)$", _plain_name(name))
                and (
                    said is True
                    or (isinstance(said, int | float) and said > 0)
                    or str(said).casefold() == "true"
                )
            ]
    return "\n".join(found)


def _class_of(status: int, failure: Failure) -> type[StatusError]:
    if failure.code in _DAILY_CODES:
        return DailyLimitError
    if status < 500 and (failure.code in _POLICY_CODES or failure.type in _POLICY_CODES):
        return ContentPolicyError
    if status == 404 and not _names_a_model(failure):
        return StatusError
    if status in _BY_STATUS:
        return _BY_STATUS[status]
    if status >= 500:
        return ServerError
    return BadRequestError if status >= 400 else StatusError


def _names_a_model(failure: Failure) -> bool:
    """Return whether a 404 is about a model. A page of HTML, or a message about a path, means a wrong address."""
    return (
        "model" in (failure.code or "")
        or failure.parameter == "model"
        or _MODEL.search(failure.message or "") is not None
    )


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
    return _redact(_plain(body[:20_000]))[:_EXCERPT_CHARS]


def _plain(body: bytes) -> str:
    text = _without_markup(body.decode("utf-8", "replace"))
    text = "".join(char if char.isprintable() else " " for char in text)
    return _SPACE.sub(" ", text).strip()


def _without_markup(text: str) -> str:
    """Return the text outside tags, scripts and styles."""
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
