"""Remove secrets from recordings: API keys and the queries of signed URLs. Prompts stay."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from typing import Final, cast
from urllib.parse import parse_qsl, urlencode, urlsplit

REDACTED: Final = "REDACTED"
# Only the API's own query parameters are known to be harmless; a signature can have any name.
_HARMLESS: Final = frozenset({"detailed", "from", "to", "group_by"})
# Headers that a client reads; cookies and the like stay out.
_KEPT_HEADERS: Final = frozenset(
    {
        "content-range",
        "content-type",
        "etag",
        "last-modified",
        "location",
        "retry-after",
        "x-cost",
        "x-nano-cost",
        "x-remaining-balance",
        "x-request-id",
    }
)
# A separate word of a minimum length: a prompt may mention risk-averse foxes.
_KEY: Final = re.compile(r"(?<![A-Za-z0-9])sk-[A-Za-z0-9_-]{16,}")
_URL: Final = re.compile(r"https?://[^\s\"'<>]+")


def keys_of(headers: Mapping[str, str]) -> tuple[str, ...]:
    """Return the API keys in the headers of a request."""
    values = [value for name, value in headers.items() if name.lower() in ("authorization", "x-api-key")]
    return tuple(value.removeprefix("Bearer ").strip() for value in values if value.strip())


def clean_url(url: str) -> str:
    """Redact the query values of *url*; redacting twice changes nothing more."""
    try:
        parts = urlsplit(url)
    except ValueError:
        return url
    if not parts.query:
        return url
    pairs = parse_qsl(parts.query, keep_blank_values=True)
    clean = [
        (name, value if name in _HARMLESS else REDACTED) if value else (REDACTED, "") for name, value in pairs
    ]
    return parts._replace(query=urlencode(clean)).geturl()


def clean_text(text: str, keys: Iterable[str]) -> str:
    """Redact *keys*, anything that looks like a key, and the queries of URLs in *text*."""
    for key in keys:
        text = text.replace(key, REDACTED)
    return _URL.sub(lambda match: clean_url(match.group()), _KEY.sub(REDACTED, text))


def clean_headers(headers: Mapping[str, str], keys: Iterable[str]) -> dict[str, str]:
    """Select the headers that a client reads, and redact their values."""
    return {
        name.lower(): clean_text(value, keys)
        for name, value in headers.items()
        if name.lower() in _KEPT_HEADERS
    }


def clean_body(body: bytes, keys: Iterable[str]) -> bytes:
    """Redact a text or JSON *body*; return binary data unchanged."""
    try:
        text = body.decode()
    except UnicodeDecodeError:
        return body
    try:
        document: object = json.loads(text)
    except (ValueError, RecursionError):
        return clean_text(text, keys).encode()
    # Redact the decoded strings, not the JSON text: a URL may be written with escapes.
    clean = _clean_json(document, tuple(keys))
    return body if clean == document else json.dumps(clean, ensure_ascii=False).encode()


def _clean_json(value: object, keys: tuple[str, ...]) -> object:
    if isinstance(value, str):
        return clean_text(value, keys)
    if isinstance(value, list):
        return [_clean_json(item, keys) for item in cast("list[object]", value)]
    if isinstance(value, dict):
        fields = cast("dict[str, object]", value)
        return {clean_text(name, keys): _clean_json(item, keys) for name, item in fields.items()}
    return value
