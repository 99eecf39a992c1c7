"""The numbers at the head."""

from __future__ import annotations

import pytest

from nanogpt_images.batch.journal import Totals
from nanogpt_images.batch.states import State
from nanogpt_images.gallery.head import tiles


def totals(**units: int) -> Totals:
    counts = {state: units.get(state.value, 0) for state in State}
    return Totals(
        rows=sum(counts.values()),
        units=counts,
        charged_failures=min(1, counts[State.FAILED]),
        expected_images=2 * sum(counts.values()),
        images=2 * counts[State.DONE],
        planned_nano=50_000_000 * sum(counts.values()),
        to_come_nano=50_000_000 * counts[State.PENDING],
        unpriced_units=counts[State.LINKED],
        spent_nano=40_000_000 * counts[State.DONE],
        reserved_nano=50_000_000 * counts[State.SENT],
        unknown_nano=50_000_000 * counts[State.UNKNOWN],
    )


def test_planned_beside_actual() -> None:
    """What came stands beside what the journal's rows were planned to make and cost."""
    images, requests, spent, _ = tiles(totals(done=4, pending=6))
    assert (images.value, images.notes, images.share) == ("8", ["of 20 planned"], 0.4)
    assert (requests.value, requests.notes) == ("4", ["of 10 planned", "6 to do"])
    assert (spent.value, spent.notes) == ("$0.16", ["of $0.50 planned"])
    assert spent.share == pytest.approx(0.32)


def test_unpriced_requests_are_counted() -> None:
    """Requests whose price was not known are in no plan, which is said."""
    assert tiles(totals(linked=2))[2].notes == ["of $0.10 planned, 2 requests without a price"]


def test_troubles() -> None:
    """Failures, unknown outcomes and what they may have cost are said; so is that there are none."""
    trouble = tiles(totals(failed=3, unknown=2))[-1]
    assert trouble.value == "5"
    assert trouble.notes == ["3 failed, 1 of them charged", "2 unknown, up to $0.10 may have been charged"]
    assert tiles(totals(done=1))[-1].notes == ["all outcomes are known"]


def test_a_job_without_rows() -> None:
    """Nothing is divided by nothing."""
    assert [tile.share for tile in tiles(totals())] == [None] * 4
