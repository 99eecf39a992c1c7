"""The two listings and the endpoint metadata: decoded JSON to typed records."""

from __future__ import annotations

import copy
from collections.abc import Callable, Collection, Mapping, Sequence
from datetime import datetime
from typing import Generic, TypedDict, TypeVar, cast

import attrs

from ..._base.logs import get_logger
from ...errors import Charge, ResponseDecodeError
from ...types.model import (
    Endpoint,
    ImageModel,
    ListedModel,
    Listing,
    ModelEndpoints,
    ModelRecord,
    PromptLimit,
    ReferenceLimits,
)
from ...types.parameters import CountRule, ParameterSpecs
from ...types.prices import PriceTable, PriceTables, dearer
from .. import paths
from ..convert import Json, as_int, as_object, as_objects, as_text, as_texts, as_time, shorten, structure
from .pricing import read_lines, read_price_tables, read_prices
from .specs import read_supported

_log = get_logger("nanogpt_images.catalog")
_ARCHITECTURE = frozenset({"modality", "input_modalities", "output_modalities"})


def _empty() -> Json:
    return {}


@attrs.define(kw_only=True)
class _Record:
    id: str | None = None
    name: str = ""
    description: str = ""
    owned_by: str | None = None
    created: datetime | None = None
    category: str | None = None
    architecture: Json = attrs.field(factory=_empty)
    capabilities: Json = attrs.field(factory=_empty)
    supported_parameters: Json = attrs.field(factory=_empty)
    pricing: object = None
    public_pricing: object = None
    extra: Json = attrs.field(factory=_empty)


@attrs.define(kw_only=True)
class _ImageRecord(_Record):
    tags: tuple[str, ...] = ()
    icon_url: str | None = None


@attrs.define(kw_only=True)
class _ListedRecord(_Record):
    endpoints: str | None = None
    supports_streaming: bool = False


@attrs.define(kw_only=True)
class _Endpoint:
    provider_name: str | None = None
    provider_slug: str | None = None
    provider_tag: str | None = None
    supported_parameters: Json = attrs.field(factory=_empty)
    allowed_passthrough_parameters: tuple[str, ...] = ()
    supports_streaming: bool = False
    pricing: object = None
    public_pricing: object = None
    input_reference_constraints: Json = attrs.field(factory=_empty)
    extra: Json = attrs.field(factory=_empty)


class RecordFields(TypedDict):
    """The fields of a `ModelRecord`, which is what all kinds of record share."""

    id: str
    name: str
    description: str
    owner: str | None
    created: datetime | None
    category: str | None
    modality: str | None
    input_modalities: tuple[str, ...]
    output_modalities: tuple[str, ...]
    capabilities: Mapping[str, object]
    parameters: ParameterSpecs
    count_rule: CountRule
    references: ReferenceLimits | None
    prompt_limit: PromptLimit | None
    prices: PriceTable
    price_tables: PriceTables
    raw_parameters: Mapping[str, object]
    raw_pricing: object
    extra: Mapping[str, object]


ModelT = TypeVar("ModelT", bound=ModelRecord)


class Records(Generic[ModelT]):
    """
    An answered listing, whose records are decoded when they are asked for: a call needs one of hundreds.

    Args:
        items: The list of the answer.
        meta: What stands beside it.
        read: Decodes a record; None where it has no ID.

    Attributes:
        stale: See `Listing.stale`.
        decoded: What `listing` returned; None before.
    """

    def __init__(self, items: Sequence[object], meta: Json, read: Callable[[object], ModelT | None]) -> None:
        self._items, self._meta, self._read = items, meta, read
        self.stale = False
        self.decoded: Listing[ModelT] | None = None
        self._decoded: dict[int, ModelT | None] = {}
        self._first: dict[str, int] = {}
        for number, item in enumerate(items):
            if (model_id := as_text(as_object(item).get("id"))) is not None:
                self._first.setdefault(model_id, number)

    @property
    def ids(self) -> Collection[str]:
        """The IDs in the service's order, each once."""
        return self._first.keys()

    def find(self, model_id: str) -> ModelT | None:
        """Return the first record with this ID, or None."""
        number = self._first.get(model_id)
        return None if number is None else self.decode(number)

    def listing(self) -> Listing[ModelT]:
        """Decode all records; always the same object."""
        if self.decoded is None:
            found = (self.decode(number) for number in range(len(self._items)))
            self.decoded = Listing(
                data=tuple([model for model in found if model is not None]),
                stated_count=as_int(self._meta.get("count")),
                generated_at=as_time(self._meta.get("generated_at")),
                stale=self.stale,
            )
        return self.decoded

    def as_stale(self) -> Records[ModelT]:
        """Return the same records, marked as the last known ones."""
        marked = copy.copy(self)
        marked.stale, marked.decoded = True, None
        return marked

    def decode(self, number: int) -> ModelT | None:
        """Return the record at *number*, from 0; None where it has no ID."""
        if number not in self._decoded:
            # Two threads may decode one record at the same time; both then use the first to end.
            return self._decoded.setdefault(number, self._read(self._items[number]))
        return self._decoded[number]


def image_models(body: object) -> Records[ImageModel]:
    """
    Read `GET /api/v1/image-models`.

    A record without an ID is left out, with a line in the log; a field of the wrong kind counts as absent.

    Raises:
        ResponseDecodeError: The body holds no list of models.

    Source: docs/service.md, "List image models".
    """
    return _records(body, paths.IMAGE_MODELS, _image_model)


def listed_models(body: object) -> Records[ListedModel]:
    """
    Read `GET /api/v1/images/models`, as tolerantly as `image_models`.

    Raises:
        ResponseDecodeError: The body holds no list of models.

    Source: docs/service.md, "List models of the Image API".
    """
    return _records(body, paths.LISTED_MODELS, _listed_model)


def decode_endpoints(body: object, model_id: str) -> ModelEndpoints:
    """
    Decode `GET /api/v1/images/models/{model_id}/endpoints`.

    Raises:
        ResponseDecodeError: The body holds no list of endpoints.

    Source: docs/service.md, "Endpoint metadata".
    """
    answer = as_object(body)
    if "endpoints" not in answer:
        # Assumption: sister services of the same shape wrap the object in `data`.
        answer = as_object(answer.get("data"))
    endpoints = answer.get("endpoints")
    if not isinstance(endpoints, list):
        raise _not_a_list(body, f"{paths.LISTED_MODELS}/{model_id}/endpoints", "$.endpoints")
    return ModelEndpoints(
        id=as_text(answer.get("id")) or model_id,
        endpoints=tuple([_endpoint(item) for item in as_objects(cast("object", endpoints))]),
        extra={key: value for key, value in answer.items() if key not in {"id", "endpoints"}},
    )


def _records(body: object, path: str, read: Callable[[object], ModelT | None]) -> Records[ModelT]:
    envelope = _envelope(body)
    data = envelope.get("data")
    if not isinstance(data, list):
        raise _not_a_list(body, path, "$.data")
    items = cast("list[object]", data)
    unnamed = sum([as_text(as_object(item).get("id")) is None for item in items])
    if unnamed:
        _log.warning("GET %s: %d of %d records have no id; left out", path, unnamed, len(items))
    records = Records(items, as_object(envelope.get("meta")), read)
    if items:
        records.decode(
            0
        )  # the first of a process makes the readers, which takes milliseconds; here a thread does it
    return records


def _envelope(body: object) -> Json:
    return {"data": cast("object", body)} if isinstance(body, list) else as_object(body)


def _not_a_list(body: object, path: str, json_path: str) -> ResponseDecodeError:
    return ResponseDecodeError(
        f"the answer of GET {path} holds no list at {json_path}.",
        advice="Check that base_url is that of the NanoGPT API.",
        charge=Charge.NOT_SENT,
        json_path=json_path,
        excerpt=shorten(body),
    )


def _image_model(item: object) -> ImageModel | None:
    record = structure(item, _ImageRecord)
    if record.id is None:
        return None
    return ImageModel(**_fields(record, record.id), tags=record.tags, icon_url=record.icon_url)


def _listed_model(item: object) -> ListedModel | None:
    record = structure(item, _ListedRecord)
    if record.id is None:
        return None
    return ListedModel(
        **_fields(record, record.id), endpoints=record.endpoints, supports_streaming=record.supports_streaming
    )


def _fields(record: _Record, model_id: str) -> RecordFields:
    supported = read_supported(record.supported_parameters)
    prices = read_prices(record.pricing, record.public_pricing)
    extra = record.extra
    extra.pop("object", None)  # always "model"
    if not prices and record.pricing:
        extra["pricing"] = record.pricing
    if record.public_pricing is not None and record.pricing is not None:
        extra["public_pricing"] = record.public_pricing
    if not _ARCHITECTURE.issuperset(record.architecture):
        extra["architecture"] = record.architecture
    return {
        "id": model_id,
        # Display names may end in a space; the ID is never touched.
        "name": record.name.strip(),
        "description": record.description,
        "owner": record.owned_by,
        "created": record.created,
        "category": record.category,
        "modality": as_text(record.architecture.get("modality")),
        "input_modalities": as_texts(record.architecture.get("input_modalities")),
        "output_modalities": as_texts(record.architecture.get("output_modalities")),
        "capabilities": record.capabilities,
        "parameters": supported.parameters,
        "count_rule": supported.count_rule,
        "references": supported.references,
        "prompt_limit": supported.prompt_limit,
        "prices": prices,
        "price_tables": read_price_tables(record.pricing, record.public_pricing),
        "raw_parameters": record.supported_parameters,
        "raw_pricing": record.public_pricing if record.pricing is None else record.pricing,
        "extra": extra,
    }


def _endpoint(item: object) -> Endpoint:
    record = structure(item, _Endpoint)
    supported = read_supported(record.supported_parameters, record.input_reference_constraints)
    extra = record.extra
    prices = dearer(read_prices(record.pricing), read_prices(record.public_pricing))
    if record.public_pricing is not None:
        extra["public_pricing"] = record.public_pricing
    return Endpoint(
        provider_name=record.provider_name,
        provider_slug=record.provider_slug,
        provider_tag=record.provider_tag,
        supported_parameters=supported.parameters,
        count_rule=supported.count_rule,
        allowed_passthrough_parameters=record.allowed_passthrough_parameters,
        supports_streaming=record.supports_streaming,
        pricing=read_lines(record.pricing),
        prices=prices,
        price_tables=read_price_tables(record.pricing, record.public_pricing),
        references=supported.references,
        raw_parameters=record.supported_parameters,
        raw_pricing=record.pricing,
        extra=extra,
    )
