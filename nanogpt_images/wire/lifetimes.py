"""How long a signed URL lives: by what it says itself, else by what the service documents."""

from __future__ import annotations

from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Final
from urllib.parse import parse_qsl, urlsplit

# Source: docs/service.md, "Generate, OpenAI-compatible", "currently ~1 hour".
_LIFE_S: Final = 3600.0
# Source: docs/service.md, "The answer to a generation": the files themselves are kept so long, whatever a URL promises.
_KEPT_S: Final = 24 * 3600.0
_MILLISECONDS: Final = 1e11


def life_is_over(link: str, *, received_at: float, now: float, host_date: str | None = None) -> bool:
    """
    Return whether a signed URL that is refused can never be downloaded any more.

    Args:
        link: The URL.
        received_at: When it came (seconds since the epoch).
        now: The present on the same clock.
        host_date: The refusal's `Date`. A moment that the URL names is the host's, so where the two clocks differ
            the one that is behind decides: an image must not be lost to a clock that is ahead.
    """
    expires_at = expiry_of(link)
    if expires_at is None:
        return now >= received_at + _LIFE_S
    return min(now, _timestamp(host_date, now)) >= expires_at or now >= received_at + _KEPT_S


def expiry_of(link: str) -> float | None:
    """
    Return the moment that a URL's query names as its end (seconds since the epoch); None where it names none.

    Read are `Expires` (a number of seconds), `X-Amz-Date` with `X-Amz-Expires`, the same of `X-Goog-`, and `se`.
    """
    try:
        query = {name.lower(): value for name, value in parse_qsl(urlsplit(link).query)}
    except ValueError:
        return None
    for vendor in ("x-amz", "x-goog"):
        signed, seconds = query.get(f"{vendor}-date", ""), query.get(f"{vendor}-expires", "")
        if (moment := _moment(signed)) is not None and (life_s := _number(seconds)) is not None:
            return moment + life_s
    if (moment := _moment(query.get("se", ""))) is not None:
        return moment
    expires = _number(query.get("expires", ""))
    return expires / 1000 if expires is not None and expires > _MILLISECONDS else expires


def _moment(text: str) -> float | None:
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        return None
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()


def _number(text: str) -> float | None:
    return float(text) if text.isascii() and text.isdecimal() and len(text) <= 15 else None


def _timestamp(date: str | None, default: float) -> float:
    try:
        moment = parsedate_to_datetime(date or "")
    except (ValueError, TypeError, IndexError, OverflowError):
        return default
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()
