"""What the requests of a row may cost, from the catalogue's prices."""

from __future__ import annotations

from ...resources.prices.pricing import Price, price_of
from ...types.model import ModelRecord
from ..rows import BatchRow
from .requests import request_of

__all__ = ["Price", "unit_price"]


def unit_price(
    model: ModelRecord,
    row: BatchRow,
    images: int,
    assume_price_usd: float | None = None,
    *,
    requests: int = 1,
) -> Price | None:
    """
    Price of *images* images of *row*, made by *model* in so many *requests*; see `price_of`.

    Raises:
        ParameterError: `assume_price_usd` is not an amount of money.
        ManifestError: The row makes no request.
    """
    return price_of(
        model, request_of(row, None), images=images, requests=requests, assume_price_usd=assume_price_usd
    )
