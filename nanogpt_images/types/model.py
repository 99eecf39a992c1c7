"""What the catalogue says: a model in the joined view, and the records of each listing."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from typing import Final, Generic, TypeVar, overload

import attrs

from .._base.display import Displayed
from .._base.jsonable import Jsonable
from .parameters import ONE_IMAGE, CountRule, EnumSpec, ParameterSpec, ParameterSpecs
from .prices import NO_TABLES, PriceTable, PriceTables

_Json = Mapping[str, object]


@attrs.frozen(kw_only=True)
class ReferenceLimits(Jsonable):
    """
    What a model accepts as input images; None means "not stated".

    Where the service states a limit of its own and a stricter one of the provider, this holds the stricter.

    Attributes:
        max_items: Greatest number of images.
        min_width: Least width in pixels.
        min_height: Least height in pixels.
        max_width: Greatest width in pixels.
        max_height: Greatest height in pixels.
        max_bytes: Greatest size of one image.
        formats: Lower-case names such as `png`; empty where none are stated.
        note: What the service or the provider says about them.

    Source: docs/service.md, "Endpoint metadata", `input_reference_constraints`.
    """

    max_items: int | None = None
    min_width: int | None = None
    min_height: int | None = None
    max_width: int | None = None
    max_height: int | None = None
    max_bytes: int | None = None
    formats: tuple[str, ...] = ()
    note: str | None = None
    raw: _Json = attrs.field(factory=dict[str, object], repr=False)


@attrs.frozen(kw_only=True)
class PromptLimit(Jsonable):
    """The longest prompt a model takes, in UTF-16 code units (as JavaScript counts)."""

    max_characters: int
    trim_whitespace: bool = False

    def measure(self, prompt: str) -> int:
        """Return the length of *prompt* in the unit of the limit."""
        text = prompt.strip() if self.trim_whitespace else prompt
        return len(text.encode("utf-16-le", "surrogatepass")) // 2


@attrs.frozen(kw_only=True)
class ModelRecord(Displayed, Jsonable):
    """
    What both listings say of a model; see `ImageModel` and `ListedModel` for what each adds.

    Attributes:
        id: ID to send; it may hold slashes, colons and at signs.
        modality: What goes in and what comes out, such as `text->image`.
        parameters: Descriptors by the parameter's name on the normalized route.
        prices: USD per image, where a request names neither tier nor add-on.
        price_tables: What tiers, add-ons and input images cost.
        raw_parameters: `supported_parameters` as it came.
        raw_pricing: `pricing` as it came, of whatever shape; of a joined `Model`, by listing.
        extra: Keys of the record that this package does not know.
    """

    id: str
    name: str = ""
    description: str = ""
    owner: str | None = None
    created: datetime | None = None
    category: str | None = None
    modality: str | None = None
    input_modalities: tuple[str, ...] = ()
    output_modalities: tuple[str, ...] = ()
    capabilities: _Json = attrs.field(factory=dict[str, object])
    parameters: ParameterSpecs = attrs.field(factory=dict[str, ParameterSpec])
    count_rule: CountRule = ONE_IMAGE
    references: ReferenceLimits | None = None
    prompt_limit: PromptLimit | None = None
    prices: PriceTable = attrs.field(factory=PriceTable)
    price_tables: PriceTables = NO_TABLES
    raw_parameters: _Json = attrs.field(factory=dict[str, object], repr=False)
    raw_pricing: object = attrs.field(default=None, repr=False)
    extra: _Json = attrs.field(factory=dict[str, object], repr=False)

    def _tokens(self, name: str) -> tuple[str, ...]:
        spec = self.parameters.get(name)
        return spec.values if isinstance(spec, EnumSpec) else ()

    @property
    def resolutions(self) -> tuple[str, ...]:
        """Tokens to send as `resolution` (or `size`), verbatim; empty where none are stated."""
        return self._tokens("resolution")

    @property
    def aspect_ratios(self) -> tuple[str, ...]:
        """Tokens to send as `aspect_ratio`; empty where none are stated."""
        return self._tokens("aspect_ratio")

    @property
    def qualities(self) -> tuple[str, ...]:
        """Tokens to send as `quality`; empty where none are stated."""
        return self._tokens("quality")

    @property
    def default_resolution(self) -> str | None:
        """The resolution that the service takes when none is sent, where it is stated."""
        spec = self.parameters.get("resolution")
        if not isinstance(spec, EnumSpec):
            return None
        return spec.default or (spec.values[0] if len(spec.values) == 1 else None)

    def price_bounds(self, resolution: str | None = None) -> tuple[float, float] | None:
        """
        Return the lowest and highest USD of one image, over all tiers and with every add-on; None where no price is known.

        Input images are charged on top: `price_tables.inputs`.

        Args:
            resolution: None spans all of them.
        """
        return self.price_tables.bounds(self.prices, resolution)


@attrs.frozen(kw_only=True)
class ImageModel(ModelRecord):
    """A record of `GET /api/v1/image-models`. Source: docs/service.md, "List image models"."""

    tags: tuple[str, ...] = ()
    icon_url: str | None = None


@attrs.frozen(kw_only=True)
class ListedModel(ModelRecord):
    """A record of `GET /api/v1/images/models`. Source: docs/service.md, "List models of the Image API"."""

    endpoints: str | None = None
    supports_streaming: bool = False


@attrs.frozen(kw_only=True)
class Model(ModelRecord):
    """
    A model in the joined view of both listings.

    Attributes:
        listed_in: Which listings hold it: `image-models`, `images/models` or both.
        endpoints: Path of its endpoint metadata, as the service returned it.
        stale: True when the catalogue could not be refreshed and this is the last known state.
        partial: True when one of the listings was not available: limits and prices that it states are missing here.
    """

    tags: tuple[str, ...] = ()
    icon_url: str | None = None
    endpoints: str | None = None
    supports_streaming: bool = False
    listed_in: tuple[str, ...] = ()
    stale: bool = False
    partial: bool = False


@attrs.frozen(kw_only=True)
class PriceLine(Jsonable):
    """One line of an endpoint's pricing. Source: docs/service.md, "Endpoint metadata", `pricing`."""

    billable: str | None = None
    unit: str | None = None
    cost_usd: float | None = None
    resolution: str | None = None
    currency: str = "USD"
    extra: _Json = attrs.field(factory=dict[str, object], repr=False)


@attrs.frozen(kw_only=True)
class Endpoint(Jsonable):
    """One public endpoint of a model. Source: docs/service.md, "Endpoint metadata"."""

    provider_name: str | None = None
    provider_slug: str | None = None
    provider_tag: str | None = None
    supported_parameters: ParameterSpecs = attrs.field(factory=dict[str, ParameterSpec])
    count_rule: CountRule = ONE_IMAGE
    allowed_passthrough_parameters: tuple[str, ...] = ()
    supports_streaming: bool = False
    pricing: tuple[PriceLine, ...] = ()
    prices: PriceTable = attrs.field(factory=PriceTable)
    price_tables: PriceTables = NO_TABLES
    references: ReferenceLimits | None = None
    raw_parameters: _Json = attrs.field(factory=dict[str, object], repr=False)
    raw_pricing: object = attrs.field(default=None, repr=False)
    extra: _Json = attrs.field(factory=dict[str, object], repr=False)


@attrs.frozen(kw_only=True)
class ModelEndpoints(Jsonable):
    """The answer of `GET /api/v1/images/models/{id}/endpoints`. Source: docs/service.md, "Endpoint metadata"."""

    id: str
    endpoints: tuple[Endpoint, ...] = ()
    stale: bool = False
    extra: _Json = attrs.field(factory=dict[str, object], repr=False)


RecordT_co = TypeVar("RecordT_co", bound=ModelRecord, covariant=True)


_SHOWN: Final = 50
_GAP: Final = "  "


def _table_of(records: Sequence[ModelRecord]) -> str:
    """Return a line per model: ID, images per request, resolutions, price of an image."""
    lines = [("model", "images", "resolutions", "price"), *map(_line_of, records[:_SHOWN])]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    rows = (_GAP.join(map(str.ljust, line, widths)).rstrip() for line in lines)
    left = len(records) - _SHOWN
    return "\n".join([*rows, *([f"and {left:,} more"] if left > 0 else [])])


def _line_of(record: ModelRecord) -> tuple[str, str, str, str]:
    tokens = record.resolutions
    more = f" +{len(tokens) - 2}" if len(tokens) > 2 else ""
    bounds = record.price_bounds()
    prices = "" if bounds is None else " to ".join(f"{price:g}" for price in dict.fromkeys(bounds))
    price = f"{prices} {record.prices.currency}" if prices else "not stated"
    return record.id, str(record.count_rule), ", ".join(tokens[:2]) + more, price


class Models(Displayed, tuple[Model, ...]):
    """The models of the catalogue: a tuple whose `repr`, as its view in a notebook, is a table."""

    __slots__ = ()

    def __repr__(self) -> str:
        return _table_of(self)


@attrs.frozen(kw_only=True, eq=False, repr=False)
class Listing(Displayed, Jsonable, Sequence[RecordT_co], Generic[RecordT_co]):
    """
    A listing of models in the service's order.

    Attributes:
        data: The records that could be read.
        stated_count: The service's own `meta.count`; it need not equal `len(data)`.
        generated_at: When the service made the listing.
        stale: True when a refresh failed and this is the last known state.
    """

    data: tuple[RecordT_co, ...] = ()
    stated_count: int | None = None
    generated_at: datetime | None = None
    stale: bool = False

    @overload
    def __getitem__(self, index: int) -> RecordT_co: ...
    @overload
    def __getitem__(self, index: slice) -> tuple[RecordT_co, ...]: ...
    def __getitem__(self, index: int | slice) -> RecordT_co | tuple[RecordT_co, ...]:
        return self.data[index]

    def __len__(self) -> int:
        return len(self.data)

    def __iter__(self) -> Iterator[RecordT_co]:
        return iter(self.data)

    def __repr__(self) -> str:
        return _table_of(self.data)

    def find(self, model_id: str) -> RecordT_co | None:
        """Return the record with this ID, or None."""
        return next((record for record in self.data if record.id == model_id), None)
