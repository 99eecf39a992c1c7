"""What a model costs: by resolution, tier, add-on and input image."""

from __future__ import annotations

import functools
import re
from collections.abc import Mapping
from typing import Final, Literal

import attrs

_SIZE = re.compile(r"(\d+)\s*[x*\u00d7]\s*(\d+)")


@functools.lru_cache(maxsize=4096)
def normalise_token(token: str) -> str:
    """
    Return the spelling by which resolutions are compared: `1024*1024`, `1024X1024` and `1024x1024` are one.

    Only for comparison; a request carries the token as the catalogue lists it.
    """
    text = token.strip().lower()
    size = _SIZE.fullmatch(text)
    return f"{size[1]}x{size[2]}" if size else text


_MEGAPIXELS = re.compile(r"(\d{1,4}(?:\.\d{1,4})?)\s*mp")


def pixels_of(token: str) -> int | None:
    """Return how many pixels a resolution token such as `1024x1024` or `2mp` stands for; None where it does not say."""
    text = normalise_token(token)
    if size := _SIZE.fullmatch(text[:32]):
        return int(size[1]) * int(size[2])
    megapixels = _MEGAPIXELS.fullmatch(text)
    return round(float(megapixels[1]) * 2**20) if megapixels else None


@attrs.frozen
class Cost:
    """
    What the service says a request cost, as it came.

    Attributes:
        amount: In *currency*.
        currency: `USD`, or what the answer names as currency or source of the payment, such as `XNO`.
    """

    amount: float
    currency: str = "USD"

    @property
    def usd(self) -> float | None:
        """The amount in USD; None for another currency, unless it is nothing."""
        return self.amount if self.currency == "USD" or not self.amount else None


@attrs.frozen
class PriceTable:
    """
    Public prices of a model.

    Attributes:
        per_image: USD per image by resolution token, tokens as the catalogue spells them.
        flat_usd: USD per image where the catalogue gives one price for all resolutions.
        currency: `USD`, unless the catalogue says otherwise.

    Source: docs/service.md, "List image models", `pricing`; "Endpoint metadata", `pricing`.
    """

    per_image: Mapping[str, float] = attrs.field(factory=dict[str, float])
    flat_usd: float | None = None
    currency: str = "USD"
    _by_token: dict[str, float] = attrs.field(init=False, repr=False, eq=False)

    def __attrs_post_init__(self) -> None:
        table: dict[str, float] = {}
        for spelling, usd in self.per_image.items():
            token = normalise_token(spelling)
            # Two spellings of one size at two prices: a budget must count with the dearer one.
            table[token] = max(usd, table.get(token, usd))
        object.__setattr__(self, "_by_token", table)

    def __bool__(self) -> bool:
        return bool(self.per_image) or self.flat_usd is not None

    def states(self, resolution: str) -> bool:
        """Return whether the table names *resolution*."""
        return normalise_token(resolution) in self._by_token

    def lookup(self, resolution: str | None) -> float | None:
        """Return USD per image at *resolution* when the table states it, else None."""
        if resolution is not None and (usd := self._by_token.get(normalise_token(resolution))) is not None:
            return usd
        return self.flat_usd

    def bounds(self, resolution: str | None) -> tuple[float, float] | None:
        """
        Return the lowest and highest USD per image that *resolution* can cost.

        The two are equal where the table states the resolution; otherwise they span the whole table.
        None where no price is known at all.
        """
        if (usd := self.lookup(resolution)) is not None:
            return usd, usd
        if not self.per_image:
            return None
        return min(self.per_image.values()), max(self.per_image.values())


NO_PRICES: Final = PriceTable()
ANY_FIELD: Final = ""
"""Stands among `PriceTables.tiers` for prices by the value of a field that the catalogue does not name."""


def _no_tables() -> Mapping[str, PriceTable]:
    return {}


def _no_tiers() -> Mapping[str, Mapping[str, PriceTable]]:
    return {}


@attrs.frozen(kw_only=True)
class Quote:
    """
    What a request costs: the service's own price beside that of the catalogue.

    Attributes:
        model: ID of the model.
        images: How many images the request makes.
        service_usd: USD by the service, for all of them; None where it does not say.
        image_usd: USD by the service for one image, without input images.
        catalog_usd: USD by the catalogue, input images included; None where it states no price.
        problem: Why there is no price of the service.
    """

    model: str
    images: int
    service_usd: float | None
    image_usd: float | None
    catalog_usd: float | None
    problem: str | None = None

    @property
    def cost_usd(self) -> float | None:
        """The price that counts: the service's, else the catalogue's; None where neither is known."""
        return self.catalog_usd if self.service_usd is None else self.service_usd

    @property
    def source(self) -> Literal["service", "catalogue"] | None:
        """Where `cost_usd` comes from."""
        if self.service_usd is not None:
            return "service"
        return None if self.catalog_usd is None else "catalogue"


@attrs.frozen(kw_only=True)
class PriceTables:
    """
    What the catalogue states beside the price per image.

    Attributes:
        tiers: By field of the request (`rendering_speed`) and its value (`QUALITY`): USD per image instead.
        add_ons: By name (`lora`): USD per image on top, for a request that names it.
        inputs: USD per input image; None where that could not be found out.
        requests: By name: USD once for each request, on top.
        megapixels: By name: USD for each megapixel of each image, on top.
        others: Tables whose meaning is not known; in the worst case each is charged on top of every image.
        unpriced: Names of prices of another unit, such as `per_token`: what they add up to cannot be known.
        currency: `USD`, unless the catalogue says otherwise.
    """

    tiers: Mapping[str, Mapping[str, PriceTable]] = attrs.field(factory=_no_tiers)
    add_ons: Mapping[str, PriceTable] = attrs.field(factory=_no_tables)
    inputs: PriceTable | None = NO_PRICES
    requests: Mapping[str, PriceTable] = attrs.field(factory=_no_tables)
    megapixels: Mapping[str, PriceTable] = attrs.field(factory=_no_tables)
    others: Mapping[str, PriceTable] = attrs.field(factory=_no_tables)
    unpriced: frozenset[str] = frozenset()
    currency: str = "USD"

    def __bool__(self) -> bool:
        beside = (self.requests, self.megapixels, self.others, self.unpriced)
        return bool(self.tiers or self.add_ons or self.inputs or any(beside))

    @property
    def all_tiers(self) -> tuple[PriceTable, ...]:
        """The table of every tier."""
        return tuple([table for tables in self.tiers.values() for table in tables.values()])

    def bounds(self, base: PriceTable, resolution: str | None) -> tuple[float, float] | None:
        """
        Return the lowest and highest USD that an image at *resolution* can cost, over all tiers and with every add-on.

        What is charged by the request or by the megapixel is not in it.

        Args:
            base: The prices that name no tier.
            resolution: None spans all of them.
        """
        spans = [span for table in (base, *self.all_tiers) if (span := _span(table, resolution)) is not None]
        if not spans:
            return None
        on_top = [
            span[1]
            for table in (*self.add_ons.values(), *self.others.values())
            if (span := _span(table, resolution)) is not None
        ]
        return min(low for low, _ in spans), max(high for _, high in spans) + sum(on_top)


def _span(table: PriceTable, resolution: str | None) -> tuple[float, float] | None:
    """Return the bounds of *table*, where None is every resolution: then the price of those it does not name counts too."""
    if resolution is not None:
        return table.bounds(resolution)
    prices = [*table.per_image.values(), *(() if table.flat_usd is None else (table.flat_usd,))]
    return (min(prices), max(prices)) if prices else None


def dearer(one: PriceTable, other: PriceTable) -> PriceTable:
    """Join what two sources state: where both name a price, the dearer one."""
    if not one or not other or one.currency.upper() != other.currency.upper():
        return one or other
    spellings = {normalise_token(token): token for table in (other, one) for token in table.per_image}
    # A token that one of them leaves out costs there what it costs flat.
    stated = {
        token: [usd for table in (one, other) if (usd := table.lookup(token)) is not None]
        for token in spellings.values()
    }
    flats = [table.flat_usd for table in (one, other) if table.flat_usd is not None]
    return PriceTable(
        per_image={token: max(prices) for token, prices in stated.items()},
        flat_usd=max(flats, default=None),
        currency=one.currency,
    )


def dearer_tables(one: PriceTables, other: PriceTables) -> PriceTables:
    """Join the tables that two sources state, as `dearer` joins each."""
    if not one or not other:
        return one or other
    if one.currency.upper() != other.currency.upper():
        return attrs.evolve(one, unpriced=one.unpriced | {f"prices in {other.currency}"})
    fields = (*one.tiers, *(field for field in other.tiers if field not in one.tiers))
    return PriceTables(
        tiers={field: _joined(one.tiers.get(field, {}), other.tiers.get(field, {})) for field in fields},
        add_ons=_joined(one.add_ons, other.add_ons),
        inputs=dearer(one.inputs or NO_PRICES, other.inputs or NO_PRICES),
        requests=_joined(one.requests, other.requests),
        megapixels=_joined(one.megapixels, other.megapixels),
        others=_joined(one.others, other.others),
        unpriced=one.unpriced | other.unpriced,
        currency=one.currency,
    )


def _joined(one: Mapping[str, PriceTable], other: Mapping[str, PriceTable]) -> dict[str, PriceTable]:
    return {name: dearer(one.get(name, NO_PRICES), other.get(name, NO_PRICES)) for name in (*one, *other)}


NO_TABLES: Final = PriceTables()
