"""How many images a request makes, by one listing and by both."""

from __future__ import annotations

import pytest

from nanogpt_images.types.parameters import ONE_IMAGE, CountRule, EnumSpec, RangeSpec
from nanogpt_images.wire.catalog.limits import count_rule, join_count_rules

FIXED, RANGE = CountRule(4, 4, 4), CountRule(1, 6)


@pytest.mark.parametrize(
    ("legacy", "listed", "joined"),
    [
        (FIXED, RANGE, FIXED),
        (RANGE, FIXED, FIXED),
        (ONE_IMAGE, FIXED, FIXED),
        (FIXED, ONE_IMAGE, FIXED),
        (CountRule(2, 2, 2), FIXED, CountRule(2, 2, 2)),
    ],
)
def test_a_fixed_count_of_either_listing_wins(
    legacy: CountRule, listed: CountRule, joined: CountRule
) -> None:
    """A model that always makes four is not asked for each of them; of two counts the documented one is taken."""
    assert join_count_rules(legacy, listed) == joined


@pytest.mark.parametrize(
    ("legacy", "listed", "joined"),
    [
        (CountRule(1, 4), CountRule(1, 6), CountRule(1, 4)),
        (CountRule(1, 6), CountRule(2, 4), CountRule(2, 4)),
        (CountRule(1, 2), CountRule(3, 6), CountRule(2, 2)),
        (ONE_IMAGE, RANGE, RANGE),
        (RANGE, ONE_IMAGE, RANGE),
    ],
)
def test_of_two_ranges_the_stricter_limits_hold(
    legacy: CountRule, listed: CountRule, joined: CountRule
) -> None:
    """What both accept; a listing that says nothing takes nothing away."""
    assert join_count_rules(legacy, listed) == joined


@pytest.mark.parametrize(
    ("n", "fixed", "maxima", "rule"),
    [
        (RangeSpec(1, 6), 4, [8], FIXED),
        (RangeSpec(1, 6), 1, [], CountRule(1, 1, 1)),
        (RangeSpec(1, 6), 0, [4], CountRule(1, 4)),
        (RangeSpec(2, None), None, [], CountRule(2, 2)),
        (EnumSpec(("1", "2", "4")), None, [], CountRule(1, 2)),
        (None, None, [None, 3], CountRule(1, 3)),
        (None, None, [None, 10**9], ONE_IMAGE),
    ],
)
def test_the_rule_of_one_record(
    n: RangeSpec | EnumSpec | None, fixed: int | None, maxima: list[int | None], rule: CountRule
) -> None:
    """A fixed count rules alone; else the range, cut to the least maximum that can be meant."""
    assert count_rule(n, fixed=fixed, maxima=maxima) == rule
