"""The catalogue as the service sends it: two listings in two shapes, and the endpoint metadata."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence

from ..http.responses import JsonObject
from .definitions import SandboxModel

MAX_REFERENCE_BYTES = 31_457_280


def image_models(models: Sequence[SandboxModel], *, detailed: bool, now: float) -> JsonObject:
    """Return the body of `GET /api/v1/image-models`."""
    shown = [model for model in models if "image-models" in model.listed_in]
    return _listing([_detailed(model) if detailed else _basic(model) for model in shown], now)


def images_models(models: Sequence[SandboxModel], *, now: float) -> JsonObject:
    """Return the body of `GET /api/v1/images/models`."""
    return _listing([_image_entry(model) for model in models if "images/models" in model.listed_in], now)


def endpoints(model: SandboxModel) -> JsonObject:
    """Return the body of `GET /api/v1/images/models/{id}/endpoints`."""
    offer: JsonObject = {
        "provider_name": model.owner.capitalize() if model.owner != "openai" else "OpenAI",
        "provider_slug": model.owner,
        "provider_tag": None,
        "supported_parameters": _flat(model) if model.flat else _descriptors(model),
        "allowed_passthrough_parameters": [],
        "supports_streaming": False,
        "pricing": _price_lines(model),
    }
    if model.references_max:
        offer["input_reference_constraints"] = _reference_constraints(model)
    if model.flat:
        offer["public_pricing"] = _pricing(model)
        offer["capabilities"] = _capabilities(model)
    return {"id": model.id, "endpoints": [offer]}


def _listing(data: list[JsonObject], now: float) -> JsonObject:
    # The service's count may differ from the length of the list; the sandbox's always does.
    generated_at = time.strftime("%Y-%m-%dT%H:%M:%S.000Z", time.gmtime(now))
    return {"object": "list", "data": data, "meta": {"count": len(data) + 1, "generated_at": generated_at}}


def _basic(model: SandboxModel) -> JsonObject:
    return {"id": model.id, "object": "model", "created": model.created, "owned_by": model.owner}


def _detailed(model: SandboxModel) -> JsonObject:
    parameters = _counts(model)
    if model.resolutions:
        parameters["resolutions"] = list(model.resolutions)
    if model.flat:
        parameters |= _flat_inputs(model)
    entry = _basic(model) | {
        "name": model.name,
        "description": model.description,
        "architecture": {
            "modality": "text+image->image" if model.references_max else "text->image",
            **_modalities(model),
        },
        "pricing": _pricing(model),
        "capabilities": _capabilities(model),
        "supported_parameters": parameters | dict(model.extra_parameters),
        "category": "image",
    }
    if not model.prices_usd:
        del entry["pricing"]
    return entry | dict(model.extra_fields)


def _image_entry(model: SandboxModel) -> JsonObject:
    return {
        "id": model.id,
        **({"object": "model"} if model.flat else {}),
        "name": model.name,
        "description": model.description,
        "created": model.created,
        "owned_by": model.owner,
        "architecture": _modalities(model),
        "supported_parameters": _flat(model) if model.flat else _descriptors(model),
        "supports_streaming": False,
        "endpoints": f"/api/v1/images/models/{model.id}/endpoints",
        "capabilities": _capabilities(model),
        "category": "image",
        **model.extra_fields,
    }


def _descriptors(model: SandboxModel) -> JsonObject:
    """Return the parameters in the documented form: one descriptor per parameter."""
    parameters: JsonObject = {}
    choices = {
        "resolution": model.resolutions,
        "aspect_ratio": model.aspect_ratios,
        "quality": model.qualities,
        "output_format": model.output_formats,
    }
    for name, values in choices.items():
        if values:
            parameters[name] = {"type": "enum", "values": list(values), "default": values[0]}
    if model.tiers_usd:
        parameters["rendering_speed"] = {"type": "enum", "values": list(model.tiers_usd)}
    if not model.fixed_image_count:
        parameters["n"] = {
            "type": "range",
            "min": model.images_min,
            "max": model.images_max,
            "default": model.default_images,
        }
    # The documents show gpt-image-2 without this descriptor although it accepts references; other models have it.
    if model.references_max and model.id != "gpt-image-2":
        parameters["input_references"] = {
            "type": "range",
            "min": int(model.references_required),
            "max": model.references_max,
        }
    return parameters | dict(model.extra_parameters)


def _flat(model: SandboxModel) -> JsonObject:
    """Return the parameters in the live form: plain lists and numbers."""
    parameters: JsonObject = {"resolutions": list(model.resolutions), "max_output_images": model.images_max}
    if model.aspect_ratios:
        parameters["aspect_ratio"] = list(model.aspect_ratios)
    if model.qualities:
        parameters["quality"] = list(model.qualities)
    return parameters | _counts(model) | _flat_inputs(model) | dict(model.extra_parameters)


def _counts(model: SandboxModel) -> JsonObject:
    parameters: JsonObject = {"max_images": model.images_max}
    if model.fixed_image_count:
        parameters["fixed_image_count"] = model.fixed_image_count
    if model.tiers_usd:
        parameters["rendering_speed"] = list(model.tiers_usd)
    return parameters


def _flat_inputs(model: SandboxModel) -> JsonObject:
    parameters: JsonObject = {}
    if model.references_max:
        parameters["max_input_images"] = model.references_max
        parameters["input_image_constraints"] = _reference_constraints(model)
    if model.prompt_max:
        parameters["max_prompt_characters"] = model.prompt_max
        parameters["prompt_length"] = {"unit": "utf16_code_units", "trim_whitespace": True}
    return parameters


def _reference_constraints(model: SandboxModel) -> JsonObject:
    limits: JsonObject = {"min_width": 8, "min_height": 8, "max_bytes": MAX_REFERENCE_BYTES}
    route = limits | {"formats": ["png", "jpeg", "webp"], "source": "route-preflight"}
    constraints: JsonObject = {"max_items": model.references_max, "route": route}
    if model.flat:
        route |= {"max_width": 16_384, "max_height": 16_384}
        constraints["provider"] = {
            "max_width": 4096,
            "max_height": 4096,
            "max_bytes": 10 * 1024 * 1024,
            "note": "Larger images are refused by the provider.",
            "source": "provider",
        }
    return constraints


def _modalities(model: SandboxModel) -> JsonObject:
    inputs = ["text", "image"] if model.references_max else ["text"]
    return {"input_modalities": inputs, "output_modalities": ["image"]}


def _capabilities(model: SandboxModel) -> JsonObject:
    return {
        "image_generation": not model.references_required,
        "image_to_image": model.references_max > 0,
        "inpainting": model.masks,
        "nsfw": False,
    }


def _pricing(model: SandboxModel) -> JsonObject:
    """Return `pricing` as image-models shows it: `per_image`, tiers and add-ons."""
    pricing: JsonObject = {"per_image": _prices(model, model.prices_usd)}
    if model.tiers_usd:
        tiers = model.tiers_usd.items()
        pricing["by_rendering_speed"] = {tier: _prices(model, table) for tier, table in tiers}
    for name, table in model.add_ons_usd.items():
        pricing[name] = {"per_image": _prices(model, table)}
    return pricing | _prices(model, model.options_usd) | {"currency": "USD"}


def _prices(model: SandboxModel, table: Mapping[str, float]) -> JsonObject:
    return {key: _money(model, price) for key, price in table.items()}


def _price_lines(model: SandboxModel) -> list[JsonObject]:
    lines = [_price_line(model, price, {"resolution": key}) for key, price in model.prices_usd.items()]
    lines += [
        _price_line(model, price, {"resolution": key}) for key, price in model.endpoint_prices_usd.items()
    ]
    for tier, table in model.tiers_usd.items():
        for key, price in table.items():
            lines.append(_price_line(model, price, {"resolution": key, "rendering_speed": tier}))
    for unit, price in {"request": model.request_usd, "megapixel": model.megapixel_usd}.items():
        if price:
            lines.append(_price_line(model, price, {"unit": unit}))
    if model.input_image_usd:
        lines.append(_price_line(model, model.input_image_usd, {}, billable="input_image"))
    return lines


def _price_line(
    model: SandboxModel, price: float, more: JsonObject, *, billable: str = "output_image"
) -> JsonObject:
    line: JsonObject = {"billable": billable, "unit": "image", "cost_usd": _money(model, price), **more}
    return line | {"currency": "USD"} if model.flat else line


def _money(model: SandboxModel, usd: float) -> float | str:
    return str(usd) if model.money_as_text else usd
