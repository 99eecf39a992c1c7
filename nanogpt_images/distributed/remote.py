"""The journal and the pace of a distributed batch as its workers use them: through the coordinator."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path, PurePosixPath

from .._base.durable import put_on_disk
from .._base.threads import in_thread
from ..batch.journal import Admission
from ..batch.outcomes import Outcome, images_of
from ..batch.rows import BatchRow
from ..batch.run.settlement import Task
from ..batch.run.stop_signal import Halted
from ..batch.units import Unit, unpriced
from ..types.parameters import CountRule
from .coordinator_client import CoordinatorClient


class RemoteRecorder:
    """
    `Recorder` through the coordinator. Images are on the disk itself before they are reported.

    Args:
        coordinator: The connection to the coordinator.
        tasks: What this worker has leased, by ID of the unit.
        out: The batch's directory.
    """

    def __init__(self, coordinator: CoordinatorClient, tasks: Mapping[str, Task], out: Path) -> None:
        self._coordinator = coordinator
        self._tasks = tasks
        self._out = out
        self.granted = 0

    async def admit(
        self,
        rows: Sequence[tuple[BatchRow, CountRule]],
        *,
        price: Callable[[Unit], int | None] = unpriced,
        unreadable: int = 0,
    ) -> list[Admission]:
        """Refuse: only the coordinator admits rows."""
        raise NotImplementedError

    async def sent(self, unit_id: str, reserved_nano: int, *, cap_nano: int | None = None) -> None:
        """Ask to send the task; raise Halted where it is not, or no longer, this worker's to send."""
        del reserved_nano, cap_nano
        if not await self._coordinator.send(self._tasks[unit_id]):
            raise Halted
        self.granted += 1

    async def record(self, unit_id: str, outcome: Outcome) -> None:
        """Put the images of *outcome* on the disk, then report it."""
        files = [image.file for image in images_of(outcome) if not image.is_elsewhere]
        if files:
            await in_thread(put_on_disk, [self._out / PurePosixPath(file) for file in files])
        await self._coordinator.report(self._tasks[unit_id], outcome)

    async def aclose(self) -> None:
        """Do nothing: the connection ends with the worker."""


class RemotePacing:
    """`Pacing` through the coordinator: the place comes with the grant, so only its end and pauses are reported."""

    def __init__(self, coordinator: CoordinatorClient, recorder: RemoteRecorder) -> None:
        self._coordinator = coordinator
        self._recorder = recorder

    async def take(self) -> None:
        """Do nothing: the grant waits for the place."""

    def started(self) -> None:
        """Report that a granted request has left, or will not leave."""
        if self._recorder.granted:
            self._recorder.granted -= 1
            self._coordinator.started()

    def pause(self, seconds: float) -> None:
        """Report that the service asked for a pause."""
        self._coordinator.pause(seconds)
