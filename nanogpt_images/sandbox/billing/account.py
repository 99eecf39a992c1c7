"""Balances: hold the price of a request, then charge or release it."""

from __future__ import annotations

from ..http.refusals import insufficient_balance
from ..http.responses import JsonObject
from ..ledger import Entry


class Account:
    """One balance per key label, in USD."""

    def __init__(self, balance_usd: float) -> None:
        self._opening_usd = balance_usd
        self._balances_usd: dict[str, float] = {}
        self._held_usd: dict[str, float] = {}

    def balance_usd(self, key: str) -> float:
        """Return the balance of *key*, in USD."""
        return self._balances_usd.get(key, self._opening_usd)

    def hold(self, key: str, cost_usd: float) -> None:
        """
        Reserve *cost_usd* until `settle`.

        Raises:
            Refusal: 402, the balance without the amounts already held does not cover it.
        """
        held_usd = self._held_usd.get(key, 0.0)
        if cost_usd > round(self.balance_usd(key) - held_usd, 9):
            raise insufficient_balance(cost_usd)
        self._held_usd[key] = held_usd + cost_usd

    def settle(self, key: str, cost_usd: float, *, billed: bool) -> None:
        """Release the hold on *cost_usd*; subtract it from the balance if it was billed."""
        self._held_usd[key] = max(0.0, round(self._held_usd.get(key, 0.0) - cost_usd, 9))
        if billed:
            self._balances_usd[key] = round(self.balance_usd(key) - cost_usd, 9)

    def refund(self, entry: Entry) -> None:
        """Refund *entry* in full; a second call does nothing."""
        if entry.billed and not entry.refunded_usd:
            entry.refunded_usd = entry.cost_usd
            self._balances_usd[entry.key] = round(self.balance_usd(entry.key) + entry.cost_usd, 9)

    def clear(self) -> None:
        """Reset every key to its opening balance."""
        self._balances_usd.clear()


def balance_body(balance_usd: float) -> JsonObject:
    """Return the body of `POST /api/check-balance`."""
    # Assumption: the service writes balances as decimal strings; the page that says so is not among the documents.
    return {
        "usd_balance": f"{balance_usd:.8f}",
        "nano_balance": "0.00000000",
        "nanoDepositAddress": "nano_1sandbox11111111111111111111111111111111111111111111111111111",
    }
