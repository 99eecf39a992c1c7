"""The numbers of a run that outlived its coordinator."""

from __future__ import annotations

import attrs

from nanogpt_images.batch.journal import Totals
from nanogpt_images.batch.states import State
from nanogpt_images.distributed.counts import Counts, report_of


def totals(*, images: int = 0, spent: int = 0, **units: int) -> Totals:
    numbers = {field.name: 0 for field in attrs.fields(Totals) if field.name != "units"}
    states = {state: units.get(state.value, 0) for state in State}
    return Totals(**{**numbers, "images": images, "spent_nano": spent}, units=states)


def test_what_ended_before_a_restart_is_not_skipped() -> None:
    """Of ten rows two were done by an earlier run, three before the restart and four after it, and one is unknown."""
    report = report_of(
        rows=10,
        first=totals(done=2, images=2, spent=200),
        opened=totals(done=5, unknown=1, images=5, spent=500),
        now=totals(done=9, unknown=1, images=9, spent=900),
        counts=Counts(skipped=6, unresolved=1),
        stopped=None,
    )
    assert (report.done, report.unknown, report.skipped, report.unresolved) == (7, 1, 2, 0)
    assert (report.requests, report.images, report.cost_usd) == (8, 7, 7e-7)


def test_rows_that_were_never_sent_are_no_requests() -> None:
    """They are in `failed` alone, as in a local batch."""
    empty = totals()
    counts = Counts(failed_free=3, failed_unsent=2)
    report = report_of(rows=3, first=empty, opened=empty, now=totals(failed=3), counts=counts, stopped=None)
    assert (report.failed, report.requests) == (3, 1)
