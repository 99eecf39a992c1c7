"""The account behind a key: its balance, and its usage as the service reports it."""

from __future__ import annotations

import time
from collections.abc import Iterable

from .answers import JsonObject
from .ledger import Entry
from .refusals import insufficient_balance


class Account:
    """One balance per key label, in USD."""

    def __init__(self, balance_usd: float) -> None:
        self._opening_usd = balance_usd
        self._balances_usd: dict[str, float] = {}
        self._held_usd: dict[str, float] = {}

    def balance_usd(self, key: str) -> float:
        """What *key* can still spend."""
        return self._balances_usd.get(key, self._opening_usd)

    def hold(self, key: str, cost_usd: float) -> None:
        """
        Set *cost_usd* aside, until `settle`.

        Raises:
            Refusal: 402, when what is not held already does not cover it.
        """
        held_usd = self._held_usd.get(key, 0.0)
        if cost_usd > round(self.balance_usd(key) - held_usd, 9):
            raise insufficient_balance(cost_usd)
        self._held_usd[key] = held_usd + cost_usd

    def settle(self, key: str, cost_usd: float, *, billed: bool) -> None:
        """End the hold on *cost_usd*, and take it from the balance if it was billed."""
        self._held_usd[key] = max(0.0, round(self._held_usd.get(key, 0.0) - cost_usd, 9))
        if billed:
            self._balances_usd[key] = round(self.balance_usd(key) - cost_usd, 9)

    def refund(self, entry: Entry) -> None:
        """Give back what *entry* cost; once."""
        if entry.billed and not entry.refunded_usd:
            entry.refunded_usd = entry.cost_usd
            self._balances_usd[entry.key] = round(self.balance_usd(entry.key) + entry.cost_usd, 9)

    def clear(self) -> None:
        """Give every key its opening balance again."""
        self._balances_usd.clear()


def balance_body(balance_usd: float) -> JsonObject:
    """The body of `POST /api/check-balance`."""
    # Assumption: the service writes balances as decimal strings; the page that says so is not among the documents.
    return {"usd_balance": f"{balance_usd:.8f}", "nano_balance": "0"}


def usage_body(
    entries: Iterable[Entry], key: str, first_day: str, last_day: str, group_by: str | None
) -> JsonObject:
    """The body of `GET /api/v1/usage` for the UTC days *first_day* to *last_day*, both included."""
    mine = [
        entry
        for entry in entries
        if entry.billed and entry.key == key and first_day <= utc_day(entry.started) <= last_day
    ]
    body: JsonObject = {"from": first_day, "to": last_day, "totals": _sums(mine)}
    if group_by == "model":
        models = sorted({entry.model for entry in mine})
        body["byModel"] = [{"model": model, **_sums(e for e in mine if e.model == model)} for model in models]
    return body


def utc_day(seconds: float) -> str:
    """The UTC day of a Unix time, `YYYY-MM-DD`."""
    return time.strftime("%Y-%m-%d", time.gmtime(seconds))


def _sums(entries: Iterable[Entry]) -> JsonObject:
    listed = list(entries)
    cost_usd = round(sum(entry.cost_usd for entry in listed), 9)
    refunded_usd = round(sum(entry.refunded_usd for entry in listed), 9)
    return {"requests": len(listed), "costUsd": cost_usd, "refundedUsd": refunded_usd}
