"""Who may talk to a sandbox: programs of this machine, and pages that it serves itself; no page of the web."""

from __future__ import annotations

from collections.abc import Mapping
from urllib.parse import urlsplit

from ..settings import is_loopback
from .responses import Response, json_answer


def foreign(headers: Mapping[str, str]) -> Response | None:
    """
    The refusal of a request that a page of the web had a browser make; None for any other.

    A name that its owner rebinds to 127.0.0.1 arrives as `Host`, and with it the page could read what the sandbox was
    asked. A request across origins arrives with an `Origin`, and needs no answer to do harm: a reset is enough.
    """
    host, origin = headers.get("Host"), headers.get("Origin")
    if host is not None and not _is_local(f"//{host}"):
        return _refusal("Host", "a name that is not of this machine")
    if origin is not None and not _is_local(origin):
        return _refusal("Origin", "a page that is not of this machine")
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
