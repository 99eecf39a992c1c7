"""The budget as workers meet it."""

from __future__ import annotations

import asyncio

import pytest

from nanogpt_images.errors import BudgetExceededError, Charge
from nanogpt_images.money.budget import Budget
from nanogpt_images.money.budget_gate import BudgetGate


async def waiting(budget_gate: BudgetGate, nano: int) -> asyncio.Task[None]:
    """A reservation that has had its chance and waits."""
    task = asyncio.create_task(budget_gate.reserve(nano))
    for _ in range(5):
        await asyncio.sleep(0)
    assert not task.done()
    return task


async def test_what_fits_is_reserved_at_once() -> None:
    """No wait where there is money."""
    budget = Budget(10)
    await BudgetGate(budget).reserve(10)
    assert budget.reserved == 10


async def test_what_does_not_fit_now_is_not_reserved_without_a_wait() -> None:
    """A second attempt that the budget does not hold at this moment is not made."""
    budget = Budget(10)
    budget_gate = BudgetGate(budget)
    assert budget_gate.reserve_now(8)
    assert not budget_gate.reserve_now(3)
    assert budget.reserved == 8


async def test_a_reservation_waits_for_one_that_may_turn_out_cheaper() -> None:
    """The worst case of an open request is no reason to stop yet."""
    budget = Budget(10)
    budget_gate = BudgetGate(budget)
    await budget_gate.reserve(8)
    second = await waiting(budget_gate, 8)
    budget_gate.settle(8, 2)
    await second
    assert (budget.spent, budget.reserved) == (2, 8)


async def test_a_release_wakes_all_who_wait() -> None:
    """Two that fit together both go on."""
    budget_gate = BudgetGate(Budget(10))
    await budget_gate.reserve(10)
    tasks = [await waiting(budget_gate, 5), await waiting(budget_gate, 5)]
    budget_gate.release(10)
    await asyncio.gather(*tasks)


async def test_what_can_never_fit_stops_at_once() -> None:
    """A request dearer than what is left, all reservations released, does not wait for a miracle."""
    budget = Budget(10, spent_nano=5)
    budget_gate = BudgetGate(budget)
    await budget_gate.reserve(1)
    with pytest.raises(BudgetExceededError, match="Nothing was sent"):
        await budget_gate.reserve(6)
    assert budget.reserved == 1


@pytest.mark.parametrize("end", ["settle", "hold"])
async def test_a_waiter_gives_up_when_the_money_is_spent(end: str) -> None:
    """The wait ends with the budget, whether the other's cost is known or held."""
    budget_gate = BudgetGate(Budget(10))
    await budget_gate.reserve(8)
    second = await waiting(budget_gate, 5)
    if end == "settle":
        budget_gate.settle(8, 8)
    else:
        budget_gate.hold(8)
    with pytest.raises(BudgetExceededError) as caught:
        await second
    assert caught.value.charge is Charge.NOT_SENT


async def test_the_text_says_what_is_spent_and_what_to_do() -> None:
    """Price, spending and budget are in USD, and the way on is named."""
    budget_gate = BudgetGate(Budget(2_000_000_000, spent_nano=1_500_000_000))
    with pytest.raises(BudgetExceededError, match=r"\$1\.0000.*\$1\.5000.*\$2\.0000.*Raise the budget"):
        await budget_gate.reserve(1_000_000_000)


async def test_without_a_cap_everything_fits() -> None:
    """None is no limit."""
    budget_gate = BudgetGate(Budget(None))
    await budget_gate.reserve(10**18)
    assert budget_gate.cap_nano is None


async def test_a_cancelled_waiter_has_reserved_nothing() -> None:
    """Giving up leaves the money to others."""
    budget = Budget(10)
    budget_gate = BudgetGate(budget)
    await budget_gate.reserve(10)
    task = await waiting(budget_gate, 5)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    budget_gate.release(10)
    assert budget.reserved == 0
