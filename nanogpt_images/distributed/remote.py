"""The journal and the pace as the worker of a distributed batch meets them: on the other side of a link."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path, PurePosixPath

from .._base.durable import sync_directories, sync_files
from .._base.threads import in_thread
from ..batch.journal import Admission
from ..batch.outcomes import Outcome, images_of
from ..batch.rows import BatchRow
from ..batch.run.settlement import Task
from ..batch.run.stop_signal import Halted
from ..batch.units import Unit, unpriced
from ..errors import OutputError
from ..types.parameters import CountRule
from .coordinator_client import CoordinatorClient


class RemoteRecorder:
    """
    `Recorder` over a link. Images are on the disk itself before they are reported.

    Args:
        coordinator: The way to the coordinator.
        tasks: What this worker has leased, by ID of the unit.
        out: The batch's directory.
    """

    def __init__(self, coordinator: CoordinatorClient, tasks: Mapping[str, Task], out: Path) -> None:
        self._coordinator = coordinator
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
        if not await self._coordinator.send(self._tasks[unit_id]):
            raise Halted
        self.granted += 1

    async def record(self, unit_id: str, outcome: Outcome) -> None:
        """See `Recorder`."""
        files = [image.file for image in images_of(outcome) if not image.is_elsewhere]
        if files:
            await in_thread(_sync, [self._out / PurePosixPath(file) for file in files])
        await self._coordinator.report(self._tasks[unit_id], outcome)

    async def aclose(self) -> None:
        """Nothing follows."""


class RemotePacing:
    """`Pacing` over a link: the place comes with the grant, so only its end and pauses are told."""

    def __init__(self, coordinator: CoordinatorClient, recorder: RemoteRecorder) -> None:
        self._coordinator = coordinator
        self._recorder = recorder

    async def take(self) -> None:
        """The place is waited for where the request is written down."""

    def started(self) -> None:
        """See `Pacing`."""
        if self._recorder.granted:
            self._recorder.granted -= 1
            self._coordinator.started()

    def pause(self, seconds: float) -> None:
        """See `Pacing`."""
        self._coordinator.pause(seconds)


def _sync(paths: Sequence[Path]) -> None:
    try:
        sync_files(paths)
        sync_directories(paths)
    except OSError as error:
        raise OutputError(
            f"an image could not be put on the disk ({error.strerror or error}: {error.filename})."
            " It was charged, and the journal does not count it as done."
        ) from error
