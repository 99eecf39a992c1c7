"""What a request may cost: the model's prices, and what the fields of the body say."""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from typing import Final, TypeVar, cast

import attrs

from ..money.nano import to_nano
from ..types.model import ModelRecord
from ..types.parameters import EnumSpec, RangeSpec
from ..types.prices import ANY_FIELD, PriceTable, PriceTables
from ..types.request import INPUT_FIELDS, MASK_FIELD, ImageRequest, asked_counts
from ..wire.requests import body_of

ModelT = TypeVar("ModelT", bound=ModelRecord)

_CURRENCY: Final = "USD"
_SIZES: Final = frozenset({"resolution", "size", "imagesize", "outputsize", "dimensions"})
# Fields whose values are never a resolution, though a number or a word of theirs may look like one.
_NO_TOKENS: Final = frozenset(
    {
        *("model", "prompt", "negativeprompt", "user", "n", "nimages", "seed", "strength", "guidancescale"),
        *("numinferencesteps", "responseformat", "outputformat", "width", "height"),
    }
)
_SHORT: Final = 4
_LONGEST_TOKEN: Final = 64

# A batch asks for the same few amounts and names again and again.
_nano = functools.lru_cache(maxsize=4096)(to_nano)


@functools.lru_cache(maxsize=4096)
def _plain(name: str) -> str:
    return name.replace("_", "").lower()


@attrs.frozen(kw_only=True)
class Price:
    """
    What some images cost, in nano-USD.

    Attributes:
        low_nano: The least they can cost by the catalogue.
        expected_nano: What they cost at the stated resolution and tier, or at those that the model takes by itself.
        high_nano: The most they can cost; this is what a budget reserves.
    """

    low_nano: int
    expected_nano: int
    high_nano: int

    @classmethod
    def of(cls, nano: int) -> Price:
        """A price without a range."""
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
    other that may mean it; tiers and add-ons by the fields that name them. Where that is ambiguous, the dearest
    reading is the worst case. Input images are added once for each request.

    Args:
        model: The model, with its prices.
        request: What is sent.
        images: Images of all requests; None counts those that *request* asks for.
        requests: How many such requests there are.
        assume_price_usd: USD per image, or per input image, to assume where the catalogue states no price in USD.

    Returns:
        The price; None where no price is known, of the images or of the input images.

    Raises:
        ParameterError: `assume_price_usd` is not an amount of money.
    """
    body = body_of(request)
    wanted = _Wanted.of(request, body)
    each = _each_image(model, wanted)
    inputs = _each_input(model, wanted)
    if each is None or inputs is None:
        if assume_price_usd is None:
            return None
        assumed = to_nano(assume_price_usd)
        each, inputs = each or Price.of(assumed), inputs or Price.of(assumed)
    expected, most = (images, images) if images is not None else image_counts(model, request)
    return Price(
        low_nano=each.low_nano * expected + inputs.low_nano * wanted.inputs * requests,
        expected_nano=each.expected_nano * expected + inputs.expected_nano * wanted.inputs * requests,
        high_nano=each.high_nano * most + inputs.high_nano * (wanted.inputs + wanted.masks) * requests,
    )


def with_flat_price(model: ModelT, usd: float) -> ModelT:
    """Return *model* as if the catalogue stated *usd* for each of its images; the price of input images stays."""
    inputs = model.price_tables.inputs if model.price_tables.currency.upper() == _CURRENCY else None
    return attrs.evolve(model, prices=PriceTable(flat_usd=usd), price_tables=PriceTables(inputs=inputs))


def image_counts(model: ModelRecord, request: ImageRequest) -> tuple[int, int]:
    """Images that *request* makes by the model's rule, and the most that any reading of its fields comes to."""
    read = [count for value in asked_counts(request) if (count := _whole(value)) is not None]
    rule, spec = model.count_rule, model.parameters.get("n")
    default = spec.default if isinstance(spec, RangeSpec) and spec.default is not None else 1
    expected = rule.images(read[0] if read else None)
    # Without a count the service takes its default, which need not be the least.
    unasked = 0 if read or rule.fixed else min(int(default), rule.maximum)
    return expected, max(expected, unasked, *map(rule.images, read))


def needs_offers(model: ModelRecord, request: ImageRequest) -> bool:
    """Whether the price of *request* may stand in the endpoint metadata alone: that of input images, or all of it."""
    wanted = _Wanted.of(request, body_of(request))
    return bool(wanted.inputs or wanted.masks) or not (model.prices or model.price_tables.tiers)


def _whole(value: object) -> int | None:
    """*value* as a service may read it: `"4"` is 4."""
    try:
        number = int(cast("str", value))
    except (TypeError, ValueError, OverflowError):
        return None
    return number if number > 0 and not isinstance(value, bool) else None


@attrs.define(kw_only=True)
class _Wanted:
    """
    What a body says about its price.

    Attributes:
        sizes: Each resolution that the service may go by, that of the documented field first; None is its own choice.
        tokens: The values of other fields, one of which a table of prices may be kept by, such as a quality.
        fields: All fields of the body, by a name without regard to case and underscores.
    """

    sizes: Sequence[str | None]
    tokens: Sequence[str]
    fields: Mapping[str, Sequence[object]]
    inputs: int
    masks: int

    @classmethod
    def of(cls, request: ImageRequest, body: Mapping[str, object]) -> _Wanted:
        sizes: dict[str | None, None] = {_size(body.get(request.size_name)): None}
        tokens: list[str] = []
        fields: dict[str, list[object]] = {}
        for name, value in body.items():
            if value is None:
                continue
            plain = _plain(name)
            fields.setdefault(plain, []).append(value)
            if plain in _SIZES:
                sizes.setdefault(_size(value))
            elif (
                plain not in _NO_TOKENS
                and (token := _text(value)) is not None
                and len(token) <= _LONGEST_TOKEN
            ):
                tokens.append(token)
        if "width" in fields and "height" in fields:
            sizes.setdefault(f"{_size(fields['width'][0])}x{_size(fields['height'][0])}")
        return cls(
            sizes=tuple(sizes),
            tokens=tokens,
            fields=fields,
            inputs=len(request.references)
            + sum(_length(body[name]) for name in INPUT_FIELDS if name in body),
            masks=int(request.mask_input is not None or bool(body.get(MASK_FIELD))),
        )

    def values(self, field: str) -> Sequence[str | None]:
        """What the body says for *field*; for `ANY_FIELD`, all that may be a token."""
        if field == ANY_FIELD:
            return [*self.sizes, *self.tokens]
        return [_text(value) for value in self.fields.get(_plain(field), ())]

    def names(self, add_on: str) -> bool:
        """Whether a field asks for *add_on*."""
        wanted = _plain(add_on)
        return any(
            any(values)
            for name, values in self.fields.items()
            if name.startswith(wanted) or (len(wanted) >= _SHORT and wanted in name)
        )


def _text(value: object) -> str | None:
    """*value* as a token of the catalogue may spell it; None for what is none."""
    if isinstance(value, int | float) and not abs(value) < 1e9:
        return None
    return str(value) if isinstance(value, str | int | float) else None


def _size(value: object) -> str | None:
    # What is no text, such as an object of width and height, may mean any resolution.
    return None if value is None else _text(value) or "?"


def _length(value: object) -> int:
    return len(cast("list[object]", value)) if isinstance(value, list | tuple) else int(bool(value))


def _each_image(model: ModelRecord, wanted: _Wanted) -> Price | None:
    """The price of one image; None where none is known in USD."""
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
        if table and wanted.names(name):
            # Assumption: an add-on is charged on top; some read its table as the whole price, which is less.
            on_top = _at(table, model, wanted)
            low, usual, high = (
                min(low, on_top.low_nano),
                usual + on_top.expected_nano,
                high + on_top.high_nano,
            )
    for name, table in tables.others.items():
        unknown = _at(table, model, wanted).high_nano if table else 0
        high = high + unknown if wanted.names(name) else max(high, unknown)
    return Price(low_nano=low, expected_nano=usual, high_nano=high)


def _by_tier(model: ModelRecord, wanted: _Wanted) -> tuple[Sequence[PriceTable], Sequence[PriceTable]]:
    """
    The tables that an image is expected to be charged by, and all that can apply.

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


def _at(table: PriceTable, model: ModelRecord, wanted: _Wanted) -> Price:
    """What *table*, which is not empty, says of an image: at every resolution that the service may go by."""
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


def _each_input(model: ModelRecord, wanted: _Wanted) -> Price | None:
    """The price of one input image, whose own size may decide it; None where the request has one and it is not known."""
    table = model.price_tables.inputs
    if not wanted.inputs + wanted.masks or (table is not None and not table):
        return Price.of(0)
    if table is None or model.price_tables.currency.upper() != _CURRENCY:
        return None
    prices = [*table.per_image.values(), *(() if table.flat_usd is None else (table.flat_usd,))]
    usual = _at(table, model, wanted).expected_nano
    return Price(low_nano=_nano(min(prices)), expected_nano=usual, high_nano=_nano(max(prices)))
