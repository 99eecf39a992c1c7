"""A batch's journal as books that an account is compared with."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Literal, Self

from ..._base.threads import in_thread
from ...errors import JournalError
from ...money.outcome_bounds import BookedRequest
from .database.schema import FILE_NAME
from .journal import Journal


class JournalBooks:
    """The requests of a batch; see `resources.settling.Books`."""

    def __init__(self, journal: Journal) -> None:
        self._journal = journal

    @classmethod
    async def open(cls, directory: Path, service: str) -> Self:
        """
        Open the journal in *directory*, which no other process may use.

        Raises:
            JournalError: There is none, or it is in use, damaged or of another service.
        """
        if not await in_thread((directory / FILE_NAME).is_file):
            raise JournalError(f"there is no journal in {directory}. Name the directory of a batch.")
        return cls(await Journal.open(directory, service=service))

    async def requests(self) -> Sequence[BookedRequest]:
        """Return every request that was sent."""
        return await self._journal.booked()

    async def settle(self, ids: Sequence[str], verdict: Literal["charged", "not charged"]) -> int:
        """Record *verdict* for the units *ids*; return how many changed."""
        return await self._journal.resolve(ids, charged=verdict == "charged")

    async def aclose(self) -> None:
        """Close the journal."""
        await self._journal.aclose()
