"""What a batch tells while it runs, and the numbers at its end."""

from __future__ import annotations

import attrs

from .._money import to_usd
from ..errors import Charge, NanoGPTError
from ..results import GenerationResult, Image
from .states import State
from .units import Unit


@attrs.frozen(kw_only=True)
class BatchEvent:
    """
    The outcome of one paid request of a batch.

    Attributes:
        unit: The request: its row, its `n`, its part of the row.
        state: `DONE`, `FAILED`, `UNKNOWN`, or `LINKED` for a paid image whose download is still open.
        result: What came; also with a failure, where some images could be kept.
        error: Why it failed.
        charge: What is known about the money; None when it is done.
        cost_usd: What it cost: as the service says, else by the catalogue; the worst case when unknown.
    """

    unit: Unit
    state: State
    result: GenerationResult | None = None
    error: NanoGPTError | None = None
    charge: Charge | None = None
    cost_usd: float = 0.0

    @property
    def ok(self) -> bool:
        """Whether the request is done."""
        return self.state is State.DONE

    @property
    def key(self) -> str:
        """The row's key, or the name that was made for it."""
        return self.unit.row.key or self.unit.name

    @property
    def row(self) -> object:
        """The row that the request belongs to."""
        return self.unit.row

    @property
    def images(self) -> tuple[Image, ...]:
        """The images that came."""
        return self.result.images if self.result is not None else ()


@attrs.frozen(kw_only=True)
class BatchReport:
    """
    The numbers of one run.

    Attributes:
        rows: Rows read.
        requests: Paid requests that ended in this run, whatever their outcome.
        images: Images kept in this run.
        missing_images: Images fewer than were asked of the requests that are done.
        skipped: Requests that an earlier run had done, or that another process has in hand.
        failed: Requests that failed.
        unknown: Requests whose outcome is unknown; they may have been charged.
        open_downloads: Paid images whose download is still open.
        cost_usd: Spent in this run, by the service's word, else by the catalogue.
        unknown_usd: What the unknown requests may have cost at most.
        planned_usd: What the requests that ended were expected to cost at most.
        stopped: Why the run ended before its rows did; None when it went through.
    """

    rows: int = 0
    requests: int = 0
    images: int = 0
    missing_images: int = 0
    skipped: int = 0
    failed: int = 0
    unknown: int = 0
    open_downloads: int = 0
    cost_usd: float = 0.0
    unknown_usd: float = 0.0
    planned_usd: float = 0.0
    stopped: NanoGPTError | None = None

    @property
    def ok(self) -> bool:
        """Whether everything is done."""
        return self.stopped is None and not (self.failed or self.unknown or self.open_downloads)

    def to_json(self) -> dict[str, object]:
        """The numbers as JSON values, under the same names; `stopped` is a text."""
        numbers = attrs.asdict(self, recurse=False)
        return {**numbers, "stopped": None if self.stopped is None else str(self.stopped)}


class Tally:
    """Numbers that grow while a batch runs; money in nano-USD."""

    def __init__(self) -> None:
        self.rows = self.requests = self.images = self.missing = self.skipped = 0
        self.failed = self.unknown = self.open_downloads = 0
        self.spent = self.unknown_nano = self.planned = 0

    def add(self, event: BatchEvent, *, cost: int, planned: int) -> None:
        """Count the outcome of one request."""
        self.requests += 1
        self.planned += planned
        self.images += sum(image.path is not None or image.data is not None for image in event.images)
        if event.state is State.UNKNOWN:
            self.unknown += 1
            self.unknown_nano += cost
            return
        self.spent += cost
        self.failed += event.state is State.FAILED
        self.open_downloads += event.state is State.LINKED
        if event.state is State.DONE and event.result is not None:
            self.missing += event.result.missing

    def report(self, stopped: NanoGPTError | None) -> BatchReport:
        """The numbers now."""
        return BatchReport(
            rows=self.rows,
            requests=self.requests,
            images=self.images,
            missing_images=self.missing,
            skipped=self.skipped,
            failed=self.failed,
            unknown=self.unknown,
            open_downloads=self.open_downloads,
            cost_usd=to_usd(self.spent),
            unknown_usd=to_usd(self.unknown_nano),
            planned_usd=to_usd(self.planned),
            stopped=stopped,
        )
