"""A journal that counts images only once they are in a store."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path, PurePosixPath

from ..._base.threads import in_thread
from ...errors import Charge
from ...types.parameters import CountRule
from ..journal import Admission, ImageRecord, SignedUrl
from ..recorder import Recorder
from ..rows import BatchRow
from ..units import Unit, unpriced
from .objects import ObjectStorage


class Uploading:
    """
    `Recorder` whose images are uploaded and read back before their outcome is recorded; then their files are removed.

    Args:
        keeping: Records the outcomes.
        storage: Takes the images.
        directory: The batch's directory, where images wait.
    """

    def __init__(self, recorder: Recorder, storage: ObjectStorage, directory: Path) -> None:
        self._recorder = recorder
        self._storage = storage
        self._directory = directory

    async def admit(
        self, rows: Sequence[tuple[BatchRow, CountRule]], *, price: Callable[[Unit], int | None] = unpriced
    ) -> list[Admission]:
        """See `Recorder`."""
        return await self._recorder.admit(rows, price=price)

    async def sent(self, unit_id: str, reserved_nano: int, *, cap_nano: int | None = None) -> None:
        """See `Recorder`."""
        await self._recorder.sent(unit_id, reserved_nano, cap_nano=cap_nano)

    async def refused(self, unit_id: str) -> None:
        """See `Recorder`."""
        await self._recorder.refused(unit_id)

    async def repeated(self, unit_id: str) -> None:
        """See `Recorder`."""
        await self._recorder.repeated(unit_id)

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
        async with self._stored(images) as stored:
            await self._recorder.linked(
                unit_id, links, images=stored, cost_nano=cost_nano, request_id=request_id
            )

    async def done(
        self,
        unit_id: str,
        images: Sequence[ImageRecord],
        *,
        cost_nano: int | None = None,
        request_id: str | None = None,
    ) -> None:
        """See `Recorder`."""
        async with self._stored(images) as stored:
            await self._recorder.done(unit_id, stored, cost_nano=cost_nano, request_id=request_id)

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
        async with self._stored(images) as stored:
            await self._recorder.failed(
                unit_id,
                charge,
                error_type=error_type,
                error_text=error_text,
                images=stored,
                cost_nano=cost_nano,
                request_id=request_id,
            )

    async def postponed(self, unit_id: str, *, error_type: str, error_text: str) -> None:
        """See `Recorder`."""
        await self._recorder.postponed(unit_id, error_type=error_type, error_text=error_text)

    async def aclose(self) -> None:
        """See `Recorder`."""
        await self._recorder.aclose()

    @asynccontextmanager
    async def _stored(self, images: Sequence[ImageRecord]) -> AsyncGenerator[list[ImageRecord]]:
        """The images as they are in the store; their files go when the block has recorded them."""
        paths = [self._directory / PurePosixPath(image.file) for image in images]
        yield [await self._storage.put(path, image) for path, image in zip(paths, images, strict=True)]
        if paths:
            await in_thread(_remove, paths)


def _remove(paths: Sequence[Path]) -> None:
    for path in paths:
        path.unlink(missing_ok=True)
