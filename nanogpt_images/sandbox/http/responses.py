"""HTTP answers as data; `exchange` writes them to the socket."""

from __future__ import annotations

import json
from collections.abc import Mapping

import attrs

JsonObject = dict[str, object]


@attrs.frozen(kw_only=True)
class Response:
    """
    An HTTP answer; the body stays in pieces so that large images are never joined.

    Args:
        status: HTTP status.
        body: Pieces of the body, in order.
        content_type: Value of `Content-Type`; None sends no such header.
        headers: Further headers.
    """

    status: int = 200
    body: tuple[bytes, ...] = ()
    content_type: str | None = "application/json; charset=utf-8"
    headers: Mapping[str, str] = attrs.field(factory=dict[str, str])

    @property
    def size(self) -> int:
        """Bytes of the body."""
        return sum(map(len, self.body))


def json_answer(body: object, *, status: int = 200, headers: Mapping[str, str] | None = None) -> Response:
    """Build an answer with *body* as compact JSON."""
    return Response(status=status, body=(json_bytes(body),), headers=dict(headers or {}))


def text_answer(text: str, *, status: int, content_type: str = "text/plain; charset=utf-8") -> Response:
    """Build an answer that is not JSON: the plain text or HTML of an edge."""
    return Response(status=status, body=(text.encode(),), content_type=content_type)


def json_bytes(body: object) -> bytes:
    """Encode *body* as compact UTF-8 JSON."""
    return json.dumps(body, separators=(",", ":"), ensure_ascii=False).encode()
