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
from .moderation_price import ModerationPrice
from .pricing import price_of

_log = get_logger()


class Reserves(Protocol):
    """Reservations on a budget, in nano-USD; `batch.funds.Funds` is one."""

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
        under_way = False
        cost = price

        async def before() -> None:
            nonlocal under_way
            await hooks.before()
            under_way = True

        async def refused(error: NanoGPTError) -> None:
            nonlocal under_way
            if error.charge is Charge.UNKNOWN:
                # A policy that repeats these may pay for each attempt.
                if not self.reserves.reserve_now(price):
                    raise error
                self.reserves.hold(price)
            under_way = False
            await hooks.refused(error)

        def withheld() -> None:
            nonlocal under_way
            under_way = False
            hooks.withheld()

        def costs(usd: float | None) -> None:
            nonlocal cost
            cost = price if usd is None else to_nano(usd)

        try:
            yield attrs.evolve(hooks, before=before, refused=refused, withheld=withheld), costs
        except NanoGPTError as error:
            free = error.charge in (Charge.NOT_SENT, Charge.REJECTED)
            if isinstance(error, StatusError):
                costs(error.cost_usd)
            self.reserves.settle(price, 0 if free else cost)
            raise
        except BaseException:
            if under_way:
                self.reserves.hold(price)
            else:
                self.reserves.release(price)
            raise
        self.reserves.settle(price, cost)

    def _worst_case(self, request: ImageRequest, model: Model | None) -> int:
        price = price_of(model or Model(id=request.model), request, assume_price_usd=self.assume_price_usd)
        if price is None:
            raise BudgetExceededError(
                f"no price is known for {target_of(request)}, so budget_usd cannot be kept. Nothing was sent; "
                "pass assume_price_usd, or leave the budget out."
            )
        return price.high_nano + self.moderation.reserve_nano
