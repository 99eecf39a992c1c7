"""`POST /api/estimate-image-cost`: what a request would cost."""

from __future__ import annotations

from collections.abc import Mapping

from ..catalog.definitions import SandboxModel
from ..http.refusals import refuse
from ..http.responses import JsonObject
from ..validation import cost_usd, model_not_found


def estimate_body(body: JsonObject, models: Mapping[str, SandboxModel]) -> JsonObject:
    """
    Estimate the price of a request with these fields; `size` and `resolution` mean the same.

    Raises:
        Refusal: The model is missing or unknown.
    """
    model_id = body.get("model")
    if not isinstance(model_id, str) or not model_id:
        raise refuse(400, "missing_model", "model is required.", parameter="model")
    if model_id not in models:
        raise model_not_found(model_id)
    model = models[model_id]
    size = body.get("size") or body.get("resolution") or next(iter(model.resolutions), "auto")
    count = body.get("n")
    images = count if isinstance(count, int) and not isinstance(count, bool) and count > 0 else None
    return {"cost": cost_usd(body, model, str(size), images or model.default_images, 0)}
