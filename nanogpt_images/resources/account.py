"""The account: what is left, and what the service says was spent."""

from __future__ import annotations

import os
from datetime import date
from pathlib import Path
from typing import Final

from ..errors import ConfigurationError
from ..transport.sender import Sender
from ..types.account import Balance, Usage
from ..wire.account import decode_balance, decode_usage
from .settling import Labels, OpenBooks, SettledOutcomes, settle

_BALANCE_PATH: Final = "/api/check-balance"
_USAGE_PATH: Final = "/api/v1/usage"


class Account:
    """Balance and usage. Reach it as `client.account`. Source: docs/service.md, "Account" and "Usage"."""

    def __init__(
        self, sender: Sender, open_books: OpenBooks | None = None, labels: Labels | None = None
    ) -> None:
        self._sender = sender
        self._open_books = open_books
        self._labels = labels

    async def settle(self, books: str | os.PathLike[str], *, exclusive: bool = False) -> SettledOutcomes:
        """
        Settle unknown outcomes by what the account says it charged; an outcome without a proof stays unknown, with bounds.

        Those that were not charged may be sent again: units of a batch are pending, keys of a ledger are free. Those that
        were charged are failed and charged. Nothing is sent but questions that are free.

        Args:
            books: The directory of a batch, or the file of a ledger. No other process may work on the batch.
            exclusive: You vouch that nothing but these books uses the key. Without that nothing is proven charged.

        Returns:
            How many were settled, and the bounds of each group.

        Raises:
            NanoGPTError: The books cannot be opened, or the account does not answer.

        Source: docs/service.md, "Account"; docs/paid-once.md, "Settle what is unknown".
        """
        if self._open_books is None or self._labels is None:
            raise ConfigurationError("this account has no client: use client.account.")
        opened = await self._open_books(Path(books))
        try:
            return await settle(self, opened, self._labels, exclusive=exclusive)
        finally:
            await opened.aclose()

    async def balance(self) -> Balance:
        """Return the balance now. Raises AuthenticationError without a valid key."""
        return decode_balance(await self._sender.post_json(_BALANCE_PATH, None, key_header="x-api-key"))

    async def usage(self, from_: date | str | None = None, to: date | str | None = None) -> Usage:
        """
        Return what the key spent, by model.

        Args:
            from_: First UTC day, `YYYY-MM-DD` or a date; None for both days asks for the last 30.
            to: Last UTC day, itself included: not in the future, and at most 366 days from the first.

        Raises:
            BadRequestError: The service does not take these days.
        """
        days = {"from": from_, "to": to}
        params = {name: str(day) for name, day in days.items() if day is not None} | {"group_by": "model"}
        return decode_usage(await self._sender.get_json(_USAGE_PATH, params=params))
