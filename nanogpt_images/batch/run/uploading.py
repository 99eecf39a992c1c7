"""A journal that counts images only once they are in a store."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path, PurePosixPath

import attrs

from ..._base.threads import in_thread
from ...types.parameters import CountRule
from ..journal import Admission
from ..outcomes import Done, Failed, Linked, Outcome, images_of
from ..recorder import Recorder
from ..rows import BatchRow
from ..units import Unit, unpriced
from .objects import ObjectStorage


class Uploading:
    """
    `Recorder` whose images are uploaded and read back before their outcome is recorded; then their files are removed.

    Args:
        recorder: Records the outcomes.
        storage: Takes the images.
        directory: The batch's directory, where images wait.
    """

    def __init__(self, recorder: Recorder, storage: ObjectStorage, directory: Path) -> None:
        self._recorder = recorder
        self._storage = storage
        self._directory = directory

    async def admit(
        self,
        rows: Sequence[tuple[BatchRow, CountRule]],
        *,
        price: Callable[[Unit], int | None] = unpriced,
        unreadable: int = 0,
    ) -> list[Admission]:
        """Make and claim units."""
        return await self._recorder.admit(rows, price=price, unreadable=unreadable)

    async def sent(self, unit_id: str, reserved_nano: int, *, cap_nano: int | None = None) -> None:
        """Record that the POST is about to leave."""
        await self._recorder.sent(unit_id, reserved_nano, cap_nano=cap_nano)

    async def record(self, unit_id: str, outcome: Outcome) -> None:
        """Upload the images of *outcome*, record it, then remove their files."""
        paths = [self._directory / PurePosixPath(image.file) for image in images_of(outcome)]
        if isinstance(outcome, Linked | Done | Failed):
            stored = [
                await self._storage.put(path, image)
                for path, image in zip(paths, outcome.images, strict=True)
            ]
            outcome = attrs.evolve(outcome, images=stored)
        await self._recorder.record(unit_id, outcome)
        if paths:
            await in_thread(_remove, paths)

    async def aclose(self) -> None:
        """Close the recorder of the outcomes."""
        await self._recorder.aclose()


def _remove(paths: Sequence[Path]) -> None:
    for path in paths:
        path.unlink(missing_ok=True)
