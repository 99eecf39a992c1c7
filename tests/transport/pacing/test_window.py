"""The arithmetic of a pacing window."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nanogpt_images.transport.pacing.window import wait_s


@pytest.mark.parametrize(
    ("starts", "pause_until", "expected"),
    [
        ([], 0.0, 0.0),
        ([9.5], 0.0, 0.0),
        ([9.5, 9.75], 0.0, 0.5),
        ([9.0, 9.75], 0.0, 0.0),
        ([9.75, 14.0], 0.0, 0.75),
        ([12.0, 14.0], 0.0, 0.005),
        ([], 12.0, 2.0),
        ([9.5, 9.75], 12.0, 0.5),
    ],
)
def test_the_start_that_blocks_decides(starts: list[float], pause_until: float, expected: float) -> None:
    """With two starts a second, the last but one must be a second old; open ones are asked about again soon."""
    assert wait_s(starts, pause_until, 10.0, limit=2, window_s=1.0) == expected


@given(
    st.integers(1, 5),
    st.lists(st.floats(0, 3).map(lambda seconds: round(seconds, 3)), min_size=1, max_size=60),
)
def test_no_window_holds_more_than_the_limit(limit: int, gaps: list[float]) -> None:
    """Whoever waits as told never makes more than the limit of starts in any second."""
    starts: list[float] = []
    now = 0.0
    for gap in gaps:
        now += gap
        while (seconds := wait_s(starts, 0.0, now, limit=limit, window_s=1.0)) > 0:
            now += seconds
        starts.append(now)
    assert all(later - earlier >= 1.0 - 1e-9 for earlier, later in zip(starts, starts[limit:], strict=False))
