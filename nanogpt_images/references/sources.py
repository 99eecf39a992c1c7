"""Convert the forms of an input image: objects, documented entries, data URLs."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import cast
from urllib.parse import unquote, unquote_to_bytes, urlsplit

import pybase64

from ..errors import ReferenceImageError
from ..types.reference import HasImageData, ReferenceInput, SupportsPillowSave, is_data_url, is_link


def simplified(source: ReferenceInput, where: str) -> str | os.PathLike[str] | bytes | SupportsPillowSave:
    """Replace an object by its bytes, path or URL; return other sources unchanged."""
    if isinstance(source, str | bytes | os.PathLike):
        return source
    if isinstance(source, bytearray | memoryview):
        # Copy it: a mutable buffer can change while it is being encoded.
        return bytes(source)
    if isinstance(source, Mapping):
        return _url_of(source, where)
    if isinstance(source, HasImageData):
        held = source.data or source.path or source.url
        if held is None:
            raise ReferenceImageError(f"{where} is an image without data, path and url.")
        return held
    # The annotation allows nothing else here, but callers may not use a type checker.
    if not isinstance(cast("object", source), SupportsPillowSave):
        raise ReferenceImageError(
            f"{where} is of type {type(source).__name__}; an input image is a path, bytes, an http(s) URL, a "
            "data URL, a Pillow image or an image of a result."
        )
    return source


def _url_of(entry: Mapping[str, object], where: str) -> str:
    """Return the URL of `{"type": "image_url", "image_url": {"url": …}}`. Source: docs/service.md, "Generate"."""
    inner = entry.get("image_url")
    url = cast("Mapping[str, object]", inner).get("url") if isinstance(inner, Mapping) else None
    if not isinstance(url, str) or not (is_link(url) or is_data_url(url)):
        raise ReferenceImageError(
            f'{where} is an object without a URL; pass {{"type": "image_url", "image_url": '
            '{"url": "https://…"}}.'
        )
    return url


def decode_data_url(url: str, where: str) -> tuple[str, bytes]:
    """Decode a data URL into its declared type and its bytes. Source: RFC 2397."""
    header, comma, payload = url[5:].partition(",")
    if not comma:
        raise ReferenceImageError(f"{where} is a data URL without a comma.")
    declared = header.partition(";")[0].strip().lower()
    if not header.rstrip().lower().endswith(";base64"):
        return declared, unquote_to_bytes(payload)
    text = unquote(payload) if "%" in payload else payload
    # Line breaks and missing padding are common, and unambiguous.
    text = "".join(text.split())
    try:
        return declared, pybase64.b64decode(text + "=" * (-len(text) % 4), validate=True)
    except ValueError as error:
        raise ReferenceImageError(f"{where} is a data URL whose base64 is not valid.") from error


def host_of(url: str) -> str:
    # Return only the host: paths and queries of signed URLs are secrets.
    try:
        return urlsplit(url).hostname or "a URL without a host"
    except ValueError:
        return "a malformed URL"
