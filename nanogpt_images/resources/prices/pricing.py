"""What a request may cost: the model's prices, and what the fields of the body say."""

from __future__ import annotations

import functools
import math
from collections.abc import Iterator, Sequence
from typing import Final, TypeVar

import attrs

from ...errors import BudgetExceededError
from ...money.nano import to_nano
from ...types.model import ModelRecord
from ...types.parameters import EnumSpec, RangeSpec
from ...types.prices import ANY_FIELD, PriceTable, PriceTables, pixels_of
from ...types.request import ImageRequest, asked_counts
from .priced_fields import PricedFields, whole

ModelT = TypeVar("ModelT", bound=ModelRecord)

_CURRENCY: Final = "USD"
_MEGAPIXEL: Final = 1_000_000
_INPUT_WORDS: Final = ("input", "reference")
# A batch asks for the same few amounts and names again and again.
_nano = functools.lru_cache(maxsize=4096)(to_nano)


@attrs.frozen(kw_only=True)
class Price:
    """
    What some images cost, in nano-USD.

    Attributes:
        low_nano: The least they can cost by the catalogue.
        expected_nano: What they cost at the stated resolution and tier, or at those that the model takes by itself.
        high_nano: The most they can cost; this is what a budget reserves.
        unpriced: Fields of the request and prices of the catalogue that may raise the cost above *high_nano*, because
            nothing states by how much; under a budget such a request is refused.
    """

    low_nano: int
    expected_nano: int
    high_nano: int
    unpriced: tuple[str, ...] = attrs.field(default=(), eq=False)

    @classmethod
    def of(cls, nano: int) -> Price:
        """Return a price without a range."""
        return cls(low_nano=nano, expected_nano=nano, high_nano=nano)


def price_of(
    model: ModelRecord,
    request: ImageRequest,
    *,
    images: int | None = None,
    requests: int = 1,
    assume_price_usd: float | None = None,
) -> Price | None:
    """
    Price of *request*, made by *model*.

    The fields that the service will see decide: the field that the route documents for the resolution, and any
    other that may mean it; tiers and add-ons by the fields that name them. Where that is ambiguous, the most expensive
    reading is the worst case. Input images, and what is charged by the request, are added once for each request.

    Args:
        model: The model, with its prices.
        request: What is sent.
        images: Images of all requests; None counts those that *request* asks for.
        requests: How many such requests there are.
        assume_price_usd: USD per image, or per input image, to assume where the catalogue states no price in USD;
            where it leaves open what a part of the request costs, the most that this part adds to an image.

    Returns:
        The price; None where no price is known, of the images or of the input images.

    Raises:
        ParameterError: `assume_price_usd` is not an amount of money.
    """
    wanted = PricedFields.of(request)
    each = _each_image(model, wanted)
    inputs = _each_input(model, wanted)
    unpriced = tuple(dict.fromkeys(_unpriced(model, wanted)))
    if assume_price_usd is not None:
        assumed = Price.of(to_nano(assume_price_usd))
        if each is not None and unpriced:
            each = attrs.evolve(each, high_nano=each.high_nano + assumed.high_nano)
        each, inputs, unpriced = each or assumed, inputs or assumed, ()
    if each is None or inputs is None:
        return None
    expected, most = (images, images) if images is not None else image_counts(model, request)
    once = [_at(table, model, wanted) for table in model.price_tables.requests.values()]
    return Price(
        low_nano=each.low_nano * expected + inputs.low_nano * wanted.inputs * requests,
        expected_nano=each.expected_nano * expected
        + (inputs.expected_nano * wanted.inputs + sum([price.expected_nano for price in once])) * requests,
        high_nano=each.high_nano * most * wanted.factor
        + (inputs.high_nano * (wanted.inputs + wanted.masks) + sum([price.high_nano for price in once]))
        * requests,
        unpriced=unpriced,
    )


def budget_fault(model_id: str, price: Price | None) -> BudgetExceededError | None:
    """Return why a request at *price* cannot be sent under a budget; None where its worst case is known."""
    if price is None:
        return BudgetExceededError(
            f"no price is known for {model_id}, so a budget cannot be kept.",
            advice="Pass assume_price_usd (--assume-price), or leave the budget out.",
        )
    if not price.unpriced:
        return None
    return BudgetExceededError(
        f"under a budget, {model_id} cannot be asked for what has no price in the catalogue: "
        f"{', '.join(price.unpriced)}.",
        advice="Leave it out, or say with assume_price_usd (--assume-price) how much it may add to an image.",
    )


def with_flat_price(model: ModelT, usd: float) -> ModelT:
    """Return *model* as if the catalogue stated *usd* for each of its images; the price of input images stays."""
    inputs = model.price_tables.inputs if model.price_tables.currency.upper() == _CURRENCY else None
    return attrs.evolve(model, prices=PriceTable(flat_usd=usd), price_tables=PriceTables(inputs=inputs))


def image_counts(model: ModelRecord, request: ImageRequest) -> tuple[int, int]:
    """Return how many images *request* makes by the model's rule, and the most that any reading of its fields comes to."""
    read = [count for value in asked_counts(request) if (count := whole(value)) is not None]
    rule, spec = model.count_rule, model.parameters.get("n")
    default = spec.default if isinstance(spec, RangeSpec) and spec.default is not None else 1
    expected = rule.images(read[0] if read else None)
    # Without a count the service takes its default, which need not be the least.
    unasked = 0 if read or rule.fixed else min(int(default), rule.maximum)
    return expected, max(expected, unasked, *map(rule.images, read))


def needs_offers(model: ModelRecord, request: ImageRequest) -> bool:
    """Return whether the price of *request* may stand in the endpoint metadata alone: that of input images, or all of it."""
    wanted = PricedFields.of(request)
    return bool(wanted.inputs or wanted.masks) or not (model.prices or model.price_tables.tiers)


def _each_image(model: ModelRecord, wanted: PricedFields) -> Price | None:
    """Return the price of one image; None where none is known in USD."""
    tables = model.price_tables
    if not model.prices.currency.upper() == tables.currency.upper() == _CURRENCY:
        return None
    expected, possible = _by_tier(model, wanted)
    if not possible:
        return None
    priced = [_at(table, model, wanted) for table in possible]
    likely = priced if expected is possible else [_at(table, model, wanted) for table in expected]
    low = min([price.low_nano for price in priced])
    high = max([price.high_nano for price in priced])
    usual = max([price.expected_nano for price in likely])
    for name, table in tables.add_ons.items():
        if not table:
            continue
        on_top = _at(table, model, wanted)
        if times := wanted.times(name):
            # Assumption: an add-on is charged on top; some read its table as the whole price, which is less.
            low, usual = min(low, on_top.low_nano), usual + on_top.expected_nano * times
        high += on_top.high_nano * (times or wanted.has_unlisted(model))
    for name, table in tables.others.items():
        high += _at(table, model, wanted).high_nano * max(1, wanted.times(name)) if table else 0
    if tables.megapixels and (areas := _areas(model, wanted)):
        by_size = [_at(table, model, wanted) for table in tables.megapixels.values()]
        usual += math.ceil(sum([price.expected_nano for price in by_size]) * areas[0] / _MEGAPIXEL)
        high += sum([price.high_nano for price in by_size]) * math.ceil(max(areas) / _MEGAPIXEL)
    return Price(low_nano=low, expected_nano=usual, high_nano=high)


def _unpriced(model: ModelRecord, wanted: PricedFields) -> Iterator[str]:
    """Yield the names of what may raise the price of an image beyond the tables of *model*."""
    tables = model.price_tables
    for name in sorted(tables.unpriced):
        if not name.lower().startswith(_INPUT_WORDS) or wanted.inputs or wanted.masks:
            yield name
    if tables.megapixels and not _areas(model, wanted):
        yield "the price per megapixel, where the size in pixels is not known"
    everything = (*tables.add_ons.values(), *tables.requests.values(), *tables.megapixels.values())
    for table in (*everything, *tables.others.values()):
        if table.currency.upper() != _CURRENCY:
            yield f"prices in {table.currency}"
    possible = _by_tier(model, wanted)[1]
    priced = (*possible, *everything)

    def states(token: str) -> bool:
        return any(table.states(token) for table in priced) or (
            bool(possible) and all(table.lookup(token) is not None for table in possible)
        )

    yield from wanted.unpriced(model, states)


def _areas(model: ModelRecord, wanted: PricedFields) -> Sequence[int]:
    """Return the pixels of an image at each size that the service may go by; empty where one of them is not known."""
    default = model.default_resolution
    own = model.resolutions if default is None else (default,)
    sizes = [token for size in wanted.sizes for token in (own if size is None else (size,))]
    areas = [pixels for token in sizes if (pixels := pixels_of(token)) is not None]
    return areas if len(areas) == len(sizes) else ()


def _by_tier(model: ModelRecord, wanted: PricedFields) -> tuple[Sequence[PriceTable], Sequence[PriceTable]]:
    """
    Return the tables that an image is expected to be charged by, and all that can apply.

    Those of the tiers that the request names; else all, and the tier expected is the catalogue's default where it
    states one.
    """
    named: list[PriceTable] = []
    default: list[PriceTable] = []
    open_: list[PriceTable] = []
    for field, tables in model.price_tables.tiers.items():
        values = [value for value in wanted.values(field) if field != ANY_FIELD or value in tables]
        found = [table for value in values if (table := tables.get(value or ""))]
        # A value that no table is kept by may be one that the service reads in its own way.
        if found and len(found) == len(values):
            named += found
            continue
        open_ += tables.values()
        spec = model.parameters.get(field)
        if not values and isinstance(spec, EnumSpec) and (stated := tables.get(spec.default or "")):
            default.append(stated)
    if named:
        return named, (*named, *open_)
    possible = [table for table in (model.prices, *open_) if table]
    return default or possible, possible


def _at(table: PriceTable, model: ModelRecord, wanted: PricedFields) -> Price:
    """Return what *table*, which is not empty, says of an image: at every resolution that the service may go by."""
    default = model.default_resolution if None in wanted.sizes else None
    sizes = [default if size is None else size for size in wanted.sizes]
    other = [token for token in wanted.tokens if table.states(token)]
    spans = [span for size in (*sizes, *other) if (span := table.bounds(size)) is not None]
    assert spans, "a table that holds a price has bounds"
    low, high = min([span[0] for span in spans]), max([span[1] for span in spans])
    stated = table.lookup(sizes[0])
    if stated is None and other:
        stated = max([table.lookup(token) or 0.0 for token in other])
    if stated is None and wanted.sizes[0] is None and (offered := model.resolutions):
        # Assumption: without a stated default a model takes the first resolution that it lists.
        stated = table.lookup(offered[0])
    return Price(
        low_nano=_nano(low),
        expected_nano=_nano(high if stated is None else stated),
        high_nano=_nano(high),
    )


def _each_input(model: ModelRecord, wanted: PricedFields) -> Price | None:
    """Return the price of one input image, whose own size may decide it; None where the request has one and it is not known."""
    table = model.price_tables.inputs
    if not wanted.inputs + wanted.masks or (table is not None and not table):
        return Price.of(0)
    if table is None or model.price_tables.currency.upper() != _CURRENCY:
        return None
    prices = [*table.per_image.values(), *(() if table.flat_usd is None else (table.flat_usd,))]
    usual = _at(table, model, wanted).expected_nano
    return Price(low_nano=_nano(min(prices)), expected_nano=usual, high_nano=_nano(max(prices)))
