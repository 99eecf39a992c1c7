"""What a parameter accepts, and how a count is split over requests."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nanogpt_images import ParameterError
from nanogpt_images.parameters import (
    ONE_IMAGE,
    BooleanSpec,
    CountRule,
    EnumSpec,
    ParameterSpec,
    RangeSpec,
    UnknownSpec,
    split_count,
)

SIZES = EnumSpec(("1024x1024", "auto", "2"))
STEPS = RangeSpec(1, 4)


@pytest.mark.parametrize(
    ("spec", "value", "accepted"),
    [
        (SIZES, "1024x1024", True),
        (SIZES, "1024X1024", False),
        (SIZES, 2, True),
        (SIZES, None, False),
        (STEPS, 1, True),
        (STEPS, 4, True),
        (STEPS, 2.5, True),
        (STEPS, 0, False),
        (STEPS, 4.01, False),
        (STEPS, True, False),
        (STEPS, "2", False),
        (STEPS, float("nan"), False),
        (RangeSpec(minimum=1), 10**9, True),
        (RangeSpec(maximum=1), -(10**9), True),
        (RangeSpec(), 0, True),
        (BooleanSpec(), "yes", True),
        (UnknownSpec({"type": "colour"}), "red", True),
    ],
)
def test_a_spec_accepts(spec: ParameterSpec, value: object, accepted: bool) -> None:
    """Listed tokens exactly, numbers inside the range with its ends, and anything where nothing is known."""
    assert spec.accepts(value) is accepted


@pytest.mark.parametrize("bounds", [(0, 4), (-1, 4), (5, 4), (0, 0)])
def test_a_range_without_a_count_is_refused(bounds: tuple[int, int]) -> None:
    """A rule that allows no number of images cannot be made."""
    with pytest.raises(ParameterError, match=f"from {bounds[0]} to {bounds[1]}"):
        CountRule(*bounds)


def test_a_fixed_count_is_at_least_one() -> None:
    """A model that always makes no image cannot be described."""
    with pytest.raises(ParameterError, match="at least 1, not 0"):
        CountRule(fixed=0)


@pytest.mark.parametrize(
    ("rule", "text", "without_n", "with_two"),
    [
        (CountRule(1, 4), "1 to 4", 1, 2),
        (CountRule(2, 4), "2 to 4", 2, 2),
        (CountRule(3, 3), "3", 3, 2),
        (CountRule(fixed=4), "always 4", 4, 4),
        (ONE_IMAGE, "1", 1, 2),
    ],
)
def test_a_rule_tells_what_a_request_makes(rule: CountRule, text: str, without_n: int, with_two: int) -> None:
    """A fixed count goes before any `n`; no `n` makes the minimum."""
    assert (str(rule), rule.images(None), rule.images(2)) == (text, without_n, with_two)


@st.composite
def ranges(draw: st.DrawFn) -> CountRule:
    minimum = draw(st.integers(1, 12))
    return CountRule(minimum, draw(st.integers(minimum, 20)))


@given(total=st.integers(1, 500), rule=ranges())
def test_a_split_wastes_neither_requests_nor_images(total: int, rule: CountRule) -> None:
    """Each entry is accepted, largest first; no split has fewer requests or, with as many, fewer images."""
    counts = split_count(total, rule)
    assert all(n is not None and rule.minimum <= n <= rule.maximum for n in counts)
    assert counts == sorted(counts, reverse=True)
    assert (len(counts) - 1) * rule.maximum < total <= len(counts) * rule.maximum
    assert sum(counts) == max(total, len(counts) * rule.minimum)


@given(total=st.integers(1, 500), fixed=st.integers(1, 20))
def test_a_fixed_count_is_never_sent(total: int, fixed: int) -> None:
    """A fixed-count model gets no `n`, and as few requests as make enough images."""
    counts = split_count(total, CountRule(fixed=fixed))
    assert set(counts) == {None}
    assert (len(counts) - 1) * fixed < total <= len(counts) * fixed


@pytest.mark.parametrize("total", [0, -3])
def test_nothing_cannot_be_split(total: int) -> None:
    """A count below one is refused, by name."""
    with pytest.raises(ParameterError, match=f"not {total}") as caught:
        split_count(total, CountRule(1, 4))
    assert caught.value.parameter == "count"
