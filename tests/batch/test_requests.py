"""A row → the request of each of its units."""

from __future__ import annotations

import pytest

from nanogpt_images.batch.requests import problem_of, request_of
from nanogpt_images.batch.rows import BatchRow
from nanogpt_images.errors import Charge, ManifestError, ParameterError
from nanogpt_images.models import Model
from nanogpt_images.parameters import CountRule, EnumSpec
from nanogpt_images.request import GenerateRequest, OpenAIRequest


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
