"""The shapes of `pricing` and `public_pricing` to a table of prices per image."""

from __future__ import annotations

from collections.abc import Iterable
from typing import cast

import attrs

from ..models import PriceLine
from ..prices import PriceTable
from ._convert import as_object, as_objects, as_text, as_usd, structure

NO_PRICES = PriceTable()


def read_prices(*shapes: object) -> PriceTable:
    """
    The first of *shapes* that states a price per image, as a table.

    A shape is `{"per_image": {token: usd}, "currency"}`, the same with a number for all tokens, a bare
    number, or a list of lines. Prices of other units are not prices per image and give an empty table.

    Source: seeds/image-models.txt, `pricing` ("shape can vary by model").
    """
    return next((table for shape in shapes if (table := _table(shape))), NO_PRICES)


def _table(shape: object) -> PriceTable:
    if shape is None:
        return NO_PRICES
    if isinstance(shape, list):
        return price_table(read_lines(cast("object", shape)))
    if not isinstance(shape, dict):
        return PriceTable(flat_usd=as_usd(shape))
    pricing = as_object(cast("object", shape))
    per_image = pricing.get("per_image")
    tokens = as_object(per_image).items()
    return PriceTable(
        per_image={token: usd for token, value in tokens if (usd := as_usd(value)) is not None},
        flat_usd=as_usd(per_image),
        currency=as_text(pricing.get("currency")) or "USD",
    )


def read_lines(shape: object) -> tuple[PriceLine, ...]:
    """The lines of a list of prices, of any unit."""
    lines = (structure(line, PriceLine) for line in as_objects(shape))
    return tuple(line if line.currency else attrs.evolve(line, currency="USD") for line in lines)


def price_table(lines: Iterable[PriceLine]) -> PriceTable:
    """
    The table of the lines that price an output image; of two for one resolution, the dearer.

    Source: seeds/images-model-endpoints.txt, `pricing`.
    """
    per_image: dict[str, float] = {}
    flat_usd: float | None = None
    currency = "USD"
    for line in lines:
        if line.cost_usd is None or not _is_per_output_image(line):
            continue
        currency = line.currency
        if line.resolution is None:
            flat_usd = max(flat_usd or 0.0, line.cost_usd)
        else:
            per_image[line.resolution] = max(per_image.get(line.resolution, 0.0), line.cost_usd)
    return PriceTable(per_image=per_image, flat_usd=flat_usd, currency=currency)


def _is_per_output_image(line: PriceLine) -> bool:
    billable = (line.billable or "").lower()
    return (line.unit or "image").lower() == "image" and not billable.startswith("input")


def richer_prices(one: PriceTable, other: PriceTable) -> PriceTable:
    """The table that states more prices; *one*, where they state as many."""
    return max(one, other, key=lambda table: (len(table.per_image), table.flat_usd is not None))
