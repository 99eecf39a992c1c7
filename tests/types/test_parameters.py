"""What a model accepts, and how a number of images becomes requests."""

from __future__ import annotations

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from nanogpt_images import (
    BooleanSpec,
    CountRule,
    EnumSpec,
    ParameterError,
    RangeSpec,
    UnknownSpec,
    split_count,
)
from nanogpt_images.types.parameters import ONE_IMAGE

RULES = st.tuples(st.integers(1, 30), st.integers(0, 30)).map(lambda pair: CountRule(pair[0], sum(pair)))


@pytest.mark.parametrize(
    ("total", "rule", "counts"),
    [
        (10, CountRule(1, 4), [4, 4, 2]),
        (4, CountRule(1, 4), [4]),
        (1, CountRule(1, 4), [1]),
        (5, CountRule(2, 4), [3, 2]),
        (9, CountRule(4, 8), [5, 4]),
        (17, CountRule(4, 8), [8, 5, 4]),
        (1, CountRule(2, 4), [2]),
        (5, CountRule(4, 4), [4, 4]),
        (3, ONE_IMAGE, [1, 1, 1]),
        (10, CountRule(fixed=4), [None, None, None]),
        (1, CountRule(fixed=4), [None]),
        (3, CountRule(1, 4, fixed=1), [None, None, None]),
    ],
)
def test_split_count_by_example(total: int, rule: CountRule, counts: list[int | None]) -> None:
    """Requests are as few as can be, largest first, and none below the minimum."""
    assert split_count(total, rule) == counts


@given(total=st.integers(1, 2000), rule=RULES)
def test_split_count_holds_the_rule(total: int, rule: CountRule) -> None:
    """Each n is in range, the number of requests is the least possible, and the surplus is unavoidable."""
    counts = [n for n in split_count(total, rule) if n is not None]
    fewest = -(-total // rule.maximum)
    assert len(counts) == fewest
    assert all(rule.minimum <= n <= rule.maximum for n in counts)
    assert sum(counts) == max(total, fewest * rule.minimum)
    assert counts == sorted(counts, reverse=True)


@given(total=st.integers(1, 2000), fixed=st.integers(1, 30))
def test_split_count_of_a_fixed_model(total: int, fixed: int) -> None:
    """A fixed-count model gets no n, and as many requests as are needed and not one more."""
    counts = split_count(total, CountRule(fixed=fixed))
    assert set(counts) == {None}
    assert (len(counts) - 1) * fixed < total <= len(counts) * fixed


@given(total=st.integers(max_value=0), rule=RULES)
def test_split_count_of_nothing(total: int, rule: CountRule) -> None:
    """Less than one image cannot be asked for."""
    with pytest.raises(ParameterError, match="count must be at least 1") as caught:
        split_count(total, rule)
    assert caught.value.parameter == "count"


@pytest.mark.parametrize(
    ("rule", "n", "images"),
    [
        (CountRule(1, 4), None, 1),
        (CountRule(1, 4), 3, 3),
        (CountRule(2, 4), None, 2),
        (CountRule(fixed=4), None, 4),
        (CountRule(fixed=4), 2, 4),
    ],
)
def test_images_of_one_request(rule: CountRule, n: int | None, images: int) -> None:
    """Without n a request makes the least number, and a fixed-count model its own."""
    assert rule.images(n) == images


@given(minimum=st.integers(-5, 10), maximum=st.integers(-5, 10))
def test_a_rule_that_holds_no_number_is_refused(minimum: int, maximum: int) -> None:
    """A range must hold a number of at least one image."""
    assume(not 1 <= minimum <= maximum)
    with pytest.raises(ParameterError, match="holds no number of images"):
        CountRule(minimum, maximum)


def test_a_fixed_count_is_positive() -> None:
    """A model cannot always make no image."""
    with pytest.raises(ParameterError, match="at least 1, not 0"):
        CountRule(fixed=0)


@pytest.mark.parametrize(
    ("rule", "text"),
    [(CountRule(1, 4), "1 to 4"), (CountRule(2, 2), "2"), (CountRule(fixed=4), "always 4")],
)
def test_a_rule_reads_as_words(rule: CountRule, text: str) -> None:
    """A rule in an error's text is short."""
    assert str(rule) == text


@pytest.mark.parametrize(
    ("spec", "value", "accepted"),
    [
        (EnumSpec(("1k", "2")), "1k", True),
        (EnumSpec(("1k", "2")), 2, True),
        (EnumSpec(("1k", "2")), "1K", False),
        (EnumSpec(()), "1k", False),
        (RangeSpec(0, 1), 0, True),
        (RangeSpec(0, 1), 1.0, True),
        (RangeSpec(0, 1), 1.01, False),
        (RangeSpec(0, 1), -0.01, False),
        (RangeSpec(None, 1), -1e9, True),
        (RangeSpec(0, None), 1e9, True),
        (RangeSpec(), 5, True),
        (RangeSpec(0, 1), True, False),
        (RangeSpec(0, 1), "1", False),
        (RangeSpec(0, 1), float("nan"), False),
        (BooleanSpec(), "anything", True),
        (UnknownSpec({"type": "colour-wheel"}), object(), True),
    ],
)
def test_a_descriptor_accepts(spec: EnumSpec | RangeSpec, value: object, accepted: bool) -> None:
    """Enumerations compare the text on the wire, ranges take numbers, and what is not known is let through."""
    assert spec.accepts(value) is accepted
