"""The shapes of `pricing` and `public_pricing` to tables of prices."""

from __future__ import annotations

import functools
import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Final, cast

import attrs

from ...money.nano import MAX_REQUEST_USD
from ...types.model import PriceLine
from ...types.prices import ANY_FIELD, NO_PRICES, NO_TABLES, PriceTable, PriceTables, dearer, dearer_tables
from ..convert import as_object, as_objects, as_text, as_usd, structure

_BY: Final = "by_"
_INPUT_WORDS: Final = ("input", "reference")
_ADD_ON_WORDS: Final = ("lora",)
# Assumption: these names mark prices of another unit, or no prices at all.
_NOT_PER_IMAGE: Final = re.compile(
    r"^per_(?!.*image|.*reference)|token|pixel|second|minute|included|free|max|min|count|limit|threshold"
    r"|percent|discount|multiplier|factor|version",
    re.IGNORECASE,
)
# Of these, numbers that limit or lower what is charged.
_NO_PRICE: Final = re.compile(
    r"included|free|max|min(?!ute)|(?<!dis)count|limit|threshold|discount|version", re.IGNORECASE
)
_PER_REQUEST: Final = re.compile(r"^(?:per_?)?(?:request|generation|call)s?$", re.IGNORECASE)
_PER_MEGAPIXEL: Final = re.compile(r"^(?:per_?)?(?:output_?)?(?:mega_?pixel|mp)s?$", re.IGNORECASE)
_PLAIN_BILLABLE: Final = re.compile(r"^(?:output.*|(?:image|generation|request)s?)?$", re.IGNORECASE)
_PLAIN: Final = ""
"""Stands among `PriceTables.requests` and `.megapixels` for the price of the images themselves."""
_TIER_FIELDS: Final = ("rendering_speed", "quality")
_DEEPEST: Final = 8


@functools.lru_cache(maxsize=4096)
def _is_not_per_image(name: str) -> bool:
    return _NOT_PER_IMAGE.search(name) is not None


@functools.lru_cache(maxsize=4096)
def _is_no_price(name: str) -> bool:
    return _NO_PRICE.search(name) is not None


def read_prices(*shapes: object) -> PriceTable:
    """
    Read the first of *shapes* that states a price per image, as a table.

    A shape is `{"per_image": {token: usd}, "currency"}`, the same with a number for all tokens, a bare
    number, or a list of lines. Prices of other units are not prices per image and give an empty table.

    Source: docs/service.md, "List image models", `pricing` ("shape can vary by model").
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
    return _tokens(pricing.get("per_image"), as_text(pricing.get("currency")) or "USD")


def _tokens(prices: object, currency: str) -> PriceTable:
    """Read a mapping of tokens to USD, or a number for all of them."""
    return PriceTable(
        per_image={
            token: usd for token, value in as_object(prices).items() if (usd := as_usd(value)) is not None
        },
        flat_usd=as_usd(prices),
        currency=currency,
    )


def read_price_tables(*shapes: object) -> PriceTables:
    """
    Read what *shapes* state beside the price per image: tiers, add-ons, input images, and tables of unknown meaning.

    Source: docs/service.md, "List image models" and "Endpoint metadata", `pricing`.
    """
    tables = NO_TABLES
    for shape in shapes:
        if isinstance(shape, list):
            tables = dearer_tables(tables, _line_tables(read_lines(cast("object", shape))))
        elif isinstance(shape, dict):
            tables = dearer_tables(tables, _beside(as_object(cast("object", shape))))
    return tables


def _beside(pricing: Mapping[str, object]) -> PriceTables:
    currency = as_text(pricing.get("currency")) or "USD"
    tiers: dict[str, Mapping[str, PriceTable]] = {}
    add_ons: dict[str, PriceTable] = {}
    others: dict[str, PriceTable] = {}
    requests: dict[str, PriceTable] = {}
    megapixels: dict[str, PriceTable] = {}
    inputs = NO_PRICES
    for name, value in pricing.items():
        if name == "per_image":
            if nested := _tables_by_name(value, currency):
                tiers[ANY_FIELD] = nested
        elif _PER_REQUEST.match(name):
            requests |= _tables_by_name({_PLAIN: value}, currency, numbers=True)
        elif _PER_MEGAPIXEL.match(name):
            megapixels |= _tables_by_name({_PLAIN: value}, currency, numbers=True)
        elif _is_not_per_image(name):
            continue
        elif any(word in name.lower() for word in _INPUT_WORDS):
            inputs = dearer(inputs, _any_table(value, currency))
        elif name.startswith(_BY):
            if by_tier := _tables_by_name(value, currency, numbers=True):
                tiers[name.removeprefix(_BY)] = by_tier
        elif _is_add_on(name):
            add_ons |= _tables_by_name({name: value}, currency, numbers=True)
        # A lone number that is too large for the price of one request is something else, such as a time.
        elif as_object(value) or as_usd(value, most=MAX_REQUEST_USD):
            others |= _tables_by_name({name: value}, currency, numbers=True)
    return PriceTables(
        tiers=tiers,
        add_ons=add_ons,
        inputs=inputs,
        requests=requests,
        megapixels=megapixels,
        others=others,
        unpriced=frozenset(_unpriced(pricing)),
        currency=currency,
    )


def _unpriced(pricing: Mapping[str, object], depth: int = 0) -> Iterator[str]:
    """Yield the names of the prices in *pricing* that are of a unit which no request states."""
    for name, value in pricing.items():
        if _is_no_price(name):
            continue
        known_above = not depth and (_PER_REQUEST.match(name) or _PER_MEGAPIXEL.match(name))
        if _is_not_per_image(name) and not known_above:
            if _states_a_price(value):
                yield name
        elif depth < _DEEPEST and isinstance(value, dict):
            yield from _unpriced(as_object(cast("object", value)), depth + 1)


def _states_a_price(value: object, depth: int = 0) -> bool:
    inner = as_object(value) if depth < _DEEPEST else {}
    return bool(as_usd(value)) or any(
        _states_a_price(item, depth + 1) for name, item in inner.items() if not _is_no_price(name)
    )


def _tables_by_name(shape: object, currency: str, *, numbers: bool = False) -> dict[str, PriceTable]:
    """Return the tables in an object; with *numbers*, a lone number is one too."""
    return {
        name: table
        for name, value in as_object(shape).items()
        if (numbers or as_object(value)) and (table := _any_table(value, currency))
    }


def _any_table(shape: object, currency: str, depth: int = 0) -> PriceTable:
    """Return the prices in *shape*: a number, tokens, `per_image`, or any of these under further names, then the highest."""
    if not isinstance(shape, dict):
        return PriceTable(flat_usd=as_usd(shape), currency=currency)
    fields = as_object(cast("object", shape)).items()
    prices = {name: value for name, value in fields if not _is_not_per_image(name)}
    nested = prices.pop("per_image", None)
    table = dearer(_tokens(prices, currency), _any_table(nested, currency, depth + 1))
    for value in prices.values():
        if isinstance(value, dict) and depth < _DEEPEST:
            table = dearer(table, _any_table(cast("object", value), currency, depth + 1))
    return table


def _is_add_on(name: str) -> bool:
    return any(word in name.lower() for word in _ADD_ON_WORDS)


def read_lines(shape: object) -> tuple[PriceLine, ...]:
    """Read the lines of a list of prices, of any unit."""
    lines = (structure(line, PriceLine) for line in as_objects(shape))
    return tuple(line if line.currency else attrs.evolve(line, currency="USD") for line in lines)


def price_table(lines: Iterable[PriceLine]) -> PriceTable:
    """
    Return the table of the lines that price an output image; of two for one resolution, the dearer.

    Source: docs/service.md, "Endpoint metadata", `pricing`.
    """
    return _table_of([line for line in lines if _is_plain(line)])


def _line_tables(lines: Iterable[PriceLine]) -> PriceTables:
    """Return the tables of the lines that price anything but an output image."""
    tiers: dict[str, dict[str, list[PriceLine]]] = {}
    add_ons: dict[str, list[PriceLine]] = {}
    requests: dict[str, list[PriceLine]] = {}
    megapixels: dict[str, list[PriceLine]] = {}
    others: dict[str, list[PriceLine]] = {}
    inputs: list[PriceLine] = []
    unpriced: set[str] = set()
    for line in lines:
        billable, unit = line.billable or "", line.unit or "image"
        name = _PLAIN if _PLAIN_BILLABLE.match(billable) else billable
        if _PER_REQUEST.match(unit):
            requests.setdefault(name, []).append(line)
        elif _PER_MEGAPIXEL.match(unit) and not _is_input(line):
            megapixels.setdefault(name, []).append(line)
        elif not _is_per_image(line):
            if line.cost_usd:
                unpriced.add(f"{billable or 'output_image'} per {unit}")
        elif _is_input(line):
            inputs.append(line)
        elif _is_add_on(billable):
            add_ons.setdefault(billable, []).append(line)
        elif name and not _tiers(line):
            others.setdefault(name, []).append(line)
        for field, tier in _tiers(line).items() if _is_per_image(line) else ():
            tiers.setdefault(field, {}).setdefault(tier, []).append(line)
    return PriceTables(
        tiers={field: {tier: _table_of(of) for tier, of in by.items()} for field, by in tiers.items()},
        add_ons=_tables_of(add_ons),
        inputs=_table_of(inputs),
        requests=_tables_of(requests),
        megapixels=_tables_of(megapixels),
        others=_tables_of(others),
        unpriced=frozenset(unpriced),
    )


def _tables_of(lines: Mapping[str, Iterable[PriceLine]]) -> dict[str, PriceTable]:
    return {name: table for name, of in lines.items() if (table := _table_of(of))}


def _table_of(lines: Iterable[PriceLine]) -> PriceTable:
    per_image: dict[str, float] = {}
    flat_usd: float | None = None
    currency = "USD"
    for line in lines:
        if line.cost_usd is None:
            continue
        currency = line.currency
        if line.resolution is None:
            flat_usd = max(flat_usd or 0.0, line.cost_usd)
        else:
            per_image[line.resolution] = max(per_image.get(line.resolution, 0.0), line.cost_usd)
    return PriceTable(per_image=per_image, flat_usd=flat_usd, currency=currency)


def _is_plain(line: PriceLine) -> bool:
    billable = line.billable or ""
    return (
        _is_per_image(line)
        and _PLAIN_BILLABLE.match(billable) is not None
        and not (_is_input(line) or _is_add_on(billable) or _tiers(line))
    )


def _is_per_image(line: PriceLine) -> bool:
    return line.cost_usd is not None and (line.unit or "image").lower() == "image"


def _is_input(line: PriceLine) -> bool:
    return (line.billable or "").lower().startswith(_INPUT_WORDS)


def _tiers(line: PriceLine) -> dict[str, str]:
    """Return the fields of a request that a line prices one value of."""
    if _is_input(line):
        return {}
    return {field: tier for field in _TIER_FIELDS if (tier := as_text(line.extra.get(field))) is not None}
