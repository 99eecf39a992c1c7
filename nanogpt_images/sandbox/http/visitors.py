"""Refuse requests that a web page had a browser make; allow programs and pages of this machine."""

from __future__ import annotations

from collections.abc import Mapping
from urllib.parse import urlsplit

from ..settings import is_loopback
from .responses import Response, json_answer


def foreign(headers: Mapping[str, str]) -> Response | None:
    """
    Return the refusal of a request that a web page had a browser make; None for any other request.

    A name that its owner rebinds to 127.0.0.1 arrives as `Host`; its page could read the recorded requests.
    A request across origins arrives with an `Origin`; it can do harm without reading the answer, by a reset.
    """
    host, origin = headers.get("Host"), headers.get("Origin")
    if host is not None and not _is_local(f"//{host}"):
        return _refusal("Host", "a host outside this machine")
    if origin is not None and not _is_local(origin):
        return _refusal("Origin", "a page from outside this machine")
    return None


def _is_local(url: str) -> bool:
    try:
        parts = urlsplit(url)
        return "@" not in parts.netloc and is_loopback((parts.hostname or "").removesuffix("."))
    except ValueError:
        return False


def _refusal(header: str, what: str) -> Response:
    message = f"{header} names {what}; the sandbox answers requests to and from loopback addresses only."
    return json_answer(
        {"error": {"message": message, "type": "invalid_request_error", "code": "foreign"}}, status=403
    )
