"""The awaitable budget: a reservation waits while running requests may still turn out cheaper."""

from __future__ import annotations

import asyncio

from ..errors import BudgetExceededError
from .budget import Budget
from .nano import to_usd


class BudgetGate:
    """Reservations on a `Budget`, awaited. Bound to one event loop."""

    def __init__(self, budget: Budget) -> None:
        self._budget = budget
        self._changed = asyncio.Event()

    @property
    def cap_nano(self) -> int | None:
        """The cap of the whole job."""
        return self._budget.cap

    async def reserve(self, nano: int) -> None:
        """
        Set *nano* aside, waiting for open requests to settle where only their worst case exceeds the budget.

        Raises:
            BudgetExceededError: Even then it would not fit.
        """
        while not self._budget.reserve(nano):
            if not self._budget.could_fit(nano) or not self._budget.reserved:
                raise BudgetExceededError(
                    f"the next request may cost ${to_usd(nano):.4f}, and ${to_usd(self._budget.spent):.4f} of the "
                    f"budget of ${to_usd(self._budget.cap or 0):.4f} is spent",
                    advice="Raise the budget to continue.",
                )
            self._changed.clear()
            await self._changed.wait()

    def reserve_now(self, nano: int) -> bool:
        """Set *nano* aside without waiting; False, and nothing changed, when it does not fit."""
        return self._budget.reserve(nano)

    def settle(self, reserved: int, actual: int) -> None:
        """Replace a reservation by a cost."""
        self._budget.settle(reserved, actual)
        self._changed.set()

    def release(self, reserved: int) -> None:
        """Drop a reservation."""
        self._budget.release(reserved)
        self._changed.set()

    def hold(self, reserved: int) -> None:
        """Count a reservation as spent: the outcome is unknown."""
        self._budget.hold(reserved)
        self._changed.set()
