"""The events of a batch while it runs, and the numbers at its end."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

import attrs

from .._base.display import Displayed
from .._base.jsonable import LEFT_OUT, Jsonable
from ..errors import Charge, NanoGPTError
from ..money.nano import to_usd
from ..types.result import GenerationResult, Image, ImageData
from .journal import ManifestRecord, Remainder
from .rows import BatchRow
from .states import State
from .units import Unit

_SAMPLES: Final = 12
_MOST_FAILURES: Final = 50
_MOST_TEXT: Final = 500


@attrs.frozen(kw_only=True)
class BatchEvent(Jsonable):
    """
    The outcome of one paid request of a batch.

    Attributes:
        unit: The request: its row, its `n`, its part of the row.
        state: `DONE`, `FAILED`, `UNKNOWN`, `LINKED` for a paid image whose download is still open, or `PENDING` for a
            request that was refused for load until its retries were used up. Where the same run ends an open download
            after all, a second event, without a cost, says how.
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
    def row(self) -> BatchRow:
        """The row that the request belongs to."""
        return self.unit.row

    @property
    def images(self) -> tuple[Image, ...]:
        """The images that came."""
        return self.result.images if self.result is not None else ()

    def to_dict(self) -> dict[str, object]:
        """Return the attributes as JSON values, and `key` beside them; see `Image.to_dict`."""
        return {"key": self.key, **super().to_dict()}


@attrs.frozen(kw_only=True)
class BatchFailure(Jsonable):
    """
    What the requests of one run that did not end well have in common.

    Attributes:
        error: Name of the error's class; `Other` for all kinds beyond the first 50.
        code: The service's code, such as `content_policy_violation`; None where it gave none.
        model: The model's ID.
        count: How many requests.
        key: Key of the first of them, as an example.
        text: Its error's text, its first 500 characters.
        line: Its line in the manifest, or its place among the rows, from 1.
    """

    error: str
    code: str | None
    model: str
    count: int
    key: str
    text: str
    line: int | None = None


@attrs.frozen(kw_only=True)
class BatchReport(Displayed, Jsonable):
    """
    The numbers of one run.

    Attributes:
        rows: Rows read.
        requests: Paid requests that ended in this run, whatever their outcome. Rows that were refused
            before anything was sent are in `failed` alone.
        done: Those of them that are done.
        images: Images kept in this run.
        missing_images: Images fewer than were asked of the requests that are done.
        skipped: Requests that ended in an earlier run, or that another process holds.
        unresolved: Those of the skipped that are unknown, or were charged without an image; only
            `retry_batch(unknown=True)` sends them again.
        failed: Requests that failed.
        unknown: Requests whose outcome is unknown; they may have been charged.
        open_downloads: Paid images whose download is still open.
        pending: Requests that were refused for load until their retries were used up; a rerun sends them. With
            `join`, once the run is over, all requests of the job that are not done yet, also those that another
            living process has in hand; `open_downloads` then counts those of the job in the same way.
        held_by_others: With `join`: how many of `pending` and `open_downloads` other living processes had in hand
            when this one ended.
        cost_usd: Spent in this run, by the service's word, else by the catalogue.
        unknown_usd: What the unknown requests may have cost at most.
        planned_usd: What the requests that ended were expected to cost at most.
        reused: Requests whose images an earlier job or call had paid for; they are in `done`, not in `requests`.
        other_currency: Requests whose cost came in another currency than USD. They are in `cost_usd` at their
            expected price.
        other_costs: What these cost, by currency, as it came.
        manifest_rows: Rows of the manifest that the run reads; None where its rows come from elsewhere.
        unread: Those of them that neither this run nor an earlier one read, because it stopped before; for a retry
            also those of a manifest that is gone or has changed, with `join` those that a peer has yet to read.
        stopped: Why the run ended before its rows did; None when it went through.
        samples: The first images of this run, for a look at them.
        failures: Why requests are not done, the most frequent reason first, by class of error, code and model. Also of
            those that are unknown, pending after refusals, or whose download is open.
    """

    rows: int = 0
    requests: int = 0
    done: int = 0
    images: int = 0
    missing_images: int = 0
    skipped: int = 0
    unresolved: int = 0
    failed: int = 0
    unknown: int = 0
    open_downloads: int = 0
    pending: int = 0
    held_by_others: int = 0
    cost_usd: float = 0.0
    unknown_usd: float = 0.0
    planned_usd: float = 0.0
    other_currency: int = 0
    other_costs: Mapping[str, float] = attrs.field(factory=dict[str, float])
    reused: int = 0
    manifest_rows: int | None = None
    unread: int = 0
    stopped: NanoGPTError | None = None
    samples: tuple[ImageData, ...] = attrs.field(default=(), repr=False, eq=False, metadata=LEFT_OUT)
    failures: tuple[BatchFailure, ...] = attrs.field(default=(), repr=False)

    @property
    def ended(self) -> int:
        """Requests that this run will not look at again, with whichever outcome."""
        return self.done + self.failed + self.unknown + self.open_downloads + self.skipped

    @property
    def ok(self) -> bool:
        """Whether everything is done."""
        left = (
            self.failed
            or self.unknown
            or self.unresolved
            or self.open_downloads
            or self.pending
            or self.unread
        )
        return self.stopped is None and not left

    def to_json(self) -> dict[str, object]:
        """Return what `to_dict` does, with `stopped` as text."""
        return {**self.to_dict(), "stopped": None if self.stopped is None else str(self.stopped)}


class Failures:
    """Reasons that grow while a batch runs, in bounded memory."""

    def __init__(self) -> None:
        self._found: dict[tuple[str, str | None, str], BatchFailure] = {}

    def add(self, event: BatchEvent) -> None:
        """Count why the request of *event* is not done, if it is not."""
        if event.error is None:
            return
        name = type(event.error).__name__
        group = (name, getattr(event.error, "code", None), event.row.model)
        if group not in self._found and len(self._found) >= _MOST_FAILURES:
            group = ("Other", None, "")
        error, code, model = group
        found = self._found.get(group)
        self._found[group] = (
            attrs.evolve(found, count=found.count + 1)
            if found is not None
            else BatchFailure(
                error=error,
                code=code,
                model=model,
                count=1,
                key=event.key,
                text=str(event.error)[:_MOST_TEXT],
                line=event.row.line,
            )
        )

    def report(self) -> tuple[BatchFailure, ...]:
        """Return the reasons now, the most frequent first."""

        def order(failure: BatchFailure) -> tuple[int, str, str, str]:
            return -failure.count, failure.model, failure.error, failure.code or ""

        return tuple(sorted(self._found.values(), key=order))


class Tally:
    """
    Numbers that grow while a batch runs; money in nano-USD.

    Attributes:
        units_expected: Requests that the job has at least, from what is known at its start.
        is_divided: Images go into folders of `images`, because there are many.
    """

    def __init__(self) -> None:
        self.rows = self.units = self.requests = self.done = self.images = self.missing = self.skipped = 0
        self.failed = self.unknown = self.unresolved = self.open_downloads = self.pending = 0
        self.spent = self.unknown_nano = self.planned = 0
        self.other_currency = self.reused = 0
        self.other_costs: dict[str, float] = {}
        self.manifest_rows: int | None = None
        self.read_before = self.lost_rows = self.held_by_others = self.unread = 0
        self.samples: list[ImageData] = []
        self.failures = Failures()
        self.units_expected = 0
        self.is_divided = False

    def expect(self, manifest: ManifestRecord, *, is_there: bool = True) -> None:
        """Count the rows of a manifest that the run is to read, or those that can no longer be read."""
        if is_there:
            self.manifest_rows = (self.manifest_rows or 0) + manifest.rows
            self.read_before += manifest.read
        else:
            self.lost_rows += manifest.unread

    def skip(self, state: State) -> None:
        """Count a request that this run does not execute."""
        self.skipped += 1
        self.unresolved += state in (State.FAILED, State.UNKNOWN)

    def leave(self, left: Remainder) -> None:
        """Count what the job of several processes still has to do, this one's share included."""
        self.pending, self.open_downloads = left.pending, left.open_downloads
        self.held_by_others, self.unread = left.held_by_others, left.unread

    def add(self, event: BatchEvent, *, cost: int, planned: int, sent: bool) -> None:
        """Count the outcome of one request."""
        self.failures.add(event)
        if event.state is State.PENDING:
            self.pending += 1
            return
        self.requests += sent
        self.planned += planned
        kept = [image for image in event.images if image.path is not None or image.data is not None]
        self.images += len(kept)
        self.samples += kept[: _SAMPLES - len(self.samples)]
        stated = event.result.cost if event.result is not None else None
        if stated is not None and stated.usd is None:
            self.other_currency += 1
            self.other_costs[stated.currency] = self.other_costs.get(stated.currency, 0.0) + stated.amount
        if event.state is State.UNKNOWN:
            self.unknown += 1
            self.unknown_nano += cost
            return
        self.spent += cost
        self.failed += event.state is State.FAILED
        self.open_downloads += event.state is State.LINKED
        if event.state is State.DONE:
            self.done += 1
            self.missing += event.result.missing if event.result is not None else 0

    def add_images(self, images: Sequence[Image], number: int) -> None:
        """Count *number* images that came after their request was counted; *images* holds them."""
        self.images += number
        self.samples += [image for image in images if image.path][: _SAMPLES - len(self.samples)]

    def resolve(self, before: State, after: State, *, cost: int, missing: int) -> None:
        """
        Count the end of a download that was open in this run, beside its images.

        Args:
            before: What its request was counted as: `LINKED`, or `FAILED` or `UNKNOWN` with links.
            after: What it came to.
            cost: What it was counted at (nano-USD), where it was unknown.
            missing: Images that a request which is done lacks.
        """
        if before is after:
            return
        self.open_downloads -= before is State.LINKED
        self.failed += (after is State.FAILED) - (before is State.FAILED)
        self.done += after is State.DONE
        self.missing += missing
        if before is State.UNKNOWN:
            self.unknown -= 1
            self.unknown_nano -= cost
            self.spent += cost

    def report(self, stopped: NanoGPTError | None) -> BatchReport:
        """Return the numbers now."""
        return BatchReport(
            rows=self.rows,
            requests=self.requests,
            done=self.done,
            images=self.images,
            missing_images=self.missing,
            skipped=self.skipped,
            unresolved=self.unresolved,
            failed=self.failed,
            unknown=self.unknown,
            open_downloads=self.open_downloads,
            pending=self.pending,
            held_by_others=self.held_by_others,
            cost_usd=to_usd(self.spent),
            unknown_usd=to_usd(self.unknown_nano),
            planned_usd=to_usd(self.planned),
            other_currency=self.other_currency,
            reused=self.reused,
            other_costs=dict(self.other_costs),
            manifest_rows=self.manifest_rows,
            unread=max(
                self.unread,
                self.lost_rows + max(0, (self.manifest_rows or 0) - max(self.read_before, self.rows)),
            ),
            stopped=stopped,
            samples=tuple(self.samples),
            failures=self.failures.report(),
        )
