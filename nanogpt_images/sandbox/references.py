"""Input images of a request: their fields, forms and number, and whether data URLs match their media type."""

from __future__ import annotations

import base64
import binascii
import re
from typing import cast

from .catalog.definitions import SandboxModel
from .http.refusals import Route, refuse
from .http.responses import JsonObject

OPENAI_UPLOAD_BYTES = 4 * 1024 * 1024
_ALIASES = ("imageDataUrl", "imageDataUrls", "image_url", "images")
_ONE_INPUT = ("imageDataUrl", "image_url")
_DATA_URL = re.compile(r"data:(image/[\w.+-]+);base64,", re.IGNORECASE)
_MAGIC = ((b"\x89PNG", "image/png"), (b"\xff\xd8\xff", "image/jpeg"), (b"GIF8", "image/gif"))


def checked_references(body: JsonObject, model: SandboxModel, route: Route) -> int:
    """
    Check the input images of a request and return their number.

    Raises:
        Refusal: The route or the model does not accept the form, the number or the bytes of the images.
    """
    urls = _input_references(body, route)
    # imageDataUrls is for models with several inputs: a model with a single input ignores it.
    legacy = _legacy(body, _ONE_INPUT if route == "openai" and model.references_max == 1 else _ALIASES)
    if urls and legacy:
        message = "Use input_references or legacy image input aliases, not both."
        raise refuse(400, "conflicting_image_inputs", message, parameter="input_references", route=route)
    urls = urls or legacy
    if len(urls) > model.references_max:
        message = f"{model.id} accepts at most {model.references_max} input images; got {len(urls)}."
        raise refuse(400, "IMAGE_INPUT_TOO_MANY", message)
    if model.references_required and not urls:
        message = f"{model.id} needs at least one input image."
        raise refuse(400, "invalid_input_references", message, parameter="input_references", route=route)
    mask = body.get("maskDataUrl")
    for url in [*urls, mask] if isinstance(mask, str) else urls:
        _check_url(url, route)
    if route == "openai" and sum(map(len, urls)) > OPENAI_UPLOAD_BYTES:
        raise refuse(413, "IMAGE_INPUT_TOO_LARGE", "Uploads should be 4 MB or smaller after encoding.")
    return len(urls)


def _input_references(body: JsonObject, route: Route) -> list[str]:
    given = body.get("input_references")
    if given is None:
        return []
    urls = [_url_of(entry) for entry in cast("list[object]", given)] if isinstance(given, list) else [None]
    if None in urls:
        message = "input_references must be an array of image URL strings, data URLs, or image_url objects."
        raise refuse(400, "invalid_input_references", message, parameter="input_references", route=route)
    return [url for url in urls if url is not None]


def _url_of(entry: object) -> str | None:
    """Return the URL in one entry of `input_references`; None if there is none."""
    if isinstance(entry, dict):
        fields = cast("JsonObject", entry)
        inner = fields.get("image_url")
        entry = (
            cast("JsonObject", inner).get("url")
            if fields.get("type") == "image_url" and isinstance(inner, dict)
            else None
        )
    if isinstance(entry, str) and entry.startswith(("http://", "https://", "data:")):
        return entry
    return None


def _legacy(body: JsonObject, aliases: tuple[str, ...]) -> list[str]:
    urls: list[str] = []
    for alias in aliases:
        given = body.get(alias)
        entries = cast("list[object]", given) if isinstance(given, list) else [given]
        urls += [entry for entry in entries if isinstance(entry, str)]
    return urls


def _check_url(url: str, route: Route) -> None:
    match = _DATA_URL.match(url)
    if match is None:
        if route == "openai":
            message = (
                "Direct URL input is not supported; convert images to base64 data URLs before submission."
            )
            raise refuse(400, "invalid_image_input", message, parameter="imageDataUrl", route=route)
        if url.startswith("data:"):
            message = "A data URL must read data:image/<type>;base64,<data>."
            raise refuse(400, "invalid_input_references", message, parameter="input_references", route=route)
        return
    found = _media_type(url[match.end() : match.end() + 64])
    claimed = match[1].lower().replace("image/jpg", "image/jpeg")
    if found != claimed:
        raise refuse(
            413,
            "input_type_mismatch",
            f"The image claims {claimed} but its bytes are {found or 'not a known image format'}.",
        )


def _media_type(start: str) -> str | None:
    try:
        head = base64.b64decode(start[: len(start) // 4 * 4], validate=True)
    except binascii.Error:
        return None
    if head[:4] == b"RIFF" and head[8:12] == b"WEBP":
        return "image/webp"
    return next((media_type for magic, media_type in _MAGIC if head.startswith(magic)), None)
