"""Money as whole nano-USD."""

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nanogpt_images import errors
from nanogpt_images.money.nano import MAX_USD, NANO_PER_USD, to_nano, to_usd


@pytest.mark.parametrize(
    ("usd", "nano"),
    [
        (0, 0),
        (0.1, 100_000_000),
        (0.06551, 65_510_000),
        ("0.0035", 3_500_000),
        (Decimal("1.000000001"), 1_000_000_001),
        (5, 5_000_000_000),
        ("1e-10", 1),
        (1e-9, 1),
        (MAX_USD, MAX_USD * NANO_PER_USD),
    ],
)
def test_an_amount_is_the_decimal_it_prints_as(usd: float | str | Decimal, nano: int) -> None:
    """Amounts are converted exactly, and less than a nano-USD is rounded up."""
    assert to_nano(usd) == nano


@pytest.mark.parametrize("usd", [-0.01, float("nan"), float("inf"), "", "a lot", "1,5", MAX_USD + 1])
def test_what_is_no_amount_is_refused(usd: float | str) -> None:
    """Negative, endless, huge and unreadable amounts raise a ParameterError that shows them."""
    with pytest.raises(errors.ParameterError, match="amount in USD"):
        to_nano(usd)


@given(st.integers(0, 1_000_000 * NANO_PER_USD))
def test_a_stored_amount_survives_the_way_through_usd(nano: int) -> None:
    """Nano-USD to a float in USD and back is exact up to a million USD, all the digits that a float keeps."""
    assert to_nano(to_usd(nano)) == nano


@given(st.floats(0, 1000), st.floats(0, 1000))
def test_the_order_of_amounts_is_kept(one: float, other: float) -> None:
    """A greater price is never reserved as a smaller one."""
    assert (to_nano(one) <= to_nano(other)) or one > other
