"""A ledger as books that an account is compared with."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from ...errors import Charge
from ...money.outcome_bounds import BookedRequest, Standing
from .ledger_store import LedgerStore
from .paid_entries import EntryState, LedgerEntry
from .paid_ledger import PaidLedger


class LedgerBooks:
    """The calls of a ledger; see `Books`."""

    def __init__(self, ledger: PaidLedger) -> None:
        self._ledger = ledger

    async def requests(self) -> Sequence[BookedRequest]:
        """Return every call that was sent."""
        return [_booked(entry) for entry in await self._ledger.entries()]

    async def settle(self, ids: Sequence[str], verdict: Literal["charged", "not charged"]) -> int:
        """Record *verdict* for the calls *ids*; one that was not charged may be tried again under its key."""
        charge = Charge.CHARGED if verdict == "charged" else Charge.REJECTED

        def settle(store: LedgerStore) -> int:
            unknown = {entry.name: entry for entry in store.listed(unknown=True)}
            found = [unknown[name] for name in ids if name in unknown]
            for entry in found:
                text = (
                    f"The account proves that it was {verdict}. First: {entry.error_type}: {entry.error_text}"
                )
                store.failed(
                    entry.seq, charge, error_type="Settled", error_text=text, request_id=entry.request_id
                )
            return len(found)

        return await self._ledger.write(settle)

    async def aclose(self) -> None:
        """Leave the ledger open: its owner closes it."""
        await self._ledger.aclose()


def _booked(entry: LedgerEntry) -> BookedRequest:
    standing: Standing = "maybe"
    if entry.state is EntryState.UNKNOWN:
        standing = "unknown"
    elif entry.state is EntryState.DONE and entry.cost_nano and (entry.ended_at or 0) > entry.sent_at:
        # What a batch added has no moment of its own: its journal is the better book.
        standing = "charged"
    return BookedRequest(
        id=entry.name,
        model=entry.model,
        first_at=entry.sent_at,
        last_at=entry.sent_at if entry.ended_at is None else entry.ended_at,
        standing=standing,
        cost_nano=entry.cost_nano,
    )
