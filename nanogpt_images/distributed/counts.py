"""The numbers of a distributed run: differences of the journal's sums, and a few counts beside them."""

from __future__ import annotations

import attrs

from ..batch.events import BatchReport
from ..batch.journal import Totals
from ..batch.outcomes import Done, Failed, Outcome, Postponed, Refused, Repeated
from ..batch.run.settlement import Task
from ..batch.states import State
from ..errors import Charge, NanoGPTError
from ..money.nano import to_usd
from .leases import Stage


@attrs.define(kw_only=True)
class Counts:
    """
    What a coordinator counts itself. It starts again from zero after a restart, as the manifest does.

    Attributes:
        skipped: Requests of the manifest that were not to be executed.
        unresolved: Those of them that are unknown or were charged without an image.
        failed_free: Requests that failed without a charge.
        failed_unsent: Those of them that were never sent.
        postponed: Paid images whose download stays open.
        missing_images: Images fewer than were asked of the requests that are done.
        planned_nano: Worst case of the requests that ended.
    """

    skipped: int = 0
    unresolved: int = 0
    failed_free: int = 0
    failed_unsent: int = 0
    postponed: int = 0
    missing_images: int = 0
    planned_nano: int = 0

    def add(self, task: Task, stage: Stage, outcome: Outcome) -> None:
        """Count what is reported of a task that had come to *stage*."""
        if isinstance(outcome, Failed) and outcome.charge in (Charge.NOT_SENT, Charge.REJECTED):
            self.failed_free += 1
            self.failed_unsent += stage is Stage.HELD
        if isinstance(outcome, Postponed) and task.charge is None:
            self.postponed += 1
        if isinstance(outcome, Done):
            asked = len(task.links) if stage is Stage.LINKED else task.unit.images
            self.missing_images += max(0, asked - len(outcome.images))
        if stage is Stage.SENT and not isinstance(outcome, Refused | Repeated):
            self.planned_nano += task.price_nano


def report_of(
    *,
    rows: int,
    first: Totals,
    opened: Totals,
    now: Totals,
    counts: Counts,
    stopped: NanoGPTError | None,
    of_manifest: bool = False,
) -> BatchReport:
    """
    Compute the numbers of a run.

    Args:
        rows: Rows of the manifest that were read.
        first: The journal's sums when the run began.
        opened: Those when the present coordinator began; other than *first* after a restart.
        now: The present ones.
        counts: Of the present coordinator.
        stopped: Why the run ended before its rows did.
        of_manifest: The run is about the manifest that the journal knows.
    """
    done = now.units[State.DONE] - first.units[State.DONE]
    unknown = max(0, now.units[State.UNKNOWN] - first.units[State.UNKNOWN])
    failed = max(0, now.charged_failures - first.charged_failures) + counts.failed_free
    # What ended before a restart is met again as ended, but was not skipped.
    unresolved_meanwhile = (
        opened.units[State.UNKNOWN]
        - first.units[State.UNKNOWN]
        + opened.charged_failures
        - first.charged_failures
    )
    ended_meanwhile = opened.units[State.DONE] - first.units[State.DONE] + unresolved_meanwhile
    return BatchReport(
        rows=rows,
        requests=done + unknown + failed + counts.postponed - counts.failed_unsent,
        done=done,
        images=now.images - first.images,
        missing_images=counts.missing_images,
        skipped=max(0, counts.skipped - ended_meanwhile),
        unresolved=max(0, counts.unresolved - unresolved_meanwhile),
        failed=failed,
        unknown=unknown,
        open_downloads=counts.postponed,
        cost_usd=to_usd(max(0, now.spent_nano - first.spent_nano)),
        unknown_usd=to_usd(max(0, now.unknown_nano - first.unknown_nano)),
        planned_usd=to_usd(counts.planned_nano),
        manifest_rows=now.manifest_rows if of_manifest else None,
        unread=now.unread_rows if of_manifest else 0,
        stopped=stopped,
    )
