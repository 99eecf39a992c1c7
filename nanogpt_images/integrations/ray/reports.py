"""The outcomes that a worker reports, each an operation of `Keeping` on its way to the journal."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeAlias

import attrs

from ...batch.journal import Link, StoredImage
from ...batch.keeping import Keeping
from ...errors import Charge
from .leases import Stage


@attrs.frozen(kw_only=True)
class Refused:
    """It was neither carried out nor charged, or it did not leave."""

    async def record(self, keeping: Keeping, unit_id: str) -> None:
        """Hand it to *keeping*."""
        await keeping.refused(unit_id)

    @property
    def stage(self) -> Stage | None:
        """How far the request is afterwards; None when it is over for this run."""
        return Stage.HELD


@attrs.frozen(kw_only=True)
class Repeated:
    """It may have been charged, and is sent again."""

    async def record(self, keeping: Keeping, unit_id: str) -> None:
        """Hand it to *keeping*."""
        await keeping.repeated(unit_id)

    @property
    def stage(self) -> Stage | None:
        """How far the request is afterwards; None when it is over for this run."""
        return Stage.HELD


@attrs.frozen(kw_only=True)
class Linked:
    """The answer holds signed URLs."""

    links: Sequence[Link]
    images: Sequence[StoredImage] = ()
    cost_nano: int | None = None
    request_id: str | None = None

    async def record(self, keeping: Keeping, unit_id: str) -> None:
        """Hand it to *keeping*."""
        await keeping.linked(
            unit_id, self.links, images=self.images, cost_nano=self.cost_nano, request_id=self.request_id
        )

    @property
    def stage(self) -> Stage | None:
        """How far the request is afterwards; None when it is over for this run."""
        return Stage.LINKED


@attrs.frozen(kw_only=True)
class Done:
    """The images are where they belong."""

    images: Sequence[StoredImage]
    cost_nano: int | None = None
    request_id: str | None = None

    async def record(self, keeping: Keeping, unit_id: str) -> None:
        """Hand it to *keeping*."""
        await keeping.done(unit_id, self.images, cost_nano=self.cost_nano, request_id=self.request_id)

    @property
    def stage(self) -> Stage | None:
        """How far the request is afterwards; None when it is over for this run."""
        return None


@attrs.frozen(kw_only=True)
class Failed:
    """It ended without all of its images, or nobody knows how."""

    charge: Charge
    error_type: str
    error_text: str
    images: Sequence[StoredImage] = ()
    cost_nano: int | None = None
    request_id: str | None = None

    async def record(self, keeping: Keeping, unit_id: str) -> None:
        """Hand it to *keeping*."""
        await keeping.failed(
            unit_id,
            self.charge,
            error_type=self.error_type,
            error_text=self.error_text,
            images=self.images,
            cost_nano=self.cost_nano,
            request_id=self.request_id,
        )

    @property
    def stage(self) -> Stage | None:
        """How far the request is afterwards; None when it is over for this run."""
        return None


@attrs.frozen(kw_only=True)
class Postponed:
    """Its download stays open."""

    error_type: str
    error_text: str

    async def record(self, keeping: Keeping, unit_id: str) -> None:
        """Hand it to *keeping*."""
        await keeping.postponed(unit_id, error_type=self.error_type, error_text=self.error_text)

    @property
    def stage(self) -> Stage | None:
        """How far the request is afterwards; None when it is over for this run."""
        return None


Report: TypeAlias = Refused | Repeated | Linked | Done | Failed | Postponed
