"""A request and its loaded references → the JSON body that each route takes."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Final

from ..errors import ParameterError
from ..types.reference import MAX_BODY_BYTES
from ..types.request import (
    INPUT_FIELDS,
    MASK_FIELD,
    EditRequest,
    GenerateRequest,
    ImageRequest,
    OpenAIRequest,
    has_images,
    stream_refusal,
    target_of,
)

_ENCODER: Final = json.JSONEncoder(ensure_ascii=False, allow_nan=False, separators=(",", ":"))
PATHS: Final = {
    "images": "/api/v1/images",
    "openai": "/v1/images/generations",
    "edit": "/api/v1/images/edits",
}


def encode_body(request: ImageRequest, references: Sequence[str] = (), mask: str | None = None) -> bytes:
    """
    Encode the JSON body of *request*.

    Args:
        request: What the caller asks for.
        references: Links or data URLs of its input images, in order.
        mask: Data URL of its mask.

    Raises:
        ParameterError: A field is not a JSON value, an image stands in `extra` too, a stream is asked for, or the body
            is longer than the service takes.

    Source: docs/service.md, "Generate"; "Generate, OpenAI-compatible".
    """
    if (refusal := stream_refusal(request)) is not None:
        raise refusal
    fields = _fields(request, references, mask)
    if twice := sorted(
        name for name in (*INPUT_FIELDS, MASK_FIELD) if fields.get(name) and request.extra.get(name)
    ):
        raise ParameterError(
            f"{request.model}: {', '.join(twice)} stands in extra, and other input images take its place; pass all of "
            "them as arguments, or all in extra.",
            model=request.model,
            parameter=twice[0],
        )
    body = {**request.extra, **fields}
    try:
        text = _ENCODER.encode(body)
    except (TypeError, ValueError, RecursionError) as error:
        raise ParameterError(
            f"{request.model}: the request cannot be written as JSON ({error}).",
            model=request.model,
        ) from error
    encoded = text.encode("utf-8", "replace")
    if len(encoded) > MAX_BODY_BYTES:
        raise ParameterError(
            f"{request.model}: the request is {len(encoded):,} bytes; the service takes {MAX_BODY_BYTES:,}, input "
            "images and prompt together. Scale the images down or shorten the prompt.",
            model=request.model,
            parameter="input_references" if references or mask else "prompt",
        )
    return encoded


def body_of(request: ImageRequest) -> dict[str, object]:
    """Return the fields of the body of *request*, without its input images; see `encode_body`."""
    return {**request.extra, **_fields(request, (), None)}


def _fields(request: ImageRequest, references: Sequence[str], mask: str | None) -> dict[str, object]:
    """Return what the arguments say. They win over the same key in `extra`: they are checked, and it is not."""
    if isinstance(request, EditRequest):
        fields = _edit(request)
    elif isinstance(request, GenerateRequest):
        fields = _normalized(request, references)
    else:
        fields = _openai_compatible(request, references, mask)
    return {name: value for name, value in fields.items() if value is not None}


def form_fields(request: EditRequest) -> dict[str, object]:
    """
    Return the fields of an edit but its images.

    Raises:
        ParameterError: An image stands in `extra`, or a stream is asked for.

    Source: docs/service.md, "Edit".
    """
    if (refusal := stream_refusal(request)) is not None:
        raise refusal
    if hidden := sorted({"image", "image[]", "mask", *INPUT_FIELDS, MASK_FIELD} & request.extra.keys()):
        raise ParameterError(
            f"{target_of(request)}: {', '.join(hidden)} stands in extra; pass input images as image and mask.",
            model=request.model,
            parameter=hidden[0],
        )
    return body_of(request)


def _edit(request: EditRequest) -> dict[str, object]:
    return {
        "model": request.model or None,
        "prompt": request.prompt,
        "n": request.n,
        "size": request.size,
        "response_format": request.response_format,
        "user": request.user,
        "strength": request.strength,
        "guidance_scale": request.guidance_scale,
        "num_inference_steps": request.num_inference_steps,
        "seed": request.seed,
    }


def _prompt(request: ImageRequest) -> str | None:
    return None if has_images(request) and not request.prompt.strip() else request.prompt


def _normalized(request: GenerateRequest, references: Sequence[str]) -> dict[str, object]:
    return {
        "model": request.model,
        "prompt": _prompt(request),
        "n": request.n,
        "resolution": request.resolution,
        "aspect_ratio": request.aspect_ratio,
        "quality": request.quality,
        "output_format": request.output_format,
        "seed": request.seed,
        "input_references": [{"type": "image_url", "image_url": {"url": url}} for url in references] or None,
    }


def _openai_compatible(
    request: OpenAIRequest, references: Sequence[str], mask: str | None
) -> dict[str, object]:
    # Models with one input take imageDataUrl, those with several imageDataUrls.
    # Source: docs/service.md, "Generate, OpenAI-compatible".
    images = list(references)
    single = images.pop(0) if len(images) == 1 or (images and request.image_data_url is not None) else None
    return {
        "model": request.model,
        "prompt": _prompt(request),
        "n": request.n,
        "size": request.size,
        "response_format": request.response_format,
        "user": request.user,
        "imageDataUrl": single,
        "imageDataUrls": images or None,
        "maskDataUrl": mask,
        "strength": request.strength,
        "guidance_scale": request.guidance_scale,
        "num_inference_steps": request.num_inference_steps,
        "seed": request.seed,
        "kontext_max_mode": request.kontext_max_mode,
    }
