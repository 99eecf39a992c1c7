"""The price of a request as the service estimates it: the question, and whatever shape the answer has."""

from __future__ import annotations

import json
from typing import Final

from ..types.prices import Cost
from ..types.request import INPUT_FIELDS, MASK_FIELD, ImageRequest
from .answers import currency_of
from .convert import as_object, as_usd
from .requests import body_of

ESTIMATE_PATH: Final = "/api/estimate-image-cost"
# What no price depends on, what is private, and the count: see `quote_body`.
_LEFT_OUT: Final = frozenset(
    {
        *("prompt", "negative_prompt", "user", "seed", "response_format", "stream", "resolution"),
        *("n", "nImages", "input_references", *INPUT_FIELDS, MASK_FIELD),
    }
)
# Assumption: only `cost` was seen; these are the names that the service gives to amounts elsewhere.
_AMOUNTS: Final = ("cost", "costUsd", "cost_usd", "estimatedCost", "totalCost", "price", "amountUsd")
_WITHIN: Final = ("data", "estimate", "payment", "result")


def quote_body(request: ImageRequest) -> bytes:
    """
    Write the question after the price of *request*; the same for all requests that cost the same.

    It has neither the prompt nor any image, and no count: whether the answer to a count is the price of one image or of
    all of them is not documented. Without one it is that of what the model makes by default.

    Source: docs/service.md, "Price of a request".
    """
    fields = {name: value for name, value in body_of(request).items() if name not in _LEFT_OUT}
    question = {**fields, "size": request.resolution}
    kept = {name: value for name, value in question.items() if value is not None}
    return json.dumps(kept, sort_keys=True, default=repr).encode("utf-8", "replace")


def decode_quote(document: object) -> Cost | None:
    """Find the amount in an answer, in whatever currency; None where there is none."""
    body = as_object(document)
    for place in (body, *(as_object(body.get(name)) for name in _WITHIN)):
        for name in _AMOUNTS:
            if (amount := as_usd(place.get(name))) is not None:
                return Cost(amount, currency_of({**body, **place}))
    return None
