"""What the service says about an account: its balance, and what a key spent."""

from __future__ import annotations

from collections.abc import Mapping

import attrs

from .._base.jsonable import Jsonable


@attrs.frozen(kw_only=True)
class Balance(Jsonable):
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
class ModelUsage(Jsonable):
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
class Usage(Jsonable):
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
