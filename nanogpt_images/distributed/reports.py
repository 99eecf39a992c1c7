"""
The outcomes that a worker reports, each an operation of `Recorder` on its way to the journal.

`stage` is how far the request is afterwards; None when it is over for this run.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar, TypeAlias

import attrs

from ..batch.journal import ImageRecord, SignedUrl
from ..batch.recorder import Recorder
from ..errors import Charge
from .leases import Stage


@attrs.frozen(kw_only=True)
class Refused:
    """It was neither carried out nor charged, or it did not leave."""

    stage: ClassVar[Stage | None] = Stage.HELD

    async def record(self, recorder: Recorder, unit_id: str) -> None:
        """Hand it to *keeping*."""
        await recorder.refused(unit_id)


@attrs.frozen(kw_only=True)
class Repeated:
    """It may have been charged, and is sent again."""

    stage: ClassVar[Stage | None] = Stage.HELD

    async def record(self, recorder: Recorder, unit_id: str) -> None:
        """Hand it to *keeping*."""
        await recorder.repeated(unit_id)


@attrs.frozen(kw_only=True)
class Linked:
    """The answer holds signed URLs."""

    stage: ClassVar[Stage | None] = Stage.LINKED

    links: Sequence[SignedUrl]
    images: Sequence[ImageRecord] = ()
    cost_nano: int | None = None
    request_id: str | None = None

    async def record(self, recorder: Recorder, unit_id: str) -> None:
        """Hand it to *keeping*."""
        await recorder.linked(
            unit_id, self.links, images=self.images, cost_nano=self.cost_nano, request_id=self.request_id
        )


@attrs.frozen(kw_only=True)
class Done:
    """The images are where they belong."""

    stage: ClassVar[Stage | None] = None

    images: Sequence[ImageRecord]
    cost_nano: int | None = None
    request_id: str | None = None

    async def record(self, recorder: Recorder, unit_id: str) -> None:
        """Hand it to *keeping*."""
        await recorder.done(unit_id, self.images, cost_nano=self.cost_nano, request_id=self.request_id)


@attrs.frozen(kw_only=True)
class Failed:
    """It ended without all of its images, or nobody knows how."""

    stage: ClassVar[Stage | None] = None

    charge: Charge
    error_type: str
    error_text: str
    images: Sequence[ImageRecord] = ()
    cost_nano: int | None = None
    request_id: str | None = None

    async def record(self, recorder: Recorder, unit_id: str) -> None:
        """Hand it to *keeping*."""
        await recorder.failed(
            unit_id,
            self.charge,
            error_type=self.error_type,
            error_text=self.error_text,
            images=self.images,
            cost_nano=self.cost_nano,
            request_id=self.request_id,
        )


@attrs.frozen(kw_only=True)
class Postponed:
    """Its download stays open."""

    stage: ClassVar[Stage | None] = None

    error_type: str
    error_text: str

    async def record(self, recorder: Recorder, unit_id: str) -> None:
        """Hand it to *keeping*."""
        await recorder.postponed(unit_id, error_type=self.error_type, error_text=self.error_text)


Report: TypeAlias = Refused | Repeated | Linked | Done | Failed | Postponed
