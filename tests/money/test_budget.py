"""What a batch may spend."""

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from nanogpt_images.money.budget import Budget


def test_a_reservation_that_could_pass_the_cap_is_refused() -> None:
    """What fits exactly is reserved; one nano-USD more is not, and changes nothing."""
    budget = Budget(100, spent_nano=30)
    assert budget.reserve(70)
    assert not budget.reserve(1)
    assert (budget.spent, budget.reserved, budget.available) == (30, 70, 0)


def test_settling_frees_what_was_not_used() -> None:
    """A request that cost less than its worst case leaves the rest for others."""
    budget = Budget(100)
    assert budget.reserve(80)
    budget.settle(80, 20)
    assert (budget.spent, budget.reserved, budget.available) == (20, 0, 80)


def test_a_cost_above_its_reservation_is_counted_as_it_is() -> None:
    """A request that cost more than the catalogue says is recorded in full."""
    budget = Budget(100)
    assert budget.reserve(100)
    budget.settle(100, 130)
    assert (budget.spent, budget.available) == (130, 0)
    assert not budget.reserve(1)


def test_an_unknown_outcome_keeps_its_worst_case() -> None:
    """Money that may have been spent counts as spent."""
    budget = Budget(100)
    assert budget.reserve(60)
    budget.hold(60)
    assert (budget.spent, budget.reserved) == (60, 0)
    assert not budget.reserve(41)


def test_waiting_helps_only_while_reservations_can_be_released() -> None:
    """`could_fit` tells a request that must wait from one that never fits."""
    budget = Budget(100, spent_nano=10)
    assert budget.reserve(90)
    assert budget.could_fit(90)
    assert not budget.could_fit(91)


def test_without_a_cap_everything_is_counted_and_nothing_refused() -> None:
    """No cap means no refusal, but the sums are kept."""
    budget = Budget(None)
    assert budget.reserve(10**15)
    assert budget.could_fit(10**18)
    assert budget.available is None
    assert budget.reserved == 10**15


def test_a_cap_of_zero_lets_free_requests_through() -> None:
    """Nothing may be spent, so only a price of zero fits."""
    budget = Budget(0)
    assert budget.reserve(0)
    assert not budget.reserve(1)


@pytest.mark.parametrize(
    "misuse",
    [
        lambda budget: budget.reserve(-1),
        lambda budget: budget.release(11),
        lambda budget: budget.release(-1),
        lambda budget: budget.settle(10, -1),
        lambda budget: budget.hold(11),
        lambda budget: Budget(-1),
        lambda budget: Budget(1, -1),
    ],
)
def test_impossible_amounts_are_refused_and_change_nothing(misuse) -> None:
    """A negative amount, or one that was never reserved, is an error of the program."""
    budget = Budget(100)
    assert budget.reserve(10)
    with pytest.raises(ValueError, match=r"negative|reserved"):
        misuse(budget)
    assert (budget.spent, budget.reserved) == (0, 10)


class BudgetMachine(RuleBasedStateMachine):
    """Any mix of requests, outcomes and resumptions, beside the plainest possible bookkeeping."""

    @initialize(cap=st.integers(0, 500), spent=st.integers(0, 200))
    def start(self, cap: int, spent: int) -> None:
        self.budget = Budget(cap, spent)
        self.open: list[int] = []
        self.spent = self.start_spent = spent
        self.excess = 0

    @rule(nano=st.integers(0, 120))
    def dispatch(self, nano: int) -> None:
        fits = self.spent + sum(self.open) + nano <= (self.budget.cap or 0)
        # Where the cap has been passed by an overrun, what costs nothing still fits.
        assert self.budget.reserve(nano) == (fits or nano == 0)
        if fits or nano == 0:
            self.open.append(nano)

    @precondition(lambda self: self.open)
    @rule(data=st.data())
    def answer(self, data: st.DataObject) -> None:
        reserved = self.open.pop(data.draw(st.integers(0, len(self.open) - 1)))
        actual = data.draw(st.integers(0, reserved + 5))
        self.budget.settle(reserved, actual)
        self.spent += actual
        self.excess += max(0, actual - reserved)

    @precondition(lambda self: self.open)
    @rule()
    def refuse(self) -> None:
        self.budget.release(self.open.pop())

    @precondition(lambda self: self.open)
    @rule()
    def lose(self) -> None:
        reserved = self.open.pop()
        self.budget.hold(reserved)
        self.spent += reserved

    @precondition(lambda self: self.open)
    @rule()
    def crash_and_resume(self) -> None:
        self.spent += sum(self.open)
        self.open.clear()
        self.budget = Budget(self.budget.cap, self.spent)

    @invariant()
    def sums_agree_and_stay_below_the_cap(self) -> None:
        assert (self.budget.spent, self.budget.reserved) == (self.spent, sum(self.open))
        ceiling = max(self.budget.cap or 0, self.start_spent)
        assert self.budget.spent + self.budget.reserved <= ceiling + self.excess


TestBudgetMachine = BudgetMachine.TestCase
