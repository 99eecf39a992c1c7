"""How a paid request ends, with whichever outcome: journal → settle → event."""

from __future__ import annotations

import enum
import logging
import time
from collections.abc import Collection, Generator, Sequence
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Final

import anyio
import attrs

from ..._base.descriptors import are_short
from ...errors import (
    Charge,
    DownloadError,
    NanoGPTError,
    OutcomeUnknownError,
    OutputError,
    StatusError,
)
from ...money.budget_gate import BudgetGate
from ...money.nano import to_nano, to_usd
from ...outputs import NO_PROVENANCE, DirectoryStore, ImageStore, MemoryStore, write_image
from ...resources.pipeline import Pipeline
from ...types.request import ImageRequest
from ...types.result import GenerationResult, Image
from ..batch_options import BatchOptions
from ..events import BatchEvent, Tally
from ..journal import Journal
from ..outcomes import UNKNOWN_TYPE, Done, Failed, ImageRecord, Linked, Outcome, Postponed, Refused, SignedUrl
from ..planning.requests import request_of
from ..recorder import Recorder
from ..states import State
from ..units import Unit
from .later import Later, OpenDownload
from .stop_signal import StopSignal

_log = logging.getLogger("nanogpt_images.batch")
# Between attempts to write an image that is in memory alone, until a descriptor is free: two minutes in all.
_PAUSES_S: Final = (0.01, 0.05, 0.2, 0.5, *[1.0] * 20, *[5.0] * 20)


@attrs.frozen(kw_only=True)
class Task:
    """
    A unit that is this process's to execute.

    Attributes:
        unit: What is to be made.
        request: The checked request; None for one whose images are paid for and wait behind `links`.
        price_nano: Its worst case.
        expected_nano: Its cost where the service does not state one.
        links: Signed URLs still to be downloaded.
        linked_at: When they came (seconds since the epoch).
        request_id: The service's ID of the request that they came of.
        kept: Indices of images of the same request that are on disk.
        charge: What is known about the money of the request, where it failed beside its links; None where the
            links are all of its answer.
        problem: Why it will not be sent.
        is_readable: There is a row behind it, which the journal knows; otherwise *problem* is all that is known.
    """

    unit: Unit
    request: ImageRequest | None = None
    price_nano: int = 0
    expected_nano: int = 0
    links: Sequence[SignedUrl] = ()
    linked_at: float | None = None
    request_id: str | None = None
    kept: frozenset[int] = frozenset()
    charge: Charge | None = None
    problem: NanoGPTError | None = None
    is_readable: bool = True

    @property
    def state(self) -> State:
        """Where a request stands whose links are still to be downloaded."""
        if self.charge is None:
            return State.LINKED
        return State.UNKNOWN if self.charge is Charge.UNKNOWN else State.FAILED

    def left_by(self, outcome: Outcome) -> Task | None:
        """Return what is still to be downloaded after *outcome*, without the request; None where nothing is."""
        match outcome:
            case Linked(links=links, images=images):
                charge = None
            case Failed(links=[*links], images=images, charge=charge) if links:
                pass
            case _:
                return None
        return Task(
            unit=self.unit,
            links=links,
            linked_at=time.time(),
            request_id=outcome.request_id,
            kept=self.kept | {image.index for image in images},
            charge=charge,
        )


class Phase(enum.Enum):
    """How far a request has come, which decides the record of a cancelled one."""

    WAITING = enum.auto()
    RECORDING = enum.auto()
    SENT = enum.auto()


@attrs.frozen(kw_only=True)
class Settlement:
    """
    Records the outcomes of tasks, and settles their money.

    Attributes:
        options: The batch's. Without `out` images stay in memory; with `images_url` they do not stay in the
            directory, so events do not name their paths.
        later: Takes downloads that failed for now; None leaves them to the next run.
    """

    images: Pipeline
    recorder: Recorder
    budget_gate: BudgetGate
    stop_signal: StopSignal
    tally: Tally
    options: BatchOptions
    later: Later | None = None
    _told: set[str] = attrs.field(factory=set[str], init=False)

    @property
    def out(self) -> Path | None:
        return self.options.out

    async def succeeded(self, task: Task, result: GenerationResult) -> BatchEvent:
        cost = task.expected_nano if result.cost_usd is None else to_nano(result.cost_usd)
        stored = [self._record(image) for image in result.images if image.path is not None]
        links = _links(result)
        if not links or self.out is None:
            with self._settling(task, cost):
                done = Done(images=stored, cost_nano=cost, request_id=result.request_id)
                await self.recorder.record(task.unit.id, done)
            return self._event(task, State.DONE, result=result, cost=cost)
        # The URL is journalled before its download: that can then be repeated without paying again.
        task = attrs.evolve(task, linked_at=time.time())
        with self._settling(task, cost):
            linked = Linked(links=links, images=stored, cost_nano=cost, request_id=result.request_id)
            await self.recorder.record(task.unit.id, linked)
        return await self.download(task, result, cost=cost)

    async def reused(self, task: Task, result: GenerationResult, journal: Journal | None) -> BatchEvent:
        """Write down that *result* was paid for before, and costs nothing now."""
        if journal is not None:
            images = [self._record(image) for image in result.images if image.path is not None]
            await journal.reused(task.unit.id, images, request_id=result.request_id)
        event = self._outcome(task, State.DONE, result=result, error=None)
        self.tally.add(event, cost=0, planned=0, sent=False)
        self.tally.reused += 1
        return event

    async def download(self, task: Task, result: GenerationResult, *, cost: int) -> BatchEvent:
        """Download what waits behind the URLs of *result*; `cost` is what the event is to tell."""
        done = await self._downloaded(OpenDownload(task, result), self.later)
        return self._event(task, done.state, result=done.result, error=done.error, cost=cost)

    async def follow_up(self, task: Task) -> BatchEvent | None:
        """Download the links of an earlier run; None where they bring nothing to a request that ended badly then."""
        later = self.later if task.charge is None else None
        done = await self._downloaded(OpenDownload(task, self.placeholder(task)), later)
        if task.charge is None or done.state is State.DONE:
            return self._event(task, done.state, result=done.result, error=done.error)
        self.tally.skip(done.state)
        return None if done.is_open or not done.fresh else self._late(task, done)

    def _late(self, task: Task, done: _Downloaded) -> BatchEvent:
        """Make the event of images that came after their request was counted."""
        event = self._outcome(task, done.state, result=done.result, error=done.error)
        self.tally.add_images(event.images, len(done.fresh))
        return self._shown(event)

    async def download_again(self, item: OpenDownload) -> BatchEvent | None:
        """Try a download that was postponed; None where it stays so."""
        done = await self._downloaded(item, self.later)
        if done.is_open:
            return None
        missing = done.result.missing if done.state is State.DONE else 0
        self.tally.resolve(item.task.state, done.state, cost=item.cost, missing=missing)
        return self._late(item.task, done)

    async def _downloaded(self, item: OpenDownload, later: Later | None) -> _Downloaded:
        task, result = item.task, item.result
        waiting = {image.index for image in result.images if image.url is not None}
        lost: NanoGPTError | None = None
        try:
            result = await self.images.downloaded(result, self.store(task.unit), received_at=task.linked_at)
        except NanoGPTError as error:
            if not isinstance(error, DownloadError):
                self.stop_signal.failed(error)
            if not isinstance(error, DownloadError) or not error.expired:
                postponed = Postponed(error_type=type(error).__name__, error_text=str(error))
                await self.recorder.record(task.unit.id, postponed)
                if later is not None:
                    later.put(item, error)
                return _Downloaded(task.state, result, error=error, is_open=True)
            result, lost = error.partial if isinstance(error.partial, GenerationResult) else result, error
        fresh = self._fresh(result, waiting)
        has_all = len(task.kept.union(image.index for image in fresh)) >= task.unit.images
        if has_all if task.charge is not None else lost is None:
            await self.recorder.record(task.unit.id, Done(images=fresh))
            return _Downloaded(State.DONE, result, fresh)
        failed = Failed(
            charge=task.charge or Charge.CHARGED,
            error_type=OutcomeUnknownError.__name__ if lost is None else type(lost).__name__,
            error_text="The answer broke off after these images." if lost is None else str(lost),
            images=fresh,
        )
        await self.recorder.record(task.unit.id, failed)
        state = State.FAILED if task.charge is None else task.state
        return _Downloaded(state, result, fresh, lost)

    def _fresh(self, result: GenerationResult, waiting: Collection[int]) -> list[ImageRecord]:
        return [self._record(image) for image in result.images if image.index in waiting and image.path]

    async def failed(self, task: Task, error: NanoGPTError, *, journalled: bool) -> BatchEvent | None:
        if not task.is_readable:
            return self._event(task, State.FAILED, error=error)
        if isinstance(error, OutputError):
            await self._save(task, error)
        stops = task.problem is None and not self._passed(task, error) and self.stop_signal.failed(error)
        free = error.charge in (Charge.NOT_SENT, Charge.REJECTED)
        if stops and free:
            if journalled:
                await self.recorder.record(task.unit.id, Refused())
            self.budget_gate.release(task.price_nano)
            return None
        result = error.partial if isinstance(error.partial, GenerationResult) else None
        if result is not None and self._is_complete(task, result):
            problem = f"all images came, in spite of an error: {error}"
            return await self.succeeded(task, attrs.evolve(result, problems=(*result.problems, problem)))
        kept = [self._record(image) for image in result.images if image.path is not None] if result else []
        cost = task.price_nano
        if free:
            cost = 0
        elif isinstance(error, StatusError) and error.cost_usd is not None:
            cost = to_nano(error.cost_usd)
        elif error.charge is Charge.CHARGED and result is not None and result.cost_usd is not None:
            cost = to_nano(result.cost_usd)
        with self._settling(task, cost):
            failed = Failed(
                charge=error.charge,
                error_type=type(error).__name__,
                error_text=str(error),
                images=kept,
                links=_links(result) if result is not None and self.out is not None and not free else (),
                cost_nano=cost if error.charge is Charge.CHARGED else None,
                request_id=error.request_id,
            )
            await self.recorder.record(task.unit.id, failed)
        state = State.UNKNOWN if error.charge is Charge.UNKNOWN else State.FAILED
        left = task.left_by(failed)
        if left is None or result is None:
            return self._event(task, state, result=result, error=error, cost=cost)
        # The links are journalled: what they bring is not paid for again, in whichever run it comes.
        done = await self._downloaded(OpenDownload(left, result, cost=cost), self.later)
        if done.state is not State.DONE:
            return self._event(task, state, result=done.result, error=error, cost=cost)
        problem = f"all images came, in spite of an error: {error}"
        result = attrs.evolve(done.result, problems=(*done.result.problems, problem))
        return self._event(task, State.DONE, result=result, cost=cost)

    async def refused(self, task: Task, error: NanoGPTError, *, journalled: bool) -> BatchEvent | None:
        """Leave *task* pending: it was refused for load alone until its retries were used up."""
        if journalled:
            await self.recorder.record(task.unit.id, Refused())
        self.budget_gate.release(task.price_nano)
        return None if self.stop_signal.requested else self._event(task, State.PENDING, error=error)

    async def cancelled(self, task: Task, phase: Phase, store: ImageStore) -> None:
        """Settle journal and budget for a request that is cancelled; *store* has what came of it before."""
        if phase is Phase.SENT:
            self.budget_gate.hold(task.price_nano)
            images = [self._record(Image.stored(image)) for image in store.kept if image.path is not None]
            if len(images) >= task.unit.images:
                await self.recorder.record(task.unit.id, Done(images=images))
                return
            failed = Failed(
                charge=Charge.UNKNOWN,
                error_type="CancelledError",
                error_text="The batch was cancelled before the answer was complete.",
                images=images,
                links=[SignedUrl(index=index, url=url) for index, url in store.links],
            )
            await self.recorder.record(task.unit.id, failed)
            return
        if phase is Phase.RECORDING:
            await self.recorder.record(task.unit.id, Refused())
        self.budget_gate.release(task.price_nano)

    @contextmanager
    def _settling(self, task: Task, cost: int) -> Generator[None]:
        """Replace the reservation of *task* by its cost once the journal has it, or cannot take it."""
        try:
            yield
        finally:
            if task.problem is None:
                self.budget_gate.settle(task.price_nano, cost)

    def store(self, unit: Unit) -> ImageStore:
        if self.out is None:
            return MemoryStore()
        return DirectoryStore(
            self._folder(unit, self.out),
            lambda index, total: unit.image_stem(index),
            digest=True,
            provenance=self.images.provenance_of(request_of(unit.row, unit.n))
            if self.options.provenance
            else None,
        )

    def _folder(self, unit: Unit, out: Path) -> Path:
        return out / "images" / unit.folder if self.tally.is_divided else out / "images"

    async def _save(self, task: Task, error: OutputError) -> None:
        """Write images that only memory holds to the disk as soon as it accepts them, and put their paths into *error*."""
        result = error.partial
        if not isinstance(result, GenerationResult) or self.out is None:
            return
        if not are_short(error):
            # Other requests would lose their images too. Only a free descriptor is worth waiting for.
            self.stop_signal.failed(error)
        images: list[Image] = []
        for image in result.images:
            if image.data is not None:
                target = self._folder(task.unit, self.out) / task.unit.image_stem(image.index)
                path = await self._written(image.data, target)
                image = image if path is None else attrs.evolve(image, data=None, path=path)  # noqa: PLW2901
            images.append(image)
        error.partial = attrs.evolve(result, images=tuple(images))

    async def _written(self, data: bytes, target: Path) -> Path | None:
        write = partial(write_image, data, target, overwrite=False)
        for pause_s in (*_PAUSES_S, None):
            try:
                return write()
            except OutputError as error:
                if pause_s is None or not are_short(error):
                    return None
            try:
                await anyio.sleep(pause_s)
            except BaseException:
                # Cancelled while only this frame holds the image. Its name tells the next run which request it belongs to.
                with suppress(OutputError):
                    write()
                raise
        return None

    def _passed(self, task: Task, error: NanoGPTError) -> bool:
        """Return whether *error* was a lack of file descriptors that in the end cost no image."""
        result = error.partial
        return are_short(error) and isinstance(result, GenerationResult) and self._is_complete(task, result)

    def _is_complete(self, task: Task, result: GenerationResult) -> bool:
        """Return whether all images of *task* are where they belong, so that sending it again would pay twice."""
        there = [image for image in result.images if self.out is None or image.path is not None]
        return len(there) >= task.unit.images

    def _record(self, image: Image) -> ImageRecord:
        assert image.path is not None
        assert self.out is not None
        return ImageRecord(
            index=image.index,
            file=image.path.relative_to(self.out).as_posix(),
            media_type=image.media_type or UNKNOWN_TYPE,
            width=image.width,
            height=image.height,
            bytes=image.size_bytes or 0,
            sha256=image.sha256 or "",
        )

    def placeholder(self, task: Task) -> GenerationResult:
        """Make the result of an earlier run's answer from its links."""
        return GenerationResult(
            images=tuple(Image(index=link.index, url=link.url) for link in task.links),
            model=task.unit.row.model,
            prompt=task.unit.row.prompt,
            asked=len(task.links),
            request_id=task.request_id,
        )

    def _tell(self, result: GenerationResult | None) -> None:
        """Log why images lack their provenance record, once for each reason."""
        for problem in result.problems if result is not None else ():
            _, found, reason = problem.partition(NO_PROVENANCE)
            if found and reason not in self._told:
                self._told.add(reason)
                _log.warning("an image%s%s (said once for this reason)", NO_PROVENANCE, reason)

    def _event(
        self,
        task: Task,
        state: State,
        *,
        result: GenerationResult | None = None,
        error: NanoGPTError | None = None,
        cost: int = 0,
    ) -> BatchEvent:
        event = self._outcome(task, state, result=result, error=error, cost=cost)
        self.tally.add(event, cost=cost, planned=task.price_nano, sent=task.problem is None)
        return self._shown(event)

    def _outcome(
        self,
        task: Task,
        state: State,
        *,
        result: GenerationResult | None,
        error: NanoGPTError | None,
        cost: int = 0,
    ) -> BatchEvent:
        self._tell(result)
        return BatchEvent(
            unit=task.unit,
            state=state,
            result=result,
            error=error,
            charge=error.charge if error is not None else None,
            cost_usd=to_usd(cost),
        )

    def _shown(self, event: BatchEvent) -> BatchEvent:
        if self.options.images_url is None or event.result is None:
            return event
        images = tuple(attrs.evolve(image, path=None) for image in event.result.images)
        return attrs.evolve(event, result=attrs.evolve(event.result, images=images))


@attrs.frozen
class _Downloaded:
    """How a download went, and the images that it brought to the disk."""

    state: State
    result: GenerationResult
    fresh: Sequence[ImageRecord] = ()
    error: NanoGPTError | None = None
    is_open: bool = False


def _links(result: GenerationResult) -> list[SignedUrl]:
    return [SignedUrl(index=image.index, url=image.url) for image in result.images if image.url is not None]
