"""The account: what is left, and what the service says was spent."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date
from typing import Final

import attrs

from ._sender import Sender
from ._wire._convert import as_int, as_object, as_objects, as_text, as_usd

_BALANCE_PATH: Final = "/api/check-balance"
_USAGE_PATH: Final = "/api/v1/usage"


@attrs.frozen(kw_only=True)
class Balance:
    """
    What the account holds.

    Attributes:
        usd: Balance in USD; None where the answer does not state it.
        raw: The answer as it came.
    """

    usd: float | None
    raw: Mapping[str, object] = attrs.field(repr=False)


@attrs.frozen(kw_only=True)
class ModelUsage:
    """Spending on one model."""

    model: str | None
    requests: int | None
    cost_usd: float | None
    refunded_usd: float | None


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
    """Balance and usage. Reach it as `client.account`. Source: API_FACTS, "Limits"."""

    def __init__(self, sender: Sender) -> None:
        self._sender = sender

    async def balance(self) -> Balance:
        """The balance now. Raises AuthenticationError without a valid key."""
        body = as_object(await self._sender.post_json(_BALANCE_PATH, b"{}"))
        # Assumption: the amount stands under one of these names; the documents show no body.
        names = ("usd_balance", "balance", "usdBalance", "remainingBalance")
        usd = next((usd for name in names if (usd := as_usd(body.get(name))) is not None), None)
        return Balance(usd=usd, raw=body)

    async def usage(self, from_: date | str, to: date | str) -> Usage:
        """
        What the key spent, by model.

        Args:
            from_: First UTC day, `YYYY-MM-DD` or a date.
            to: Last UTC day.
        """
        params = {"from": str(from_), "to": str(to), "group_by": "model"}
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
                )
                for line in as_objects(body.get("byModel"))
            ),
            raw=body,
        )
