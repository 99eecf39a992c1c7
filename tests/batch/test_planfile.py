"""What was planned, kept in a file."""

from __future__ import annotations

from pathlib import Path

import pytest

from nanogpt_images.batch.estimates import Estimate, ModelEstimate
from nanogpt_images.batch.planfile import load_plan, save_plan

NUMBERS = {
    "rows": 3,
    "requests": 4,
    "images": 8,
    "surplus_images": 0,
    "cost_usd": 0.08,
    "cost_low_usd": 0.07,
    "cost_high_usd": 0.09,
    "unpriced_requests": 1,
}


def test_round_trip(tmp_path: Path) -> None:
    """A plan is read back as it was kept, and a second one takes its place."""
    plan = Estimate(
        **NUMBERS, duration_s=1.0, per_model={"m": ModelEstimate(**NUMBERS)}, problems=(), problem_count=0
    )
    for _ in range(2):
        save_plan(tmp_path, plan)
    found = load_plan(tmp_path)
    assert found is not None
    assert (found.rows, found.requests, found.images) == (3, 4, 8)
    assert (found.cost_usd, found.unpriced_requests) == (0.08, 1)
    assert [path.name for path in tmp_path.iterdir()] == ["plan.json"]


@pytest.mark.parametrize("text", [None, "", "[1]", "{}", '{"rows": "3"}', "\xff"])
def test_no_plan(tmp_path: Path, text: str | None) -> None:
    """A plan that is missing, torn or of other content is none."""
    if text is not None:
        (tmp_path / "plan.json").write_text(text, encoding="latin-1")
    assert load_plan(tmp_path) is None
