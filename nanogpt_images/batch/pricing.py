"""What a request may cost, from the catalogue's prices."""

from __future__ import annotations

from typing import Final

import attrs

from .._money import to_nano
from ..models import ModelRecord
from .rows import BatchRow

_CURRENCY: Final = "USD"


@attrs.frozen(kw_only=True)
class Price:
    """
    What some images cost, in nano-USD.

    Attributes:
        low_nano: The least they can cost by the catalogue.
        expected_nano: What they cost at the stated resolution, or at the one that the model takes by itself.
        high_nano: The most they can cost; this is what a budget reserves.
    """

    low_nano: int
    expected_nano: int
    high_nano: int


def resolution_of(row: BatchRow) -> str | None:
    """The resolution that a row asks for: `resolution` on the normalized route, `size` on the other."""
    value = row.parameters.get("resolution", row.parameters.get("size"))
    return None if value is None else str(value)


def unit_price(
    model: ModelRecord, row: BatchRow, images: int, assume_price_usd: float | None = None
) -> Price | None:
    """
    Price of *images* images of *row*, made by *model*.

    Args:
        model: The model, with its prices.
        row: The row; its resolution decides the price.
        images: Images of the request.
        assume_price_usd: USD per image to assume where the catalogue states no price in USD.

    Returns:
        The price, from the cheapest to the dearest resolution where the catalogue has none for the row's own;
        None where no price is known at all.

    Raises:
        ParameterError: `assume_price_usd` is not an amount of money.
    """
    resolution = resolution_of(row)
    bounds = model.price_bounds(resolution) if model.prices.currency.upper() == _CURRENCY else None
    if bounds is None:
        if assume_price_usd is None:
            return None
        bounds = (assume_price_usd, assume_price_usd)
    low_usd, high_usd = bounds
    expected_usd = high_usd
    if low_usd != high_usd and resolution is None and model.resolutions:
        # Assumption: without a stated default a model takes the first resolution that it lists.
        stated = model.prices.lookup(model.resolutions[0])
        expected_usd = high_usd if stated is None else stated
    return Price(
        low_nano=to_nano(low_usd) * images,
        expected_nano=to_nano(expected_usd) * images,
        high_nano=to_nano(high_usd) * images,
    )
