"""The account: what is left, and what the service says was spent."""

from __future__ import annotations

import os
from collections.abc import Mapping
from datetime import date
from pathlib import Path
from typing import Final

import attrs

from ..errors import ConfigurationError
from ..transport.sender import Sender
from ..wire.convert import as_int, as_object, as_objects, as_text, as_usd
from .settling import Labels, OpenBooks, SettledOutcomes, settle

_BALANCE_PATH: Final = "/api/check-balance"
_USAGE_PATH: Final = "/api/v1/usage"
# Assumption: beside the documented `model`, a line may name the model in one of these.
_NAMES: Final = ("model", "modelId", "model_id", "id", "name", "label")


@attrs.frozen(kw_only=True)
class Balance:
    """
    What the account holds.

    Attributes:
        usd: Balance in USD; None where the answer does not state it.
        nano_balance: Balance in XNO; None likewise.
        nano_deposit_address: Where XNO can be sent to; None likewise.
        raw: The answer as it came.
    """

    usd: float | None
    nano_balance: float | None = None
    nano_deposit_address: str | None = None
    raw: Mapping[str, object] = attrs.field(repr=False)


@attrs.frozen(kw_only=True)
class ModelUsage:
    """
    Spending on one model.

    Attributes:
        model: Its public label, which need not be its ID.
        names: All that the answer calls it.
    """

    model: str | None
    requests: int | None
    cost_usd: float | None
    refunded_usd: float | None
    names: tuple[str, ...] = ()


@attrs.frozen(kw_only=True)
class Usage:
    """
    Spending of a key over some UTC days.

    Attributes:
        requests: Number of requests.
        cost_usd: USD charged.
        refunded_usd: USD given back.
        by_model: The same by model, where the service breaks it down.
        raw: The answer as it came.
    """

    requests: int | None
    cost_usd: float | None
    refunded_usd: float | None
    by_model: tuple[ModelUsage, ...] = ()
    raw: Mapping[str, object] = attrs.field(repr=False)


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
        Settle unknown outcomes by what the account says it charged; what is not proven stays unknown, with its bounds.

        Those that were not charged may be sent again: units of a batch are pending, keys of a ledger are free. Those that
        were charged are failed and charged. Nothing is sent but questions that are free.

        Args:
            books: The directory of a batch, or the file of a ledger. Nobody else may be at work on a batch.
            exclusive: You vouch that nothing but these books uses the key. Without that nothing is proven charged.

        Returns:
            How many were settled, and the bounds of each group.

        Raises:
            NanoGPTError: The books cannot be opened, or the account does not answer.

        Source: docs/service.md, "Usage"; docs/paid-once.md, "Settle what is unknown".
        """
        if self._open_books is None or self._labels is None:
            raise ConfigurationError("this account has no client: use client.account.")
        opened = await self._open_books(Path(books))
        try:
            return await settle(self, opened, self._labels, exclusive=exclusive)
        finally:
            await opened.aclose()

    async def balance(self) -> Balance:
        """The balance now. Raises AuthenticationError without a valid key."""
        body = as_object(await self._sender.post_json(_BALANCE_PATH, None, key_header="x-api-key"))
        # Assumption: beside the documented name, these occur.
        names = ("usd_balance", "balance", "usdBalance", "remainingBalance")
        usd = next((usd for name in names if (usd := as_usd(body.get(name))) is not None), None)
        return Balance(
            usd=usd,
            nano_balance=as_usd(body.get("nano_balance")),
            nano_deposit_address=as_text(body.get("nanoDepositAddress")),
            raw=body,
        )

    async def usage(self, from_: date | str | None = None, to: date | str | None = None) -> Usage:
        """
        What the key spent, by model.

        Args:
            from_: First UTC day, `YYYY-MM-DD` or a date; None for both days asks for the last 30.
            to: Last UTC day, itself included: not in the future, and at most 366 days from the first.

        Raises:
            BadRequestError: The service does not take these days.
        """
        days = {"from": from_, "to": to}
        params = {name: str(day) for name, day in days.items() if day is not None} | {"group_by": "model"}
        body = as_object(await self._sender.get_json(_USAGE_PATH, params=params))
        totals = as_object(body.get("totals"))
        return Usage(
            requests=as_int(totals.get("requests")),
            cost_usd=as_usd(totals.get("costUsd")),
            refunded_usd=as_usd(totals.get("refundedUsd")),
            by_model=tuple(
                ModelUsage(
                    model=as_text(line.get("model")),
                    requests=as_int(line.get("requests")),
                    cost_usd=as_usd(line.get("costUsd")),
                    refunded_usd=as_usd(line.get("refundedUsd")),
                    names=tuple([name for field in _NAMES if (name := as_text(line.get(field))) is not None]),
                )
                for line in as_objects(body.get("byModel"))
            ),
            raw=body,
        )
