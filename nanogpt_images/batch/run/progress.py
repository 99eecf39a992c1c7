"""How a batch stands while it runs: a bar on a terminal or in a notebook, a plain line now and then elsewhere."""

from __future__ import annotations

import asyncio
import html
import importlib.util
import sys
import time
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from importlib import import_module
from typing import TYPE_CHECKING, Any, Final, Protocol, Self

import attrs

from ..._base.display import duration
from ...money.nano import usd_text
from ..events import BatchReport

if TYPE_CHECKING:
    from rich.progress import Progress as RichProgress
    from rich.progress import TaskID

_PLAIN_EVERY_S: Final = 10.0
_LIVE_EVERY_S: Final = 0.1
# The rate that an ETA follows: an average over all of the run would hide a slow-down for hours.
_RATE_WINDOW_S: Final = 30.0
_SEPARATOR: Final = " · "
_LEAST_REASON: Final = 16
_WIDE: Final = 100
_BAR_WIDTHS: Final = {True: 20, False: 10}
# A spinner, and a space after it and after the bar. A terminal echoes ^C: a line that wraps would leave a bar behind.
_BESIDE_BAR: Final = 3
_ECHO: Final = 4


class Progress(Protocol):
    """Shows the numbers of a running batch."""

    def __enter__(self) -> Self: ...
    def __exit__(self, *exc_info: object) -> None: ...
    def show(self, report: BatchReport, throttle: str = "", requests: int | None = None) -> None:
        """Show the numbers now, what keeps requests back, and how many *requests* there will be if the target does not say."""
        ...


@attrs.frozen(kw_only=True)
class RunTarget:
    """
    What a batch is to reach.

    Attributes:
        requests: Paid requests in all; None while it is not known.
        budget_usd: The cap on spending.
        spent_usd: What earlier runs spent of it.
        pace: Starts per second at the most; until requests have ended, nothing else says how long they take.
        leaves_line: The last numbers stay when the display ends; otherwise a summary takes their place.
    """

    requests: int | None
    budget_usd: float | None = None
    spent_usd: float = 0.0
    pace: float | None = None
    leaves_line: bool = False


def progress_for(goal: RunTarget, *, quiet: bool = False) -> Progress:
    """Return the display that fits: none, a notebook's, a live one for a terminal, or lines for a log (stderr)."""
    if quiet:
        return NoProgress()
    if goal.leaves_line and _in_notebook():
        return NotebookProgress(goal)
    is_live = sys.stderr.isatty() and importlib.util.find_spec("rich") is not None
    return LiveProgress(goal) if is_live else PlainProgress(goal)


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


@asynccontextmanager
async def showing(goal: RunTarget, show_on: Callable[[Progress], None]) -> AsyncGenerator[None]:
    """Show the numbers within the block: *show_on* puts them on the display, now and then and once at the end."""
    with progress_for(goal) as progress:
        try:
            async with refreshing(lambda: show_on(progress)):
                yield
        finally:
            show_on(progress)


def _in_notebook() -> bool:
    shell = getattr(sys.modules.get("IPython"), "get_ipython", lambda: None)()
    return hasattr(shell, "kernel")


class NoProgress:
    """Shows nothing."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: object) -> None: ...

    def show(self, report: BatchReport, throttle: str = "", requests: int | None = None) -> None:
        """Show nothing."""
        del report, throttle, requests


class Meter:
    """
    The numbers in words, with rates and the time left.

    Args:
        goal: What is to be reached.
        clock: Monotonic seconds.
    """

    def __init__(self, goal: RunTarget, clock: Callable[[], float] = time.monotonic) -> None:
        self.goal = goal
        self.clock = clock
        self._marks = [(clock(), 0, 0)]
        self._decimals = 2

    def line(
        self,
        report: BatchReport,
        throttle: str = "",
        requests: int | None = None,
        *,
        width: int | None = None,
    ) -> str:
        """
        Return the numbers in words.

        Args:
            report: The numbers.
            throttle: What keeps requests back, and why.
            requests: How many requests there will be, where the goal does not say.
            width: Most characters. What matters least is left out first: the rate, then the cap beside the spending,
                rows that were read, and the time left; a reason keeps as many of its first words as there is room for.
        """
        total = self.goal.requests if requests is None else requests
        since, before, images = self._mark(report)
        elapsed = max(self.clock() - since, 1e-6)
        spent, cap = self._spent(report)
        rate = f"{(report.images - images) / elapsed:.1f} images/s" if report.images else ""
        read = self._read(report)
        left = self._left(report, total, (report.requests - before) / elapsed)
        done = f"{report.done + report.skipped:,}{f' of {total:,}' if total is not None else ''} done"
        failed = f"{report.failed:,} failed" if report.failed else ""
        unknown = f"{report.unknown:,} unknown" if report.unknown else ""
        texts = [
            [done, read, failed, unknown, rate, spent + cap, left],
            [done, read, failed, unknown, "", spent + cap, left],
            [done, read, failed, unknown, "", spent, left],
            [done, "", failed, unknown, "", spent, left],
            [done, "", failed, unknown, "", spent, ""],
        ]
        if width is None:
            return _joined([*texts[0], throttle])
        needed = width - (len(_SEPARATOR) + min(len(throttle), _LEAST_REASON) if throttle else 0)
        fitting = next((text for parts in texts if len(text := _joined(parts)) <= needed), _joined(texts[-1]))
        return _joined([fitting, _first_words(throttle, width - len(fitting) - len(_SEPARATOR))])[:width]

    def _mark(self, report: BatchReport) -> tuple[float, int, int]:
        now = self.clock()
        while len(self._marks) > 1 and now - self._marks[1][0] > _RATE_WINDOW_S:
            self._marks.pop(0)
        if now - self._marks[-1][0] >= 1.0:
            self._marks.append((now, report.requests, report.images))
        return self._marks[0]

    def _read(self, report: BatchReport) -> str:
        # Until all rows are read, nothing else says how far the whole job has come.
        if self.goal.requests is not None or report.manifest_rows is None:
            return ""
        return f"{report.rows:,} of {report.manifest_rows:,} rows read"

    def _spent(self, report: BatchReport) -> tuple[str, str]:
        usd = self.goal.spent_usd + report.cost_usd + report.unknown_usd
        # Digits that come and go with each request would make the line jump.
        self._decimals = max(self._decimals, len(usd_text(usd).partition(".")[2]))
        cap = "" if self.goal.budget_usd is None else f" of {usd_text(self.goal.budget_usd)}"
        return f"${usd:,.{self._decimals}f}", cap

    def _left(self, report: BatchReport, total: int | None, rate: float) -> str:
        if total is None:
            return ""
        left = total - report.ended
        if rate <= 0:
            pace = self.goal.pace
            return f"at least {duration(left / pace)} left" if pace and left / pace >= 1 else ""
        return f"{duration(left / rate)} left" if left > 0 else ""


def _joined(parts: list[str]) -> str:
    return _SEPARATOR.join(part for part in parts if part)


def _first_words(text: str, width: int) -> str:
    if len(text) <= width:
        return text
    whole = text[: max(0, width)].rpartition(" ")[0]
    return f"{whole.rstrip(',')}…" if whole else ""


class PlainProgress:
    """A line at most every ten seconds, for logs."""

    def __init__(self, goal: RunTarget, clock: Callable[[], float] = time.monotonic) -> None:
        self._meter = Meter(goal, clock)
        self._last = clock()
        self._line = ""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        if self._meter.goal.leaves_line and self._line:
            _write_line(self._line)

    def show(self, report: BatchReport, throttle: str = "", requests: int | None = None) -> None:
        """Write the numbers, unless a line was written in the last ten seconds."""
        self._line = self._meter.line(report, throttle, requests)
        if self._meter.clock() - self._last >= _PLAIN_EVERY_S:
            self._last = self._meter.clock()
            _write_line(self._line)


class LiveProgress:
    """A bar and a line that are redrawn, and removed at the end. Needs rich."""

    def __init__(self, goal: RunTarget) -> None:
        self._meter = Meter(goal)
        self._last = 0.0
        self._bar: RichProgress | None = None
        self._task: TaskID | None = None
        self._room = 0
        self._line = ""

    def __enter__(self) -> Self:
        from rich.console import Console
        from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn
        from rich.table import Column

        console = Console(stderr=True, highlight=False)
        bar_width = _BAR_WIDTHS[console.width >= _WIDE]
        console.width = max(20, console.width - _ECHO)
        self._room = max(1, console.width - bar_width - _BESIDE_BAR)
        columns = (
            SpinnerColumn(table_column=Column(no_wrap=True)),
            BarColumn(bar_width=bar_width, table_column=Column(no_wrap=True)),
            TextColumn("{task.description}", markup=False, table_column=Column(no_wrap=True)),
        )
        self._bar = Progress(*columns, console=console, transient=True)
        self._task = self._bar.add_task("starting", total=self._meter.goal.requests)
        self._bar.start()
        return self

    def __exit__(self, *exc_info: object) -> None:
        if self._bar is not None:
            self._bar.stop()
        if self._meter.goal.leaves_line and self._line:
            _write_line(self._line)

    def show(self, report: BatchReport, throttle: str = "", requests: int | None = None) -> None:
        """Redraw the bar and the numbers, at most ten times a second."""
        self._line = self._meter.line(report, throttle, requests)
        now = self._meter.clock()
        if self._bar is None or self._task is None or now - self._last < _LIVE_EVERY_S:
            return
        self._last = now
        line = self._meter.line(report, throttle, requests, width=self._room)
        total = self._meter.goal.requests if requests is None else requests
        self._bar.update(self._task, completed=report.ended, total=total, description=line)


class NotebookProgress:
    """A bar in the output of a notebook's cell, redrawn in its place; it stays at the end."""

    def __init__(self, goal: RunTarget) -> None:
        self._meter = Meter(goal)
        # IPython ships no types for it.
        self._display: Any = import_module("IPython.display")
        self._handle: Any = None

    def __enter__(self) -> Self:
        self._handle = self._display.display(self._display.HTML("starting"), display_id=True)
        return self

    def __exit__(self, *exc_info: object) -> None: ...

    def show(self, report: BatchReport, throttle: str = "", requests: int | None = None) -> None:
        """Redraw the bar and the numbers."""
        total = self._meter.goal.requests if requests is None else requests
        size = f' max="{total}" value="{report.ended}"' if total is not None else ""
        line = html.escape(self._meter.line(report, throttle, requests))
        if self._handle is not None:
            self._handle.update(self._display.HTML(f"<progress{size}></progress> {line}"))


def _write_line(text: str) -> None:
    sys.stderr.write(f"{text}\n")
    sys.stderr.flush()
