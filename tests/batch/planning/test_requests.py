"""A row → the request of each of its units."""

from __future__ import annotations

import asyncio
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nanogpt_images.batch.manifest.columns import KNOWN_PARAMETERS
from nanogpt_images.batch.planning.pricing import unit_price
from nanogpt_images.batch.planning.requests import problem_of, request_of
from nanogpt_images.batch.rows import BatchRow
from nanogpt_images.batch.units import units_of
from nanogpt_images.errors import Charge, ManifestError, NanoGPTError, ParameterError
from nanogpt_images.references import ReferenceLoader
from nanogpt_images.resources.checks import checked
from nanogpt_images.types.model import Model
from nanogpt_images.types.parameters import CountRule, EnumSpec, split_count
from nanogpt_images.types.request import GenerateRequest, OpenAIRequest
from nanogpt_images.wire.catalog.join import Joined
from nanogpt_images.wire.catalog.listings import image_models, listed_models
from nanogpt_images.wire.requests import encode_body


def test_a_row_of_the_normalized_route_becomes_its_request() -> None:
    """Fields of the route are set, n comes from the unit."""
    row = BatchRow("a fox", "m", count=7, resolution="1k", seed=3)
    assert request_of(row, 2) == GenerateRequest(model="m", prompt="a fox", n=2, resolution="1k", seed=3)


def test_a_row_of_the_other_route_becomes_its_request() -> None:
    """`response_format` and `size` belong to the OpenAI-compatible route."""
    row = BatchRow("a fox", "m", route="openai", size="64x64", response_format="url")
    assert request_of(row, None) == OpenAIRequest(
        model="m", prompt="a fox", n=None, size="64x64", response_format="url"
    )


@pytest.mark.parametrize(("route", "foreign"), [("images", "size"), ("openai", "resolution")])
def test_what_the_route_does_not_name_goes_into_extra(route: str, foreign: str) -> None:
    """A parameter of the other route, or of one model, reaches the body as it is."""
    row = BatchRow("a fox", "m", route=route, rendering_speed="TURBO", **{foreign: "x"})
    assert request_of(row, 1).extra == {"rendering_speed": "TURBO", foreign: "x"}


def test_a_nested_extra_is_taken_apart() -> None:
    """`extra` of a row and its unknown parameters end in one object."""
    row = BatchRow("a fox", "m", extra={"a": 1}, b=2)
    assert request_of(row, 1).extra == {"a": 1, "b": 2}


def test_an_extra_that_is_no_object_is_refused() -> None:
    """The line is named."""
    row = BatchRow.of({"prompt": "a fox", "model": "m", "extra": "text"}, line=7)
    with pytest.raises(ManifestError, match="extra must be an object") as caught:
        request_of(row, 1)
    assert caught.value.line == 7


@pytest.mark.parametrize(("value", "text"), [(2, "2"), (1.5, "1.5"), ("2k", "2k")])
def test_a_scale_factor_goes_out_as_text(value: object, text: str) -> None:
    """A table or JSON file reads `2` as a number, while the catalogue lists the token `2`."""
    assert request_of(BatchRow("a fox", "m", resolution=value), 1).resolution == text


def test_a_count_above_the_range_of_n_is_no_problem() -> None:
    """The count is split over several requests."""
    model = Model(id="m", count_rule=CountRule(1, 4))
    assert problem_of(BatchRow("a fox", "m", count=100), model) is None


def test_a_value_that_is_not_offered_is_a_problem() -> None:
    """It is found before anything is sent."""
    model = Model(id="m", parameters={"resolution": EnumSpec(("1k", "2k"))})
    problem = problem_of(BatchRow("a fox", "m", resolution="9k"), model)
    assert isinstance(problem, ParameterError)
    assert problem.charge is Charge.NOT_SENT


def test_a_row_that_makes_no_request_is_a_problem_and_not_an_exception() -> None:
    """One bad row is reported like any other."""
    row = BatchRow("a fox", "m", extra=3)
    assert isinstance(problem_of(row, Model(id="m")), ManifestError)


@pytest.mark.parametrize("name", ["n", "nImages", "resolution", "size"])
def test_what_decides_the_price_cannot_hide_in_extra(name: str) -> None:
    """A count or a resolution in nested `extra` would pass the budget by; it is refused by its name."""
    row = BatchRow(prompt="a fox", model="gpt-image-2", extra={name: 2})
    with pytest.raises(ManifestError, match=f"extra holds {name};"):
        request_of(row, 1)


NUMBERS = st.integers() | st.floats(allow_nan=False) | st.sampled_from([10**20, 2**63, 1e300, -1, 0, 1, 3])
JSON = st.recursive(
    st.none()
    | st.booleans()
    | NUMBERS
    | st.text(max_size=9)
    | st.sampled_from(["1k", "high", "url", "x.png"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)
FIELDS = sorted(KNOWN_PARAMETERS | {"count", "key", "extra", "nImages", "images", "image_url"})
DESCRIPTORS = st.dictionaries(
    st.sampled_from(["type", "values", "min", "max", "default"]),
    JSON | st.sampled_from(["enum", "range", "boolean"]) | st.lists(st.sampled_from(["1k", "high", "2"])),
)
LIMITS = st.dictionaries(
    st.sampled_from(
        [
            *("n", "resolution", "resolutions", "quality", "seed", "max_images", "fixed_image_count"),
            *("max_prompt_characters", "input_references", "max_input_images", "input_image_constraints"),
        ]
    ),
    DESCRIPTORS | JSON,
)


@given(
    st.dictionaries(st.sampled_from(FIELDS) | st.text(max_size=5), JSON, max_size=5),
    st.sampled_from(["images", "openai"]),
    LIMITS,
    DESCRIPTORS | JSON,
)
def test_any_row_becomes_a_body_or_an_error_of_the_tree(
    fields: dict[str, object], route: str, limits: dict[str, object], pricing: object
) -> None:
    """Whatever stands in a row and in the catalogue, each request of it is one JSON body, or a NanoGPTError."""
    listing = [{"id": "m", "supported_parameters": limits, "pricing": pricing}]
    (model,) = Joined(image_models(listing), listed_models(listing)).join_all()
    try:
        row = BatchRow.of({**fields, "prompt": "a fox", "model": "m", "route": route})
        if (problem := problem_of(row, model)) is not None:
            raise problem
        assert unit_price(model, row, 3) is None or model.prices
        for unit in units_of(row, model.count_rule, split_count(row.count, model.count_rule))[:3]:
            request = checked(request_of(row, unit.n), model)
            loaded = asyncio.run(ReferenceLoader().load(request, model))
            body = json.loads(encode_body(request, loaded.urls, loaded.mask))
            assert (body["prompt"], body["model"], body.get("n")) == ("a fox", "m", unit.n)
    except NanoGPTError as error:
        assert error.charge is Charge.NOT_SENT  # noqa: PT017 - it may also succeed
