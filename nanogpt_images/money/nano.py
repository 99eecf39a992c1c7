"""Money as whole nano-USD: exact to add up, and it fits a SQLite integer."""

from __future__ import annotations

from decimal import ROUND_CEILING, Decimal, InvalidOperation
from typing import Final

from ..errors import ParameterError

NANO_PER_USD: Final = 1_000_000_000
MAX_USD: Final = 1_000_000_000
"""Greatest single amount, such as a budget."""
MAX_REQUEST_USD: Final = 1_000
"""Greatest price or cost of one request: the sums of nine million of them stay inside 64 bits."""


def to_nano(usd: float | str | Decimal) -> int:
    """
    Return an amount in USD as whole nano-USD, a fraction rounded up so that no cost is understated.

    A float counts as the decimal it prints as: 0.1 is 100,000,000 exactly.

    Raises:
        ParameterError: Not a number, negative, infinite or above `MAX_USD`.
    """
    try:
        amount = Decimal(str(usd))
    except InvalidOperation:
        amount = Decimal("NaN")
    if not amount.is_finite() or not 0 <= amount <= MAX_USD:
        raise ParameterError(f"an amount in USD must be a number from 0 to {MAX_USD:,}, not {usd!r}")
    return int((amount * NANO_PER_USD).to_integral_value(ROUND_CEILING))


def to_usd(nano: int) -> float:
    """Return an amount in nano-USD as the nearest float in USD."""
    return nano / NANO_PER_USD


def usd_text(usd: float) -> str:
    """Format an amount as `$0.0655`: at least cents, further digits only while they mean something."""
    if usd >= 100:
        return f"${usd:,.2f}"
    whole, _, digits = f"{usd:.6f}".partition(".")
    return f"${whole}.{digits.rstrip('0').ljust(2, '0')}"
