"""The journal and the pace as the worker of a distributed batch meets them: on the other side of a link."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path, PurePosixPath

from .._base.durable import put_on_disk
from .._base.threads import in_thread
from ..batch.journal import Admission, ImageRecord, SignedUrl
from ..batch.rows import BatchRow
from ..batch.run.settlement import Task
from ..batch.run.stop_signal import Halted
from ..batch.units import Unit, unpriced
from ..errors import Charge
from ..types.parameters import CountRule
from .coordinator_client import CoordinatorClient
from .reports import Done, Failed, Linked, Postponed, Refused, Repeated


class RemoteRecorder:
    """
    `Recorder` over a link. Images are on the disk itself before they are reported.

    Args:
        link: The way to the coordinator.
        tasks: What this worker has leased, by ID of the unit.
        out: The batch's directory.
    """

    def __init__(self, link: CoordinatorClient, tasks: Mapping[str, Task], out: Path) -> None:
        self._link = link
        self._tasks = tasks
        self._out = out
        self.granted = 0

    async def admit(
        self, rows: Sequence[tuple[BatchRow, CountRule]], *, price: Callable[[Unit], int | None] = unpriced
    ) -> list[Admission]:
        """The coordinator's alone."""
        raise NotImplementedError

    async def sent(self, unit_id: str, reserved_nano: int, *, cap_nano: int | None = None) -> None:
        """See `Recorder`. Raises Halted where the task is not, or not any more, this worker's to send."""
        del reserved_nano, cap_nano
        if not await self._link.send(self._tasks[unit_id]):
            raise Halted
        self.granted += 1

    async def refused(self, unit_id: str) -> None:
        """See `Recorder`."""
        await self._link.report(self._tasks[unit_id], Refused())

    async def repeated(self, unit_id: str) -> None:
        """See `Recorder`."""
        await self._link.report(self._tasks[unit_id], Repeated())

    async def linked(
        self,
        unit_id: str,
        links: Sequence[SignedUrl],
        *,
        images: Sequence[ImageRecord] = (),
        cost_nano: int | None = None,
        request_id: str | None = None,
    ) -> None:
        """See `Recorder`."""
        await self._sync(images)
        report = Linked(links=tuple(links), images=images, cost_nano=cost_nano, request_id=request_id)
        await self._link.report(self._tasks[unit_id], report)

    async def done(
        self,
        unit_id: str,
        images: Sequence[ImageRecord],
        *,
        cost_nano: int | None = None,
        request_id: str | None = None,
    ) -> None:
        """See `Recorder`."""
        await self._sync(images)
        report = Done(images=images, cost_nano=cost_nano, request_id=request_id)
        await self._link.report(self._tasks[unit_id], report)

    async def failed(
        self,
        unit_id: str,
        charge: Charge,
        *,
        error_type: str,
        error_text: str,
        images: Sequence[ImageRecord] = (),
        cost_nano: int | None = None,
        request_id: str | None = None,
    ) -> None:
        """See `Recorder`."""
        await self._sync(images)
        report = Failed(
            charge=charge,
            error_type=error_type,
            error_text=error_text,
            images=images,
            cost_nano=cost_nano,
            request_id=request_id,
        )
        await self._link.report(self._tasks[unit_id], report)

    async def postponed(self, unit_id: str, *, error_type: str, error_text: str) -> None:
        """See `Recorder`."""
        await self._link.report(self._tasks[unit_id], Postponed(error_type=error_type, error_text=error_text))

    async def aclose(self) -> None:
        """Nothing follows."""

    async def _sync(self, images: Sequence[ImageRecord]) -> None:
        paths = [self._out / PurePosixPath(image.file) for image in images if not image.is_elsewhere]
        if paths:
            await in_thread(put_on_disk, paths)


class RemotePacing:
    """`Pacing` over a link: the place comes with the grant, so only its end and pauses are told."""

    def __init__(self, link: CoordinatorClient, recorder: RemoteRecorder) -> None:
        self._link = link
        self._recorder = recorder

    async def take(self) -> None:
        """The place is waited for where the request is written down."""

    def started(self) -> None:
        """See `Pacing`."""
        if self._recorder.granted:
            self._recorder.granted -= 1
            self._link.started()

    def pause(self, seconds: float) -> None:
        """See `Pacing`."""
        self._link.pause(seconds)
