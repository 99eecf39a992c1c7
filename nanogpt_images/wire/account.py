"""Answers about the account → values."""

from __future__ import annotations

from typing import Final

from ..types.account import Balance, ModelUsage, Usage
from .convert import Json, as_int, as_object, as_objects, as_text, as_usd

# Assumption: beside the documented name, which is the first of each, these occur.
_BALANCES: Final = ("usd_balance", "balance", "usdBalance", "remainingBalance")
_NAMES: Final = ("model", "modelId", "model_id", "id", "name", "label")


def decode_balance(body: object) -> Balance:
    """
    Decode the answer of `POST /api/check-balance`; what it does not state is None.

    Source: docs/service.md, "Account".
    """
    answer = as_object(body)
    return Balance(
        usd=next((usd for name in _BALANCES if (usd := as_usd(answer.get(name))) is not None), None),
        nano_balance=as_usd(answer.get("nano_balance")),
        nano_deposit_address=as_text(answer.get("nanoDepositAddress")),
        raw=answer,
    )


def decode_usage(body: object) -> Usage:
    """
    Decode the answer of `GET /api/v1/usage`; what it does not state is None.

    Source: docs/service.md, "Account".
    """
    answer = as_object(body)
    totals = as_object(answer.get("totals"))
    return Usage(
        requests=as_int(totals.get("requests")),
        cost_usd=as_usd(totals.get("costUsd")),
        refunded_usd=as_usd(totals.get("refundedUsd")),
        by_model=tuple([_model_usage(line) for line in as_objects(answer.get("byModel"))]),
        raw=answer,
    )


def _model_usage(line: Json) -> ModelUsage:
    return ModelUsage(
        model=as_text(line.get("model")),
        requests=as_int(line.get("requests")),
        cost_usd=as_usd(line.get("costUsd")),
        refunded_usd=as_usd(line.get("refundedUsd")),
        names=tuple([name for field in _NAMES if (name := as_text(line.get(field))) is not None]),
    )
