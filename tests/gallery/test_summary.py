"""The numbers at the head."""

from __future__ import annotations

import pytest

from nanogpt_images.batch.journal import Totals
from nanogpt_images.batch.planfile import Planned
from nanogpt_images.batch.states import State
from nanogpt_images.gallery.summary import tiles


def totals(**units: int) -> Totals:
    counts = {state: units.get(state.value, 0) for state in State}
    return Totals(
        rows=sum(counts.values()),
        units=counts,
        charged_failures=min(1, counts[State.FAILED]),
        expected_images=2 * sum(counts.values()),
        images=2 * counts[State.DONE],
        spent_nano=40_000_000 * counts[State.DONE],
        reserved_nano=50_000_000 * counts[State.SENT],
        unknown_nano=50_000_000 * counts[State.UNKNOWN],
    )


def plan(rows: int) -> Planned:
    return Planned(rows=rows, requests=rows, images=2 * rows, cost_usd=0.05 * rows, unpriced_requests=0)


def test_planned_beside_actual() -> None:
    """A plan that covers the journal is what the job is measured by, also where the journal holds less yet."""
    images, requests, spent, _ = tiles(totals(done=4, pending=1), plan(10))
    assert (images.value, images.notes, images.share) == ("8", ["of 20 planned"], 0.4)
    assert (requests.value, requests.notes) == ("4", ["of 10 planned", "1 to do"])
    assert (spent.value, spent.notes) == ("$0.16", ["of $0.50 planned"])
    assert spent.share == pytest.approx(0.32)


@pytest.mark.parametrize("found", [None, plan(3)], ids=["none", "of an earlier manifest"])
def test_without_a_plan_the_journal_counts(found: Planned | None) -> None:
    """Without a plan, or with one that covers less than the journal holds, no price is said to be planned."""
    images, requests, spent, _ = tiles(totals(done=4, pending=1), found)
    assert images.notes == ["of 10 planned"]
    assert requests.notes == ["of 5 planned", "1 to do"]
    assert (spent.value, spent.notes, spent.share) == ("$0.16", [], None)


def test_troubles() -> None:
    """Failures, unknown outcomes and what they may have cost are said; so is that there are none."""
    trouble = tiles(totals(failed=3, unknown=2), None)[-1]
    assert trouble.value == "5"
    assert trouble.notes == ["3 failed, 1 of them charged", "2 unknown, up to $0.10 may have been charged"]
    assert tiles(totals(done=1), None)[-1].notes == ["every outcome is known"]


def test_a_job_without_rows() -> None:
    """Nothing is divided by nothing."""
    assert [tile.share for tile in tiles(totals(), plan(0))] == [None] * 4
