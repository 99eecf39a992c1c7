"""`supported_parameters` in all its shapes."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nanogpt_images.types.model import PromptLimit, ReferenceLimits
from nanogpt_images.types.parameters import (
    ONE_IMAGE,
    BooleanSpec,
    CountRule,
    EnumSpec,
    ParameterSpec,
    RangeSpec,
    UnknownSpec,
)
from nanogpt_images.wire.catalog.limits import join_count_rules, join_reference_limits
from nanogpt_images.wire.catalog.specs import join_parameters, parameter_spec, read_supported


@pytest.mark.parametrize(
    ("raw", "spec"),
    [
        ({"type": "enum", "values": ["a", "b"], "default": "a"}, EnumSpec(("a", "b"), "a")),
        ({"values": ["a", "b"], "default": "b"}, EnumSpec(("a", "b"), "b")),
        ({"type": "string", "enum": ["a"]}, EnumSpec(("a",))),
        ({"type": "enum", "values": [1, 2, 4], "default": 2}, EnumSpec(("1", "2", "4"), "2")),
        ({"type": "enum", "values": ["a", None, "a"]}, EnumSpec(("a",))),
        (["1024*1024", "2K"], EnumSpec(("1024*1024", "2K"))),
        ({"type": "range", "min": 0, "max": 4, "default": 1}, RangeSpec(0, 4, 1)),
        ({"type": "RANGE", "min": "0.5", "max": None}, RangeSpec(0.5, None)),
        ({"type": "integer", "minimum": 1, "maximum": 9}, RangeSpec(1, 9)),
        ({"min": 1, "max": 2}, RangeSpec(1, 2)),
        ({"type": "number"}, RangeSpec()),
        ({"type": "boolean"}, BooleanSpec()),
        ({"type": "boolean", "default": True}, BooleanSpec(True)),
        ({"type": "enum", "values": [True, False]}, BooleanSpec()),
        (True, BooleanSpec()),
        ({"type": "colour", "space": "rgb"}, UnknownSpec({"type": "colour", "space": "rgb"})),
        ({"type": "enum", "values": []}, UnknownSpec({"type": "enum", "values": []})),
        ({"type": "range", "min": 5, "max": 1}, UnknownSpec({"type": "range", "min": 5, "max": 1})),
        ([{"label": "One", "value": "1k"}], UnknownSpec([{"label": "One", "value": "1k"}])),
        ([], UnknownSpec([])),
        ({}, UnknownSpec({})),
        ("high", UnknownSpec("high")),
        (False, UnknownSpec(False)),
    ],
)
def test_descriptors(raw: object, spec: ParameterSpec) -> None:
    """Every known kind is typed, an unknown kind keeps its raw value, and none refuses all values."""
    assert parameter_spec(raw) == spec


def test_flat_and_described_parameters_give_one_view() -> None:
    """The live flat shape and the documented descriptors give the same names, specs and limits."""
    flat = read_supported(
        {
            "resolutions": ["1k", "2k"],
            "aspect_ratios": ["1:1"],
            "qualities": ["low"],
            "rendering_speed": ["TURBO"],
            "max_images": 4,
            "max_input_images": 3,
        }
    )
    described = read_supported(
        {
            "resolution": {"type": "enum", "values": ["1k", "2k"]},
            "aspect_ratio": {"values": ["1:1"]},
            "quality": {"type": "enum", "values": ["low"]},
            "rendering_speed": {"type": "enum", "values": ["TURBO"]},
            "n": {"type": "range", "min": 1, "max": 4, "default": 1},
            "input_references": {"type": "range", "min": 0, "max": 3},
        }
    )
    assert flat == described
    assert flat.parameters["n"] == RangeSpec(1, 4, 1)


def test_a_key_given_in_both_spellings_keeps_values_and_default() -> None:
    """`resolutions` beside a `resolution` descriptor merge into the longer list with the default."""
    both = read_supported(
        {"resolution": {"values": ["1k"], "default": "1k"}, "resolutions": ["1k", "2k"], "quality": None}
    )
    assert both.parameters == {"resolution": EnumSpec(("1k", "2k"), "1k")}


@pytest.mark.parametrize(
    ("raw", "rule"),
    [
        ({}, ONE_IMAGE),
        ({"max_images": 4}, CountRule(1, 4)),
        ({"max_images": "4"}, CountRule(1, 4)),
        ({"max_images": 4, "max_output_images": 2}, CountRule(1, 2)),
        ({"max_images": 10, "fixed_image_count": 4}, CountRule(4, 4, 4)),
        ({"fixed_image_count": 1, "max_images": 4}, CountRule(1, 1, 1)),
        ({"fixed_image_count": 0, "max_images": 4}, CountRule(1, 4)),
        ({"n": {"type": "range", "min": 2, "max": 8}, "max_images": 4}, CountRule(2, 4)),
        ({"n": {"type": "range", "min": 6, "max": 8}, "max_images": 4}, CountRule(4, 4)),
        ({"n": {"type": "range", "min": 0, "max": 4}}, CountRule(1, 4)),
        ({"n": {"type": "range", "min": 2}}, CountRule(2, 2)),
        ({"n": {"type": "range", "min": 5, "max": 2}}, ONE_IMAGE),
        ({"n": {"type": "enum", "values": [1, 2, 4]}}, CountRule(1, 2)),
        ({"n": [4]}, CountRule(4, 4)),
        ({"n": {"type": "enum", "values": ["few"]}}, ONE_IMAGE),
        ({"max_images": None, "n": None}, ONE_IMAGE),
        ({"max_images": -1}, ONE_IMAGE),
    ],
)
def test_count_rules(raw: dict[str, object], rule: CountRule) -> None:
    """A fixed count rules alone; else the range of n cut to max_images; a number below 1 says nothing."""
    supported = read_supported(raw)
    assert supported.count_rule == rule
    assert ("n" in supported.parameters) == (rule.stated and rule.fixed is None)


@pytest.mark.parametrize(
    ("legacy", "listed", "joined"),
    [
        (CountRule(4, 4, 4), CountRule(1, 4), CountRule(4, 4, 4)),
        (CountRule(1, 4), CountRule(2, 2, 2), CountRule(2, 2, 2)),
        (CountRule(1, 4), CountRule(2, 8), CountRule(2, 4)),
        (CountRule(1, 3), CountRule(5, 8), CountRule(3, 3)),
        (CountRule(1, 4), ONE_IMAGE, CountRule(1, 4)),
        (ONE_IMAGE, CountRule(2, 8), CountRule(2, 8)),
        (ONE_IMAGE, ONE_IMAGE, ONE_IMAGE),
    ],
)
def test_joined_count_rules(legacy: CountRule, listed: CountRule, joined: CountRule) -> None:
    """Of two listings a fixed count goes first, then the range of n under the stricter maximum."""
    assert join_count_rules(legacy, listed) == joined


def test_a_fixed_count_in_one_listing_removes_n_from_the_joined_view() -> None:
    """A model of a fixed count takes no `n`, even where the other listing describes one."""
    listed = read_supported({"n": {"type": "range", "min": 1, "max": 4}})
    assert "n" not in join_parameters({}, listed.parameters, CountRule(4, 4, 4))


def test_the_strictest_reference_limits_hold() -> None:
    """Of the listing, the route and the provider the strictest limit of each field is taken, `jpg` is `jpeg`."""
    constraints = {
        "max_items": 3,
        "route": {
            "min_width": 8,
            "max_width": 16384,
            "max_height": 16384,
            "max_bytes": 31457280,
            "formats": ["png", "jpeg", "webp"],
            "source": "x",
        },
        "provider": {
            "min_width": 64,
            "max_width": 4096,
            "max_bytes": 10485760,
            "formats": ["image/png", "JPG"],
            "note": "4k at most",
        },
    }
    limits = read_supported({"max_input_images": 5, "input_image_constraints": constraints}).references
    assert limits is not None
    assert (limits.max_items, limits.min_width, limits.min_height) == (3, 64, None)
    assert (limits.max_width, limits.max_height, limits.note) == (4096, 16384, "4k at most")
    assert (limits.max_bytes, limits.formats, limits.raw) == (10485760, ("png", "jpeg"), constraints)


def test_joined_limits_hold_the_stricter_of_each() -> None:
    """Of both listings the stricter limit of each field holds, and every note is kept."""
    legacy = ReferenceLimits(max_items=3, max_width=4096, min_width=8, note="old", formats=("png", "jpeg"))
    listed = ReferenceLimits(max_items=4, max_height=512, min_width=16, note="new", formats=("png",))
    joined = join_reference_limits(legacy, listed)
    assert joined == ReferenceLimits(
        max_items=3, max_width=4096, max_height=512, min_width=16, note="old new", formats=("png",)
    )


@pytest.mark.parametrize(
    ("legacy", "listed", "joined"),
    [
        (EnumSpec(("1k", "2k", "4k")), EnumSpec(("2k", "auto")), EnumSpec(("2k", "auto", "1k", "4k"))),
        (
            EnumSpec(("1024*1024", "1k"), "1024*1024"),
            EnumSpec(("1024x1024",)),
            EnumSpec(("1024x1024", "1k"), "1024x1024"),
        ),
        (EnumSpec(("1k",), "1k"), EnumSpec(("2k",), "2k"), EnumSpec(("2k", "1k"), "2k")),
        (EnumSpec(("2k",)), EnumSpec(("2K",)), EnumSpec(("2K", "2k"))),
        (EnumSpec(("1k",)), UnknownSpec(7), EnumSpec(("1k",))),
    ],
)
def test_a_joined_enum_offers_what_either_listing_does(
    legacy: ParameterSpec, listed: ParameterSpec, joined: ParameterSpec
) -> None:
    """No token of either listing is lost; images/models comes first, with its spelling and its default."""
    assert join_parameters({"resolution": legacy}, {"resolution": listed}, ONE_IMAGE) == {
        "resolution": joined
    }


@pytest.mark.parametrize("raw", [{}, {"input_image_constraints": None}, {"max_input_images": "many"}])
def test_no_reference_limits(raw: dict[str, object]) -> None:
    """Nothing stated gives None, not an empty limit."""
    assert read_supported(raw).references is None


@pytest.mark.parametrize(
    ("raw", "limit"),
    [
        ({"max_prompt_characters": 3000}, PromptLimit(max_characters=3000)),
        (
            {
                "max_prompt_characters": "9",
                "prompt_length": {"unit": "utf16_code_units", "trim_whitespace": True},
            },
            PromptLimit(max_characters=9, trim_whitespace=True),
        ),
        ({"max_prompt_characters": 9, "prompt_length": {"unit": "tokens"}}, None),
        ({"max_prompt_characters": 0}, None),
        ({"prompt_length": {"unit": "utf16_code_units"}}, None),
    ],
)
def test_prompt_limits(raw: dict[str, object], limit: PromptLimit | None) -> None:
    """A limit in another unit than UTF-16 units is left to the service."""
    assert read_supported(raw).prompt_limit == limit


@pytest.mark.parametrize(
    "raw",
    [
        {"fixed_image_count": 1_001},
        {"fixed_image_count": 10**400},
        {"max_images": 10**20},
        {"max_output_images": 1e300},
        {"n": {"type": "range", "min": 10**20, "max": 10**21}},
        {"n": {"type": "enum", "values": [10**20]}},
    ],
)
def test_counts_beyond_all_measure_say_nothing(raw: dict[str, object]) -> None:
    """A number of images that no model makes is a mistake: reserving and numbering so many would fail later."""
    assert read_supported(raw).count_rule == ONE_IMAGE
    assert read_supported({**raw, "max_images": 4}).count_rule == CountRule(1, 4)


@given(st.lists(st.integers(-2, 30)), st.none() | st.integers(-3, 30), st.none() | st.integers(-3, 30))
def test_every_rule_can_be_met(values: list[int], most: int | None, fixed: int | None) -> None:
    """Whatever numbers a record states, the rule is a usable one and its `n` range agrees with it."""
    raw: dict[str, object] = {"n": {"values": values}, "max_images": most, "fixed_image_count": fixed}
    supported = read_supported(raw)
    rule, n = supported.count_rule, supported.parameters.get("n")
    assert 1 <= rule.minimum <= rule.maximum
    assert n is None or n == RangeSpec(rule.minimum, rule.maximum, rule.minimum)


@pytest.mark.parametrize("least", [-1, 0, 10**9])
def test_a_range_from_nowhere_says_nothing(least: int) -> None:
    """A least count that no request can have is no rule, also where it stands alone."""
    rule = read_supported({"n": {"type": "range", "min": least}}).count_rule
    assert (rule.minimum, rule.maximum, rule.stated) == (1, 1, False)
