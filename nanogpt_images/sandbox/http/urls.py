"""Signed URLs: issue and verify them, and answer downloads with ranges."""

from __future__ import annotations

import hashlib
import hmac
import itertools
from collections import OrderedDict
from collections.abc import Callable, Mapping

import attrs

from ..drawing.draw import Sketch
from .responses import Response, json_answer, text_answer

MAX_FILES = 100_000
_EXTENSIONS = {"png": "png", "jpeg": "jpg", "webp": "webp"}


@attrs.frozen(kw_only=True)
class Visit:
    """A request that reached the second origin, with all its headers."""

    method: str
    path: str
    headers: Mapping[str, str]
    status: int


class SignedUrls:
    """Issues URLs for sketches; a file is drawn when it is downloaded."""

    def __init__(self, *, seed: int, ttl_s: float, clock: Callable[[], float]) -> None:
        self._secret = f"sandbox {seed}".encode()
        self._ttl_s = ttl_s
        self._clock = clock
        self._numbers = itertools.count(1)
        self._sketches: OrderedDict[str, Sketch] = OrderedDict()
        self.origin = ""
        self.visits: list[Visit] = []

    def issue(self, sketch: Sketch, *, ttl_s: float | None = None) -> str:
        """Sign a URL for the image of *sketch*, valid for *ttl_s* seconds (default: the sandbox's)."""
        name = f"{next(self._numbers):08x}.{_EXTENSIONS[sketch.image_format]}"
        self._sketches[name] = sketch
        if len(self._sketches) > MAX_FILES:
            self._sketches.popitem(last=False)
        expires = int(self._clock() + (self._ttl_s if ttl_s is None else ttl_s))
        return f"{self.origin}/files/{name}?expires={expires}&sig={self._signature(name, expires)}"

    def resolve(self, name: str, query: Mapping[str, str]) -> Sketch | Response:
        """Return the sketch behind a signed URL, or the refusal: 403 unsigned or expired, 404 unknown."""
        expires, signature = query.get("expires", ""), query.get("sig", "")
        # Every URL issued here has a short number; bytes, because compare_digest rejects text beyond ASCII.
        issued = is_number(expires) and hmac.compare_digest(
            signature.encode("utf-8", "replace"), self._signature(name, int(expires)).encode()
        )
        if not issued:
            return text_answer(_xml("SignatureDoesNotMatch"), status=403, content_type="application/xml")
        if self._clock() >= int(expires):
            return text_answer(
                _xml("AccessDenied", "Request has expired"), status=403, content_type="application/xml"
            )
        if name not in self._sketches:
            return json_answer({"error": "Not found"}, status=404)
        return self._sketches[name]

    def _signature(self, name: str, expires: int) -> str:
        return hmac.new(self._secret, f"{name} {expires}".encode(), hashlib.sha256).hexdigest()[:32]


def is_number(text: str) -> bool:
    """Return whether *text* is a whole number of at most 18 digits, which `int` parses."""
    return text.isascii() and text.isdecimal() and len(text) <= 18


def _xml(code: str, message: str = "") -> str:
    return f'<?xml version="1.0" encoding="UTF-8"?>\n<Error><Code>{code}</Code><Message>{message}</Message></Error>'


def file_answer(data: bytes, media_type: str, headers: Mapping[str, str]) -> Response:
    """Answer a download of *data*: whole, or the part that `Range` (with `If-Range`) asks for."""
    etag = f'"{hashlib.sha256(data).hexdigest()[:16]}"'
    common = {"Accept-Ranges": "bytes", "ETag": etag}
    wanted = headers.get("Range", "")
    if not wanted or headers.get("If-Range", etag) != etag:
        return Response(body=(data,), content_type=media_type, headers=common)
    span = _span(wanted, len(data))
    if span is None:
        return Response(
            status=416, content_type=None, headers={**common, "Content-Range": f"bytes */{len(data)}"}
        )
    first, last = span
    common["Content-Range"] = f"bytes {first}-{last}/{len(data)}"
    return Response(status=206, body=(data[first : last + 1],), content_type=media_type, headers=common)


def _span(wanted: str, size: int) -> tuple[int, int] | None:
    """Return the first and last byte of a single byte range; None if it is not satisfiable."""
    unit, _, spec = wanted.partition("=")
    first, dash, last = spec.partition("-")
    if unit.strip() != "bytes" or not dash or not all(is_number(text or "0") for text in (first, last)):
        return None
    if not first and not last:
        return None
    if not first:
        return (max(0, size - int(last)), size - 1) if int(last) and size else None
    end = min(int(last), size - 1) if last else size - 1
    return (int(first), end) if int(first) <= end else None
