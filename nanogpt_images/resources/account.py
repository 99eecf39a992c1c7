"""The account: what is left, and what the service says was spent."""

from __future__ import annotations

from datetime import date
from typing import Final

from ..transport.sender import Sender
from ..types.account import Balance, Usage
from ..wire.account import decode_balance, decode_usage

_BALANCE_PATH: Final = "/api/check-balance"
_USAGE_PATH: Final = "/api/v1/usage"


class Account:
    """Balance and usage. Reach it as `client.account`. Source: docs/service.md, "Account" and "Usage"."""

    def __init__(self, sender: Sender) -> None:
        self._sender = sender

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
