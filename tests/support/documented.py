"""
The bodies of the service as its documents show them, as JSON schemas: data that neither the client nor the sandbox has made.

Each is named after the page of the service's documentation (docs.nano-gpt.com) that it was written from. What the documents
leave open is left open here; what they call required is required. `seen` marks what the documents do not show and several
third parties report.
"""

from __future__ import annotations

from typing import Any, Final

Schema = dict[str, Any]

TEXT: Final[Schema] = {"type": "string"}
TEXTS: Final[Schema] = {"type": "array", "items": TEXT}
WHOLE: Final[Schema] = {"type": "integer"}
NUMBER: Final[Schema] = {"type": "number"}
SWITCH: Final[Schema] = {"type": "boolean"}
DATA_URL: Final[Schema] = {"type": "string", "pattern": "^data:image/[a-z+.-]+;base64,[A-Za-z0-9+/]+=*$"}


def record(
    required: dict[str, Schema], optional: dict[str, Schema] | None = None, *, closed: bool = False
) -> Schema:
    """An object with these properties."""
    return {
        "type": "object",
        "required": list(required),
        "properties": {**required, **(optional or {})},
        "additionalProperties": not closed,
    }


def listing(entry: Schema) -> Schema:
    """A list of models with its `meta`."""
    meta = record({"count": WHOLE, "generated_at": TEXT})
    return record(
        {"object": {"const": "list"}, "data": {"type": "array", "minItems": 1, "items": entry}, "meta": meta}
    )


CAPABILITIES: Final = record(
    {"image_generation": SWITCH, "image_to_image": SWITCH, "inpainting": SWITCH, "nsfw": SWITCH}
)
MODALITIES: Final = {"input_modalities": TEXTS, "output_modalities": TEXTS}
CONSTRAINTS: Final = record(
    {
        "max_items": WHOLE,
        "route": record(
            {"min_width": WHOLE, "min_height": WHOLE, "max_bytes": WHOLE, "formats": TEXTS, "source": TEXT},
            {"max_width": WHOLE, "max_height": WHOLE},
        ),
    },
    # seen
    {"provider": record({}, {"max_width": WHOLE, "max_height": WHOLE, "max_bytes": WHOLE, "note": TEXT})},
)
ENUM: Final = record({"type": {"const": "enum"}, "values": TEXTS}, {"default": TEXT}, closed=True)
RANGE: Final = record(
    {"type": {"const": "range"}, "min": NUMBER, "max": NUMBER}, {"default": NUMBER}, closed=True
)
DESCRIBED: Final = record(
    {}, {"resolution": ENUM, "n": RANGE, "quality": ENUM, "aspect_ratio": ENUM, "input_references": RANGE}
)
FLAT: Final = record(  # seen
    {"resolutions": TEXTS, "max_images": WHOLE},
    {
        "aspect_ratio": TEXTS,
        "max_output_images": WHOLE,
        "max_input_images": WHOLE,
        "input_image_constraints": CONSTRAINTS,
    },
)

IMAGE_MODELS: Final = listing(
    record(
        {
            "id": TEXT,
            "object": {"const": "model"},
            "created": WHOLE,
            "owned_by": TEXT,
            "name": TEXT,
            "description": TEXT,
            "architecture": record({"modality": TEXT, **MODALITIES}),
            "capabilities": CAPABILITIES,
            "supported_parameters": record(
                {"max_images": WHOLE},
                {"resolutions": TEXTS, "rendering_speed": TEXTS, "fixed_image_count": WHOLE},
            ),
            "category": TEXT,
        },
        {
            "pricing": record({"currency": TEXT}, {"per_image": {"type": "object"}}),
            "icon_url": TEXT,
            "tags": TEXTS,
        },
    )
)
"""Page "Image Models", `GET /api/v1/image-models`."""

BASIC_IMAGE_MODELS: Final = listing(
    record({"id": TEXT, "object": {"const": "model"}, "created": WHOLE, "owned_by": TEXT}, closed=True)
)
"""Page "Image Models", `detailed=false`."""

LISTED_MODELS: Final = listing(
    record(
        {
            "id": TEXT,
            "name": TEXT,
            "description": TEXT,
            "created": WHOLE,
            "owned_by": TEXT,
            "architecture": record(MODALITIES),
            "supported_parameters": {"anyOf": [FLAT, DESCRIBED]},
            "supports_streaming": {"const": False},
            "endpoints": {"type": "string", "pattern": "^/api/v1/images/models/.+/endpoints$"},
            "capabilities": CAPABILITIES,
            "category": TEXT,
        },
        {"object": {"const": "model"}},  # seen
    )
)
"""Page "List Image Models", `GET /api/v1/images/models`."""

ENDPOINTS: Final = record(
    {
        "id": TEXT,
        "endpoints": {
            "type": "array",
            "minItems": 1,
            "maxItems": 1,
            "items": record(
                {
                    "provider_name": TEXT,
                    "provider_slug": TEXT,
                    "provider_tag": {"type": "null"},
                    "supported_parameters": {"anyOf": [FLAT, DESCRIBED]},
                    "allowed_passthrough_parameters": {"type": "array", "maxItems": 0},
                    "supports_streaming": {"const": False},
                    "pricing": {
                        "type": "array",
                        "items": record(
                            {"billable": TEXT, "unit": TEXT, "cost_usd": NUMBER}, {"resolution": TEXT}
                        ),
                    },
                },
                # seen: capabilities, public_pricing
                {
                    "input_reference_constraints": CONSTRAINTS,
                    "capabilities": CAPABILITIES,
                    "public_pricing": record({}),
                },
            ),
        },
    }
)
"""Page "Get Image Model Endpoints"."""

GENERATION: Final = record(
    {
        "created": WHOLE,
        "data": {
            "type": "array",
            "minItems": 1,
            "items": {
                "oneOf": [
                    record({"b64_json": {"type": "string", "pattern": "^[A-Za-z0-9+/]+=*$"}}, closed=True),
                    record({"url": {"type": "string", "pattern": "^https?://"}}, closed=True),
                ]
            },
        },
        "cost": NUMBER,
        "paymentSource": {"enum": ["USD", "XNO"]},
        "remainingBalance": NUMBER,
    },
    closed=True,
)
"""Page "Image Generation (OpenAI-Compatible)", "Response": either `url` or `b64_json`, never both."""

IMAGES_REQUEST: Final = record(
    {"model": TEXT},
    {
        "prompt": TEXT,
        "n": WHOLE,
        "resolution": TEXT,
        "aspect_ratio": TEXT,
        "quality": TEXT,
        "output_format": TEXT,
        "seed": WHOLE,
        "input_references": {
            "type": "array",
            "minItems": 1,
            "items": {
                "anyOf": [
                    TEXT,
                    record(
                        {"type": {"const": "image_url"}, "image_url": record({"url": TEXT}, closed=True)},
                        closed=True,
                    ),
                ]
            },
        },
    },
    closed=True,
)
"""Page "Generate Images", "Request Fields" and "Input References"."""

OPENAI_REQUEST: Final = record(
    {},
    {
        "prompt": TEXT,
        "model": TEXT,
        "n": WHOLE,
        "size": TEXT,
        "response_format": {"enum": ["url", "b64_json"]},
        "user": TEXT,
        "imageDataUrl": DATA_URL,
        "imageDataUrls": {"type": "array", "minItems": 2, "items": DATA_URL},
        "maskDataUrl": DATA_URL,
        "strength": {"type": "number", "minimum": 0, "maximum": 1},
        "guidance_scale": {"type": "number", "minimum": 0, "maximum": 20},
        "num_inference_steps": {"type": "integer", "minimum": 1, "maximum": 100},
        "seed": WHOLE,
        "kontext_max_mode": SWITCH,
    },
    closed=True,
)
"""Page "Image Generation (OpenAI-Compatible)", "Body": one image is `imageDataUrl`, several are `imageDataUrls`."""

OPENAI_ERROR: Final = record(
    {
        "error": record(
            {"message": TEXT, "type": TEXT, "code": TEXT, "param": {"type": ["string", "null"]}}, closed=True
        )
    },
    closed=True,
)
"""Page "Error Handling"."""

IMAGE_API_ERROR: Final = record(
    {
        "error": record(
            {"message": TEXT, "type": TEXT, "code": TEXT, "parameter": {"type": ["string", "null"]}},
            closed=True,
        ),
        "code": TEXT,
    },
    closed=True,
)
"""Page "Image API", the examples of error responses."""

BALANCE_ERROR: Final = record(
    {"error": {"const": "Insufficient balance"}, "requiredBalance": NUMBER, "status": {"const": 402}},
    closed=True,
)
"""Page "Error Handling", insufficient balance."""

QUOTE_ERROR: Final = record(
    {
        "error": record({"message": TEXT}),
        "payment": record({"paymentId": TEXT, "amountUsd": TEXT, "accepted": {"type": "array"}}),
    }
)
"""Page "x402", an answer of 402 with a quote."""

TEXT_ERRORS: Final[Schema] = {
    "anyOf": [
        record({"error": TEXT}, closed=True),
        record({"error": TEXT, "code": TEXT}, closed=True),
        record({"error": TEXT, "type": TEXT, "code": TEXT, "requestId": TEXT}, closed=True),
    ]
}
"""Seen, not documented."""

BALANCE: Final = record({"usd_balance": TEXT, "nano_balance": TEXT, "nanoDepositAddress": TEXT})
"""Page "Check Balance", `POST /api/check-balance`."""

_SUMS: Final = {
    "requests": WHOLE,
    "costUsd": NUMBER,
    "refundedUsd": NUMBER,
    "netCostUsd": NUMBER,
    "inputTokens": WHOLE,
    "outputTokens": WHOLE,
    "reasoningTokens": WHOLE,
    "totalTokens": WHOLE,
}
USAGE: Final = record(
    {
        "object": TEXT,
        "scope": {"const": "current_key"},
        "apiKey": record({"id": {}}),
        "from": TEXT,
        "to": TEXT,
        "timezone": {"const": "UTC"},
        "groupBy": {},
        "asOf": TEXT,
        "source": record({"rollupDays": {}, "liveDays": {}, "missingRollupDays": {}}),
        "totals": record(_SUMS),
    },
    {
        "byDay": {"type": "array", "items": record({})},
        "byModel": {"type": "array", "items": record({"model": TEXT})},
        "byDayModel": {"type": "array", "items": record({"model": TEXT})},
    },
)
"""Page "Usage", `GET /api/v1/usage`."""
