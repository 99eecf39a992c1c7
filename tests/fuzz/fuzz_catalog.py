"""Any listing: models that can be used, or ResponseDecodeError."""

from __future__ import annotations

import contextlib
import json
from pathlib import Path

from _target import fuzz, instrumented

with instrumented():
    from nanogpt_images import GenerateRequest, ParameterError, ResponseDecodeError, split_count
    from nanogpt_images.resources.checks import checked, find_problems
    from nanogpt_images.wire.catalog.join import Joined
    from nanogpt_images.wire.catalog.listings import decode_endpoints, image_models, listed_models

SAMPLES = Path(__file__).parent.parent / "samples"
REQUEST = GenerateRequest(model="m", prompt="p", n=2, resolution="1k", quality="high", seed=3)


def check(data: bytes) -> None:
    """The body of all three free requests, and of both listings at once."""
    try:
        body = json.loads(data)
    except (ValueError, RecursionError):
        return
    with contextlib.suppress(ResponseDecodeError):
        decode_endpoints(body, "m")
    try:
        legacy, listed = image_models(body), listed_models(body)
        models = Joined(legacy, listed).join_all()
    except ResponseDecodeError:
        return
    assert len({model.id for model in models}) == len(models)
    assert {record.id for listing in (legacy, listed) for record in listing.listing()} == {
        model.id for model in models
    }
    for model in models:
        rule = model.count_rule
        counts = split_count(7, rule)
        assert sum(map(rule.images, counts)) >= 7
        model.price_bounds("1k")
        repr(model)
        for problem in find_problems(REQUEST, model):
            str(problem)
        with contextlib.suppress(ParameterError):
            checked(REQUEST, model)


SEEDS = [json.dumps(json.loads(path.read_bytes())).encode() for path in sorted(SAMPLES.glob("*.json"))]
FIELDS = (
    *(
        "data",
        "id",
        "endpoints",
        "supported_parameters",
        "pricing",
        "public_pricing",
        "per_image",
        "currency",
    ),
    *("type", "values", "min", "max", "minimum", "maximum", "default", "n", "resolution", "resolutions"),
    *("max_images", "max_output_images", "fixed_image_count", "max_input_images", "input_references"),
    *("input_image_constraints", "max_prompt_characters", "prompt_length", "unit", "trim_whitespace"),
    *("architecture", "created", "cost_usd", "billable", "quality", "seed"),
)
WORDS = [
    *(f'"{field}":' for field in FIELDS),
    *('"enum"', '"range"', '"boolean"', "1e308", "-1", "1e20", "null,", "true,", "[]", "{}", "NaN"),
]

if __name__ == "__main__":
    fuzz(check, SEEDS, WORDS)
