"""How a batch stands while it runs: a live line on a terminal, a plain one now and then elsewhere."""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Final, Protocol, Self

import attrs

from ..batch.events import BatchReport
from .output import duration, money, note

if TYPE_CHECKING:
    from rich.progress import Progress as RichProgress
    from rich.progress import TaskID

_PLAIN_EVERY_S: Final = 10.0
_LIVE_EVERY_S: Final = 0.1
# The rate that an ETA follows: an average over all of the run would hide a slow-down for hours.
_RATE_WINDOW_S: Final = 30.0


class Progress(Protocol):
    """Shows the numbers of a running batch."""

    def __enter__(self) -> Self: ...
    def __exit__(self, *exc_info: object) -> None: ...
    def show(self, report: BatchReport, throttle: str = "") -> None:
        """Show how things are now: the numbers, and what keeps requests back."""
        ...


@attrs.frozen(kw_only=True)
class RunTarget:
    """
    What a batch is to reach.

    Attributes:
        requests: Paid requests in all; None while it is not known.
        budget_usd: The cap on spending.
        spent_usd: What earlier runs spent of it.
    """

    requests: int | None
    budget_usd: float | None = None
    spent_usd: float = 0.0


def progress_for(goal: RunTarget, *, quiet: bool) -> Progress:
    """Return the display that fits stderr."""
    if quiet:
        return NoProgress()
    return LiveProgress(goal) if sys.stderr.isatty() else PlainProgress(goal)


@asynccontextmanager
async def refreshing(show: Callable[[], None], every_s: float = 0.5) -> AsyncGenerator[None]:
    """Call *show* now and then: while the service keeps all requests waiting there are no events."""

    async def refresh() -> None:
        while True:
            await asyncio.sleep(every_s)
            show()

    task = asyncio.create_task(refresh())
    try:
        yield
    finally:
        task.cancel()


class NoProgress:
    """Shows nothing."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: object) -> None: ...

    def show(self, report: BatchReport, throttle: str = "") -> None:
        """Show how things are now: the numbers, and what keeps requests back."""
        del report, throttle


class Meter:
    """
    Rates and the time left.

    Args:
        goal: What is to be reached.
        clock: Monotonic seconds.
    """

    def __init__(self, goal: RunTarget, clock: Callable[[], float] = time.monotonic) -> None:
        self.goal = goal
        self.clock = clock
        self._marks = [(clock(), 0, 0)]

    def line(self, report: BatchReport, throttle: str = "") -> str:
        """Return the numbers in words."""
        now = self.clock()
        while len(self._marks) > 1 and now - self._marks[1][0] > _RATE_WINDOW_S:
            self._marks.pop(0)
        since, requests, images = self._marks[0]
        elapsed = max(now - since, 1e-6)
        if now - self._marks[-1][0] >= 1.0:
            self._marks.append((now, report.requests, report.images))
        parts = [
            f"{report.done + report.skipped:,}"
            + (f" of {self.goal.requests:,}" if self.goal.requests is not None else "")
            + " done",
            self._read(report),
            f"{report.failed:,} failed" if report.failed else "",
            f"{report.unknown:,} unknown" if report.unknown else "",
            f"{(report.images - images) / elapsed:.1f} images/s" if report.images else "",
            self._spent(report),
            self._left(report, (report.requests - requests) / elapsed),
            throttle,
        ]
        return " · ".join(part for part in parts if part)

    def _read(self, report: BatchReport) -> str:
        # Until all rows are read, nothing else says how far the whole job has come.
        if self.goal.requests is not None or report.manifest_rows is None:
            return ""
        return f"{report.rows:,} of {report.manifest_rows:,} rows read"

    def _spent(self, report: BatchReport) -> str:
        spent = money(self.goal.spent_usd + report.cost_usd + report.unknown_usd)
        return spent if self.goal.budget_usd is None else f"{spent} of {money(self.goal.budget_usd)}"

    def _left(self, report: BatchReport, rate: float) -> str:
        if self.goal.requests is None or rate <= 0:
            return ""
        left = self.goal.requests - report.ended
        return f"{duration(left / rate)} left" if left > 0 else ""


class PlainProgress:
    """A line at most every ten seconds, for logs."""

    def __init__(self, goal: RunTarget, clock: Callable[[], float] = time.monotonic) -> None:
        self._meter = Meter(goal, clock)
        self._last = clock()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: object) -> None: ...

    def show(self, report: BatchReport, throttle: str = "") -> None:
        """Show how things are now: the numbers, and what keeps requests back."""
        if self._meter.clock() - self._last >= _PLAIN_EVERY_S:
            self._last = self._meter.clock()
            note(self._meter.line(report, throttle))


class LiveProgress:
    """A bar and a line that are redrawn, and removed at the end: the summary takes their place."""

    def __init__(self, goal: RunTarget) -> None:
        self._meter = Meter(goal)
        self._last = 0.0
        self._bar: RichProgress | None = None
        self._task: TaskID | None = None

    def __enter__(self) -> Self:
        from rich.console import Console
        from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn
        from rich.table import Column

        columns = (
            SpinnerColumn(),
            BarColumn(bar_width=None, table_column=Column(ratio=1, max_width=30)),
            TextColumn("{task.description}", markup=False, table_column=Column(no_wrap=True)),
        )
        # Room for the ^C that a terminal echoes: one that wraps would leave a line of the bar behind.
        console = Console(stderr=True, highlight=False)
        console.width = max(20, console.width - 4)
        self._bar = Progress(*columns, console=console, transient=True, expand=True)
        self._task = self._bar.add_task("starting", total=self._meter.goal.requests)
        self._bar.start()
        return self

    def __exit__(self, *exc_info: object) -> None:
        if self._bar is not None:
            self._bar.stop()

    def show(self, report: BatchReport, throttle: str = "") -> None:
        """Show how things are now: the numbers, and what keeps requests back."""
        now = self._meter.clock()
        if self._bar is None or self._task is None or now - self._last < _LIVE_EVERY_S:
            return
        self._last = now
        self._bar.update(self._task, completed=report.ended, description=self._meter.line(report, throttle))
