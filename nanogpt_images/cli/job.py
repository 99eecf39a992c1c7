"""A batch that runs under a person's eyes: signals, progress, and what is kept for the summary."""

from __future__ import annotations

import asyncio
import os
from collections import Counter
from collections.abc import AsyncIterator
from pathlib import Path
from types import TracebackType
from typing import Final, Protocol, Self

import attrs

from ..batch.events import BatchEvent, BatchReport
from ..batch.journal import Journal, Totals
from ..batch.journal.database.schema import FILE_NAME
from ..batch.run.progress import RunTarget, progress_for, refreshing
from ..errors import (
    BadRequestError,
    JournalError,
    ManifestError,
    NanoGPTError,
    NotFoundError,
    ParameterError,
    PayloadTooLargeError,
    ReferenceImageError,
)
from .output import note
from .signals import Interrupts, interrupting

_KEPT_REASONS: Final = 100
_HOPELESS: Final = (
    BadRequestError,
    ManifestError,
    NotFoundError,
    ParameterError,
    PayloadTooLargeError,
    ReferenceImageError,
)


class Run(Protocol):
    """A batch that runs here or elsewhere; see `Batch`."""

    @property
    def report(self) -> BatchReport: ...
    @property
    def throttle(self) -> str: ...
    @property
    def in_flight(self) -> int: ...
    def drain(self) -> None: ...
    async def __aenter__(self) -> Self: ...
    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None, /
    ) -> None: ...
    def __aiter__(self) -> AsyncIterator[BatchEvent]: ...


@attrs.define(kw_only=True)
class Outcome:
    """
    What became of a run.

    Attributes:
        report: Its numbers.
        totals: The sums of the whole journal afterwards; None where they cannot be read.
        interrupted: How many interrupts there were.
        reasons: How often requests ended badly, by what was wrong.
        hopeless: How many of these would fail again if they were sent again.
        error: What broke the run off, beside what `report.stopped` says.
    """

    report: BatchReport = attrs.field(factory=BatchReport)
    totals: Totals | None = None
    interrupted: int = 0
    reasons: Counter[str] = attrs.field(factory=Counter[str])
    hopeless: int = 0
    error: NanoGPTError | None = None

    @property
    def stopped(self) -> NanoGPTError | None:
        """Why the run ended before its rows did."""
        return self.error or self.report.stopped


async def run_batch(
    run: Run,
    directory: Path,
    goal: RunTarget,
    *,
    quiet: bool,
    silent: bool = False,
) -> Outcome:
    """
    Run a batch to its end, or until it is interrupted.

    Args:
        run: The batch, not entered yet.
        directory: Its directory.
        goal: What it is to reach, for the progress.
        quiet: No progress.
        silent: Not even a line at an interrupt.

    Raises:
        NanoGPTError: It could not start.
    """
    outcome = Outcome()
    task = asyncio.current_task()
    assert task is not None

    def drain() -> None:
        run.drain()
        if not silent:
            note(f"stopping: finishing {run.in_flight} requests in flight; interrupt again to stop at once")

    interrupts = Interrupts(drain, task.cancel)
    with interrupting(interrupts):
        entered = False
        try:
            with progress_for(goal, quiet=quiet) as progress:

                def show() -> None:
                    progress.show(run.report, run.throttle)

                async with refreshing(show), run:
                    entered = True
                    async for event in run:
                        _take(outcome, event)
                        show()
        except asyncio.CancelledError:
            if interrupts.count < 2:
                raise
            task.uncancel()
        except NanoGPTError as error:
            if not entered:
                raise
            outcome.error = error
        outcome.report = run.report
        outcome.interrupted = interrupts.count
        outcome.totals = await totals_of(directory)
    return outcome


def _take(outcome: Outcome, event: BatchEvent) -> None:
    if event.error is None:
        return
    outcome.hopeless += isinstance(event.error, _HOPELESS)
    reason = f"{type(event.error).__name__}: {event.error}"
    if reason in outcome.reasons or len(outcome.reasons) < _KEPT_REASONS:
        outcome.reasons[reason] += 1


async def totals_of(directory: Path) -> Totals | None:
    """Return the sums of the journal in *directory*; None where there is none that can be read."""
    try:
        async with await Journal.open(directory, service=None, read_only=True) as journal:
            return await journal.totals()
    except NanoGPTError:
        return None


def require_journal(directory: Path) -> None:
    """Raise JournalError where *directory* holds no batch."""
    # Not pathlib's, which raise for a name that is too long.
    if not os.path.isfile(directory / FILE_NAME):
        raise JournalError(
            f"{directory} is not a batch directory: it has no {FILE_NAME}. Name the -o directory of a batch."
        )
