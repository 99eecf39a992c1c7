"""The client's own budget, around each paid request: reserve → send → settle."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from typing import Protocol

import attrs

from .._base.logs import get_logger
from ..errors import BudgetExceededError, Charge, NanoGPTError, StatusError
from ..money.nano import to_nano
from ..transport.sender import AttemptHooks
from ..types.model import Model
from ..types.request import ImageRequest, target_of
from .prices.moderation_price import ModerationPrice
from .prices.pricing import budget_fault, price_of

_log = get_logger()


class Reserves(Protocol):
    """Reservations on a budget, in nano-USD; `money.budget_gate.BudgetGate` is one."""

    async def reserve(self, nano: int) -> None:
        """Set aside, waiting where open requests may still settle lower; BudgetExceededError when it never fits."""
        ...

    def reserve_now(self, nano: int) -> bool:
        """Set aside without waiting; False when it does not fit."""
        ...

    def settle(self, reserved: int, actual: int) -> None:
        """Replace a reservation by a cost."""
        ...

    def release(self, reserved: int) -> None:
        """Drop a reservation."""
        ...

    def hold(self, reserved: int) -> None:
        """Count a reservation as spent."""
        ...


@attrs.frozen
class Spending:
    """
    Keeps a client within its `budget_usd`.

    Attributes:
        reserves: The budget.
        assume_price_usd: USD per image where the catalogue states none.
        moderation: What a check of each request costs on top.
    """

    reserves: Reserves
    assume_price_usd: float | None
    moderation: ModerationPrice

    @asynccontextmanager
    async def around(
        self, request: ImageRequest, model: Model | None, hooks: AttemptHooks
    ) -> AsyncGenerator[tuple[AttemptHooks, Callable[[float | None], None]]]:
        """
        Reserve the worst case of *request* for as long as the block runs.

        Yields:
            Hooks to send it with, and a function that takes what it cost (None: what was reserved).

        Raises:
            BudgetExceededError: It does not fit, or no price is known; nothing was sent.
        """
        price = self._worst_case(request, model)
        try:
            await self.reserves.reserve(price)
        except BudgetExceededError as error:
            _log.info("the client's budget is used up: %s", error)
            raise
        spent = _Spent(self.reserves, price, hooks)
        try:
            yield spent, spent.costs
        except NanoGPTError as error:
            free = error.charge in (Charge.NOT_SENT, Charge.REJECTED)
            if isinstance(error, StatusError):
                spent.costs(error.cost_usd)
            self.reserves.settle(price, 0 if free else spent.cost)
            raise
        except BaseException:
            if spent.under_way:
                self.reserves.hold(price)
            else:
                self.reserves.release(price)
            raise
        self.reserves.settle(price, spent.cost)

    def _worst_case(self, request: ImageRequest, model: Model | None) -> int:
        price = price_of(model or Model(id=request.model), request, assume_price_usd=self.assume_price_usd)
        if (fault := budget_fault(target_of(request), price)) is not None:
            raise fault
        assert price is not None, "a request without a price has a fault"
        return price.high_nano + self.moderation.reserve_nano


class _Spent(AttemptHooks):
    """Whether a request is in flight, and what it costs (nano-USD); hands on to *hooks*."""

    def __init__(self, reserves: Reserves, price: int, hooks: AttemptHooks) -> None:
        self.under_way = False
        self.cost = price
        self._reserves = reserves
        self._price = price
        self._hooks = hooks

    def costs(self, usd: float | None) -> None:
        """Note what the request cost; None stands for what was reserved."""
        self.cost = self._price if usd is None else to_nano(usd)

    async def before(self, key: int) -> None:
        await self._hooks.before(key)
        self.under_way = True

    async def refused(self, error: NanoGPTError) -> None:
        if error.charge is Charge.UNKNOWN:
            # A policy that repeats these may pay for each attempt.
            if not self._reserves.reserve_now(self._price):
                raise error
            self._reserves.hold(self._price)
        self.under_way = False
        await self._hooks.refused(error)

    def started(self) -> None:
        self._hooks.started()

    def paused(self, seconds: float, key: int) -> None:
        self._hooks.paused(seconds, key)

    def withheld(self) -> None:
        self.under_way = False
        self._hooks.withheld()
