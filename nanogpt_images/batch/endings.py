"""How a paid request ends: journal → settle → event, whatever became of it."""

from __future__ import annotations

import enum
import logging
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from pathlib import Path

import attrs

from .._money import to_nano, to_usd
from ..errors import Charge, DownloadError, NanoGPTError
from ..images import Images
from ..outputs import NO_PROVENANCE, DirectoryStore, ImageStore, MemoryStore
from ..request import ImageRequest
from ..results import GenerationResult, Image
from .events import BatchEvent, Tally
from .funds import Funds
from .halt import Halt
from .journal import Link, StoredImage
from .journal.records import UNKNOWN_TYPE
from .keeping import Keeping
from .requests import request_of
from .states import State
from .units import Unit

_log = logging.getLogger("nanogpt_images.batch")


@attrs.frozen(kw_only=True)
class Task:
    """
    A unit that is this process's to carry out.

    Attributes:
        unit: What is to be made.
        request: The checked request; None for one whose images are paid for and wait behind `links`.
        price_nano: Its worst case.
        expected_nano: What it is counted at where the service does not say.
        links: Signed URLs still to be downloaded.
        request_id: The service's ID of the request that they came of.
        problem: Why it will not be sent at all.
    """

    unit: Unit
    request: ImageRequest | None = None
    price_nano: int = 0
    expected_nano: int = 0
    links: Sequence[Link] = ()
    request_id: str | None = None
    problem: NanoGPTError | None = None


class Phase(enum.Enum):
    """How far a request has come, for what has to be put right when it is cancelled."""

    WAITING = enum.auto()
    RECORDING = enum.auto()
    SENT = enum.auto()


@attrs.frozen(kw_only=True)
class Endings:
    """
    Writes down the outcomes of tasks, and settles their money.

    Attributes:
        out: The batch's directory; None keeps images in memory.
        provenance: Write into each file how it was made.
        elsewhere: Its images do not stay there, so events do not name their paths.
    """

    images: Images
    keeping: Keeping
    funds: Funds
    halt: Halt
    tally: Tally
    out: Path | None
    provenance: bool = False
    _told: set[str] = attrs.field(factory=set[str], init=False)
    elsewhere: bool = False

    async def succeeded(self, task: Task, result: GenerationResult) -> BatchEvent:
        cost = task.expected_nano if result.cost_usd is None else to_nano(result.cost_usd)
        stored = [self._record(image) for image in result.images if image.path is not None]
        links = [Link(index=image.index, url=image.url) for image in result.images if image.url is not None]
        if not links or self.out is None:
            with self._settling(task, cost):
                await self.keeping.done(task.unit.id, stored, cost_nano=cost, request_id=result.request_id)
            return self._event(task, State.DONE, result=result, cost=cost)
        # The URL is journalled before its download: that can then be repeated without paying again.
        with self._settling(task, cost):
            await self.keeping.linked(
                task.unit.id, links, images=stored, cost_nano=cost, request_id=result.request_id
            )
        return await self.download(task, result, cost=cost)

    async def download(self, task: Task, result: GenerationResult, *, cost: int) -> BatchEvent:
        waiting = {image.index for image in result.images if image.url is not None}
        try:
            result = await self.images.downloaded(result, self.store(task.unit))
        except DownloadError as error:
            if not error.expired:
                await self.keeping.postponed(
                    task.unit.id, error_type=type(error).__name__, error_text=str(error)
                )
                return self._event(task, State.LINKED, result=result, error=error, cost=cost)
            await self.keeping.failed(
                task.unit.id, Charge.CHARGED, error_type=type(error).__name__, error_text=str(error)
            )
            return self._event(task, State.FAILED, result=result, error=error, cost=cost)
        except NanoGPTError as error:
            self.halt.failed(error)
            await self.keeping.postponed(task.unit.id, error_type=type(error).__name__, error_text=str(error))
            return self._event(task, State.LINKED, result=result, error=error, cost=cost)
        fresh = [self._record(image) for image in result.images if image.index in waiting]
        await self.keeping.done(task.unit.id, fresh)
        return self._event(task, State.DONE, result=result, cost=cost)

    async def failed(self, task: Task, error: NanoGPTError, *, journalled: bool) -> BatchEvent | None:
        stops = task.problem is None and self.halt.failed(error)
        free = error.charge in (Charge.NOT_SENT, Charge.REJECTED)
        if stops and free:
            if journalled:
                await self.keeping.refused(task.unit.id)
            self.funds.release(task.price_nano)
            return None
        partial = getattr(error, "partial", None)
        result = partial if isinstance(partial, GenerationResult) else None
        kept = [self._record(image) for image in result.images if image.path is not None] if result else []
        cost = task.price_nano
        if free:
            cost = 0
        elif error.charge is Charge.CHARGED and result is not None and result.cost_usd is not None:
            cost = to_nano(result.cost_usd)
        with self._settling(task, cost):
            await self.keeping.failed(
                task.unit.id,
                error.charge,
                error_type=type(error).__name__,
                error_text=str(error),
                images=kept,
                cost_nano=cost if error.charge is Charge.CHARGED else None,
                request_id=error.request_id,
            )
        state = State.UNKNOWN if error.charge is Charge.UNKNOWN else State.FAILED
        return self._event(task, state, result=result, error=error, cost=cost)

    async def cancelled(self, task: Task, phase: Phase) -> None:
        """Put journal and budget right for a request that is broken off."""
        if phase is Phase.SENT:
            await self.keeping.failed(
                task.unit.id,
                Charge.UNKNOWN,
                error_type="CancelledError",
                error_text="The batch was cancelled before an answer arrived.",
            )
            self.funds.hold(task.price_nano)
            return
        if phase is Phase.RECORDING:
            await self.keeping.refused(task.unit.id)
        self.funds.release(task.price_nano)

    @contextmanager
    def _settling(self, task: Task, cost: int) -> Generator[None]:
        """Replace the reservation of *task* by its cost once the journal has it, or cannot take it."""
        try:
            yield
        finally:
            if task.problem is None:
                self.funds.settle(task.price_nano, cost)

    def store(self, unit: Unit) -> ImageStore:
        if self.out is None:
            return MemoryStore()
        return DirectoryStore(
            self.out / "images",
            lambda index, total: unit.image_stem(index),
            digest=True,
            provenance=self.images.provenance_of(request_of(unit.row, unit.n)) if self.provenance else None,
        )

    def _record(self, image: Image) -> StoredImage:
        assert image.path is not None
        assert self.out is not None
        return StoredImage(
            index=image.index,
            file=image.path.relative_to(self.out).as_posix(),
            media_type=image.media_type or UNKNOWN_TYPE,
            width=image.width,
            height=image.height,
            bytes=image.size_bytes or 0,
            sha256=image.sha256 or "",
        )

    def placeholder(self, task: Task) -> GenerationResult:
        """The result of an earlier run's answer, as far as its links tell."""
        return GenerationResult(
            images=tuple(Image(index=link.index, url=link.url) for link in task.links),
            model=task.unit.row.model,
            prompt=task.unit.row.prompt,
            asked=len(task.links),
            request_id=task.request_id,
        )

    def _tell(self, result: GenerationResult | None) -> None:
        """Log why images are without the record that they were to have, once for each reason."""
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
        self._tell(result)
        event = BatchEvent(
            unit=task.unit,
            state=state,
            result=result,
            error=error,
            charge=error.charge if error is not None else None,
            cost_usd=to_usd(cost),
        )
        self.tally.add(event, cost=cost, planned=task.price_nano, sent=task.problem is None)
        if not self.elsewhere or result is None:
            return event
        images = tuple(attrs.evolve(image, path=None) for image in result.images)
        return attrs.evolve(event, result=attrs.evolve(result, images=images))
