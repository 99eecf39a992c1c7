"""
Every operation of the service that has to do with images, as its documents name it: data, not taken from the client.

An operation is supported, and then `calls` use each of its fields, or it is left out for a reason.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Final, TypeAlias

import attrs
from documented import IMAGES_REQUEST, OPENAI_REQUEST
from fakes import PNG

import nanogpt_images as ngi

Call: TypeAlias = Callable[[ngi.AsyncClient], Awaitable[object]]


@attrs.frozen(kw_only=True)
class Operation:
    """
    An operation.

    Attributes:
        method: HTTP method.
        path: As documented; `{id}` stands for a model's.
        aliases: Further paths of the same operation.
        fields: Names in the query, the body or the headers of a request.
        errors: Documented code → status.
        supported: The call of the client; None where it is left out.
        left_out: Why, where it is.
        fields_left_out: Field → why the client never sends it.
        calls: Uses of the call that together send every other field.
    """

    method: str
    path: str
    aliases: tuple[str, ...] = ()
    fields: tuple[str, ...] = ()
    errors: Mapping[str, int] = attrs.field(factory=dict)
    supported: str | None = None
    left_out: str = ""
    fields_left_out: Mapping[str, str] = attrs.field(factory=dict)
    calls: tuple[Call, ...] = ()


COMMON_ERRORS: Final = {
    "missing_api_key": 401,
    "invalid_api_key": 401,
    "model_not_found": 404,
    "content_policy_violation": 400,
    "prompt_too_long": 400,
    "IMAGE_INPUT_TOO_MANY": 400,
    "rate_limit_exceeded": 429,
    "daily_rpd_limit_exceeded": 429,
    "daily_usd_limit_exceeded": 429,
    "provider_transient_error": 503,
    "rate_limiter_unavailable": 503,
}
MODERATION_ERRORS: Final = {
    "conflicting_moderation_model": 400,
    "empty_moderation_input": 400,
    "unsupported_moderation_input": 400,
    "unsupported_input_modality": 400,
    "context_length_exceeded": 400,
    "inline_moderation_requires_api_key": 401,
}
_PICTURE: Final = {"n": 1, "seed": 1}
_ALIASES: Final = ("imageDataUrl", "imageDataUrls", "image_url", "images")


def _generate(**fields: object) -> Call:
    return lambda client: client.images.generate("a", model="restyle", validate=False, **fields)


def _openai(**fields: object) -> Call:
    return lambda client: client.images.generate_openai("a", model="restyle", validate=False, **fields)


OPERATIONS: Final = (
    Operation(
        method="GET",
        path="/api/v1/image-models",
        fields=("detailed",),
        supported="catalog.image_models",
        calls=(lambda client: client.catalog.image_models(detailed=False),),
    ),
    Operation(
        method="GET",
        path="/api/v1/images/models",
        supported="catalog.models",
        calls=(lambda client: client.catalog.models(),),
    ),
    Operation(
        method="GET",
        path="/api/v1/images/models/{id}/endpoints",
        errors={"model_not_found": 404},
        supported="catalog.endpoints",
        calls=(lambda client: client.catalog.endpoints("hidream"),),
    ),
    Operation(
        method="POST",
        path="/api/v1/images",
        fields=(*IMAGES_REQUEST["properties"], "nImages", *_ALIASES, "stream", "provider"),
        errors={
            **COMMON_ERRORS,
            "missing_model": 400,
            "invalid_content_type": 400,
            "invalid_input_references": 400,
            "conflicting_image_inputs": 400,
            "unsupported_stream": 400,
            "unsupported_provider_options": 400,
        },
        supported="images.generate",
        fields_left_out={"stream": "refused by the service; the client refuses it before that"},
        calls=(
            _generate(
                **_PICTURE,
                resolution="1024x1024",
                aspect_ratio="1:1",
                quality="high",
                output_format="png",
                input_references=[PNG],
                extra={"provider": {"only": ["x"]}},
            ),
            _generate(extra={"nImages": 1, **dict.fromkeys(_ALIASES, "https://example.com/a.png")}),
        ),
    ),
    Operation(
        method="POST",
        path="/v1/images/generations",
        aliases=("/api/v1/images/generations",),
        fields=tuple(OPENAI_REQUEST["properties"]),
        errors={**COMMON_ERRORS, "IMAGE_INPUT_TOO_LARGE": 413},
        supported="images.generate_openai",
        calls=(
            _openai(
                **_PICTURE,
                size="1024x1024",
                response_format="url",
                user="u",
                image_data_url=PNG,
                mask_data_url=PNG,
                strength=0.5,
                guidance_scale=7,
                num_inference_steps=20,
                kontext_max_mode=True,
            ),
            _openai(image_data_urls=[PNG, PNG]),
        ),
    ),
    Operation(
        method="POST",
        path="/api/v1/images/edits",
        aliases=("/api/v1/images/edit", "/v1/images/edits", "/v1/images/edit"),
        fields=(
            *("prompt", "image", "image[]", "mask", "model", "size", "n", "response_format", "seed"),
            *("imageDataUrl", "imageDataUrls", "maskDataUrl"),
        ),
        errors={
            **COMMON_ERRORS,
            "missing_image_input": 400,
            "image_input_too_large": 413,
            "invalid_multipart_body": 400,
        },
        supported="images.edit",
        fields_left_out=dict.fromkeys(
            ("imageDataUrl", "imageDataUrls", "maskDataUrl"),
            "of the JSON form; the client sends the form with files",
        ),
        calls=(
            lambda client: client.images.edit(
                "a",
                image=PNG,
                mask=PNG,
                model="restyle",
                size="1024x1024",
                response_format="b64_json",
                validate=False,
                **_PICTURE,
            ),
            lambda client: client.images.edit("a", image=[PNG, PNG]),
        ),
    ),
    Operation(
        method="POST",
        path="/api/estimate-image-cost",
        fields=("model", "size"),
        errors={"model_not_found": 404},
        supported="catalog.quote",
        calls=(
            lambda client: client.catalog.quote(ngi.GenerateRequest(model="hidream", resolution="1024x1024")),
        ),
    ),
    Operation(
        method="POST",
        path="/api/check-balance",
        errors={"missing_api_key": 401, "invalid_api_key": 401},
        supported="account.balance",
        calls=(lambda client: client.account.balance(),),
    ),
    Operation(
        method="GET",
        path="/api/v1/usage",
        fields=("from", "to", "group_by", "scope"),
        supported="account.usage",
        fields_left_out={"scope": "its only documented value is the default"},
        calls=(lambda client: client.account.usage("2026-01-01", "2026-01-02"),),
    ),
    Operation(
        method="POST",
        path="/api/v1/images (headers of inline moderation)",
        fields=("moderation", "moderation-model"),
        errors=MODERATION_ERRORS,
        supported="images.generate",
        calls=(_generate(),),
    ),
    Operation(
        method="POST",
        path="/api/nsfw/image",
        fields=("image_urls", "imageUrls", "imageUrl", "imageDataUrl", "imageDataUrls"),
        left_out="classification of images, not their making",
    ),
    Operation(
        method="GET",
        path="/api/subscription/v1/usage",
        left_out="a subscription's quota; usage of the key is in account.usage",
    ),
    Operation(
        method="POST",
        path="/api/v1/images (x-x402)",
        fields=("x-x402",),
        left_out="payment without an account; a 402 with a quote is decoded, and paying it is left to other tools",
    ),
    Operation(
        method="POST",
        path="/check-midjourney-status",
        left_out="polling of tasks, seen and not documented; TaskPendingError has the ID",
    ),
)
