"""Request validation as the service does it: a body becomes an Order or raises a Refusal."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import Literal, cast

import attrs

from .catalog.definitions import ImageFormat, SandboxModel
from .drawing.sizes import pixel_size
from .edits import DEFAULT_EDIT_MODEL, EditInputs, checked_inputs
from .http.refusals import Refusal, Route, refuse
from .http.responses import JsonObject
from .references import checked_references

DEFAULT_OPENAI_MODEL = "hidream"
_DEFAULTS = {"openai": DEFAULT_OPENAI_MODEL, "edit": DEFAULT_EDIT_MODEL}
Delivery = Literal["b64_json", "url"]
_FORMATS: Mapping[str, ImageFormat] = {"png": "png", "jpeg": "jpeg", "jpg": "jpeg", "webp": "webp"}
_RANGES = {"strength": (0, 1), "guidance_scale": (0, 20), "num_inference_steps": (1, 100)}


@attrs.frozen(kw_only=True)
class Order:
    """A request that the service accepts."""

    route: Route
    model: SandboxModel
    prompt: str
    n: int | None
    images: int
    resolution: str
    aspect_ratio: str | None
    seed: int | None
    image_format: ImageFormat
    delivery: Delivery
    references: int
    cost_usd: float
    stream: bool = False
    inputs: EditInputs | None = None


def checked_json(content_type: str, raw: bytes, route: Route) -> JsonObject:
    """
    Parse a request body as a JSON object.

    Raises:
        Refusal: 400, the content type is not JSON, or the body is not a JSON object.
    """
    if content_type.partition(";")[0].strip().lower() != "application/json":
        message = "POST /api/v1/images accepts application/json requests only."
        raise refuse(400, "invalid_content_type", message, route=route)
    try:
        body: object = json.loads(raw)
    except ValueError:
        raise refuse(400, "invalid_json", "The request body is not valid JSON.", route=route) from None
    if not isinstance(body, dict):
        raise refuse(400, "invalid_json", "The request body must be a JSON object.", route=route)
    return cast("JsonObject", body)


def checked_order(
    body: JsonObject,
    models: Mapping[str, SandboxModel],
    route: Route,
    inputs: EditInputs | None = None,
) -> Order:
    """
    Check a request body field by field, and the images of an edit, and return it as an order.

    Raises:
        Refusal: Some field is not valid; the refusal has the documented status, code and body.
    """
    # Assumption: the OpenAI-compatible route streams events, as OpenAI's own route does.
    if body.get("stream") is True and route == "images":
        raise refuse(
            400, "unsupported_stream", "stream: true is not supported yet.", parameter="stream", route=route
        )
    if body.get("provider"):
        message = "Provider selection and passthrough options are not supported yet."
        raise refuse(400, "unsupported_provider_options", message, parameter="provider", route=route)
    model = _model(body, models, route)
    references = checked_references(body, model, route) if inputs is None else checked_inputs(inputs, model)
    prompt = _prompt(body, model, route)
    n = _count(body, model, route)
    images = n if n is not None else model.default_images
    resolution = _resolution(body, model, route)
    offers = {
        "aspect_ratio": model.aspect_ratios,
        "quality": model.qualities,
        "rendering_speed": tuple(model.tiers_usd),
    }
    for field, offered in offers.items():
        _check_offered(body, field, offered, model, route)
    _check_ranges(body, route)
    aspect_ratio, seed = body.get("aspect_ratio"), body.get("seed")
    return Order(
        route=route,
        model=model,
        prompt=prompt,
        n=n,
        images=images,
        resolution=resolution,
        aspect_ratio=aspect_ratio if isinstance(aspect_ratio, str) else None,
        seed=seed if isinstance(seed, int) else None,
        image_format=_image_format(body, model, route),
        inputs=inputs,
        delivery="url" if route != "images" and body.get("response_format") == "url" else "b64_json",
        references=references,
        stream=body.get("stream") is True,
        cost_usd=cost_usd(body, model, resolution, images, references),
    )


def cost_usd(body: JsonObject, model: SandboxModel, resolution: str, images: int, references: int) -> float:
    """Return the USD of *images* images made of so many input images."""
    tier = body.get("rendering_speed") if model.tiers_usd else None
    add_ons = [name for name in (*model.add_ons_usd, *model.options_usd) if body.get(name)]
    each = model.price_usd(resolution, tier=tier if isinstance(tier, str) else None, add_ons=add_ons)
    width, height = pixel_size(resolution)
    each += model.megapixel_usd * math.ceil(width * height / 1_000_000)
    if model.unlisted_fields:
        each *= _number(body, "scale") * max(1.0, _number(body, "width") / width)
        each *= _number(body, "num_images") * max(1.0, _number(body, "height") / height)
    return round(each * images + model.request_usd + model.input_image_usd * references, 9)


def _number(body: JsonObject, field: str) -> float:
    """A field that may raise the cost; at least 1, also where the request does not name it."""
    value = body.get(field)
    return max(1.0, value) if isinstance(value, int | float) else 1.0


def _model(body: JsonObject, models: Mapping[str, SandboxModel], route: Route) -> SandboxModel:
    model_id = body.get("model")
    if model_id is None:
        model_id = _DEFAULTS.get(route)
    if not isinstance(model_id, str) or not model_id:
        raise refuse(400, "missing_model", "model is required.", parameter="model", route=route)
    if model_id not in models:
        raise model_not_found(model_id)
    return models[model_id]


def model_not_found(model_id: str) -> Refusal:
    """Return the 404 for an unknown model ID."""
    return refuse(404, "model_not_found", f"The model '{model_id}' does not exist.", parameter="model")


def _prompt(body: JsonObject, model: SandboxModel, route: Route) -> str:
    prompt = body.get("prompt")
    required = model.prompt_required or route == "edit"
    if prompt is None and not required:
        return ""
    if not isinstance(prompt, str) or (required and not prompt.strip()):
        raise refuse(400, "missing_prompt", "prompt is required.", parameter="prompt", route=route)
    # `errors`: a lone surrogate is valid JSON and still has a length.
    length = len(prompt.strip().encode("utf-16-le", "surrogatepass")) // 2
    if model.prompt_max is not None and length > model.prompt_max:
        message = f"Prompt is too long: {length} characters, {model.id} accepts {model.prompt_max}."
        raise refuse(400, "prompt_too_long", message)
    return prompt


def _count(body: JsonObject, model: SandboxModel, route: Route) -> int | None:
    """Return `nImages`, else `n`; None if the request has neither."""
    field = "nImages" if body.get("nImages") is not None else "n"
    count = body.get(field)
    if count is None:
        return None
    if model.fixed_image_count == count == 1 and not isinstance(count, bool):
        return 1
    if model.fixed_image_count is not None:
        message = f"{model.id} always returns {model.fixed_image_count} images and does not accept n."
        raise refuse(400, "invalid_n", message, parameter=field, route=route)
    if (
        not isinstance(count, int)
        or isinstance(count, bool)
        or not model.images_min <= count <= model.images_max
    ):
        message = f"{field} must be an integer from {model.images_min} to {model.images_max} for {model.id}; got {count!r}."
        raise refuse(400, "invalid_n", message, parameter=field, route=route)
    return count


def _resolution(body: JsonObject, model: SandboxModel, route: Route) -> str:
    field = "size" if route != "images" and body.get("size") is not None else "resolution"
    _check_offered(body, field, model.resolutions, model, route)
    resolution = body.get(field)
    if isinstance(resolution, str):
        return resolution
    if route == "edit":
        return "auto"
    return model.resolutions[0] if model.resolutions else "auto"


def _check_offered(
    body: JsonObject, field: str, offered: tuple[str, ...], model: SandboxModel, route: Route
) -> None:
    value = body.get(field)
    if value is None or not offered or value in offered:
        return
    code = "invalid_resolution" if field in {"size", "resolution"} else f"invalid_{field}"
    message = f"{field} {value!r} is not supported by {model.id}. Supported: {', '.join(offered)}."
    raise refuse(400, code, message, parameter=field, route=route)


def _image_format(body: JsonObject, model: SandboxModel, route: Route) -> ImageFormat:
    wanted = body.get("output_format")
    if not model.output_formats or wanted is None:
        # What lies outside a mask comes back as it was, so an edit is without loss unless one asks for another format.
        return "png" if route == "edit" else model.default_format
    if not isinstance(wanted, str) or _FORMATS.get(wanted.lower()) not in model.output_formats:
        message = f"output_format {wanted!r} is not supported by {model.id}."
        raise refuse(400, "invalid_output_format", message, parameter="output_format", route=route)
    return _FORMATS[wanted.lower()]


def _check_ranges(body: JsonObject, route: Route) -> None:
    for field, (low, high) in _RANGES.items():
        value = body.get(field)
        if value is None:
            continue
        if not isinstance(value, int | float) or isinstance(value, bool) or not low <= value <= high:
            message = f"{field} must be a number from {low} to {high}; got {value!r}."
            raise refuse(400, f"invalid_{field}", message, parameter=field, route=route)
