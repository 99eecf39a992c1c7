"""The joined view: one `Model` for each ID of the two listings."""

from __future__ import annotations

import itertools
from collections.abc import Mapping

import attrs

from ...types.model import ImageModel, ListedModel, Model, ModelEndpoints, ModelRecord, Models
from ...types.prices import dearer, dearer_tables
from .limits import join_count_rules, join_reference_limits
from .listings import RecordFields, Records
from .specs import join_parameters

IMAGE_MODELS = "image-models"
LISTED_MODELS = "images/models"


class Joined:
    """
    Both listings by ID; a model is decoded and joined when it is asked for.

    Neither listing is complete: fixed counts stand in image-models only, ranges of `n` and `endpoints` in
    images/models only. Where both state a field, the one that says more is taken; of two limits, the stricter;
    of two prices, the dearer. Of records that share an ID within a listing, the first counts.

    Args:
        legacy: `GET /api/v1/image-models`, or None where it is not available.
        listed: `GET /api/v1/images/models`, or None.

    Attributes:
        all: What `join_all` returned; None before.
    """

    def __init__(self, legacy: Records[ImageModel] | None, listed: Records[ListedModel] | None) -> None:
        self._legacy, self._listed = legacy, listed
        self._stale = {
            IMAGE_MODELS: legacy is not None and legacy.stale,
            LISTED_MODELS: listed is not None and listed.stale,
        }
        self.all: Models | None = None
        self._models: dict[str, Model] = {}

    @property
    def ids(self) -> tuple[str, ...]:
        """All IDs, in the order of images/models, then those of image-models alone."""
        halves = [half.ids for half in (self._listed, self._legacy) if half is not None]
        return tuple(dict.fromkeys(itertools.chain.from_iterable(halves)))

    def find(self, model_id: str) -> Model | None:
        """Return the model with this ID, or None; always the same object."""
        if (known := self._models.get(model_id)) is not None:
            return known
        legacy = None if self._legacy is None else self._legacy.find(model_id)
        listed = None if self._listed is None else self._listed.find(model_id)
        if legacy is None and listed is None:
            return None
        partial = self._legacy is None or self._listed is None
        return self._models.setdefault(model_id, _model(legacy, listed, self._stale, partial))

    def join_all(self) -> Models:
        """Return all models, in the order of `ids`; always the same object."""
        if self.all is None:
            self.all = Models([model for model_id in self.ids if (model := self.find(model_id)) is not None])
        return self.all


def _model(
    legacy: ImageModel | None, listed: ListedModel | None, stale: Mapping[str, bool], partial: bool
) -> Model:
    sources = {IMAGE_MODELS: legacy, LISTED_MODELS: listed}
    listed_in = tuple(name for name, record in sources.items() if record is not None)
    fields = _fields(legacy, listed)
    fields["raw_pricing"] = _raw_pricing(sources)
    return Model(
        **fields,
        tags=legacy.tags if legacy else (),
        icon_url=legacy.icon_url if legacy else None,
        endpoints=listed.endpoints if listed else None,
        supports_streaming=listed is not None and listed.supports_streaming,
        listed_in=listed_in,
        stale=any(stale[name] for name in listed_in),
        partial=partial,
    )


def with_offers(model: Model, offers: ModelEndpoints) -> Model:
    """Return *model* with the prices of its endpoint metadata too; of two prices for one thing, the dearer."""
    prices, tables = model.prices, model.price_tables
    for offer in offers.endpoints:
        if offer.prices and offer.prices.currency.upper() != model.prices.currency.upper():
            unpriced = tables.unpriced | {f"prices in {offer.prices.currency}"}
            tables = attrs.evolve(tables, unpriced=unpriced)
        prices, tables = dearer(prices, offer.prices), dearer_tables(tables, offer.price_tables)
        if not offer.price_tables.tiers:
            # Assumption: an endpoint that names no tier states a price which every tier may cost.
            tiers = {
                field: {tier: dearer(table, offer.prices) for tier, table in by_tier.items()}
                for field, by_tier in tables.tiers.items()
            }
            tables = attrs.evolve(tables, tiers=tiers)
    return attrs.evolve(model, prices=prices, price_tables=tables)


def _raw_pricing(sources: Mapping[str, ModelRecord | None]) -> dict[str, object]:
    return {
        name: record.raw_pricing
        for name, record in sources.items()
        if record is not None and record.raw_pricing is not None
    }


def _fields(legacy: ImageModel | None, listed: ListedModel | None) -> RecordFields:
    if legacy is not None and listed is not None:
        return _both(legacy, listed)
    only = legacy or listed
    assert only is not None, "a joined ID stands in one listing at least"
    return _as_fields(only)


def _both(legacy: ImageModel, listed: ListedModel) -> RecordFields:
    rule = join_count_rules(legacy.count_rule, listed.count_rule)
    prompts = [limit for limit in (legacy.prompt_limit, listed.prompt_limit) if limit is not None]
    return {
        "id": listed.id,
        "name": listed.name or legacy.name,
        "description": max(listed.description, legacy.description, key=len),
        "owner": listed.owner or legacy.owner,
        "created": listed.created or legacy.created,
        "category": listed.category or legacy.category,
        "modality": listed.modality or legacy.modality,
        "input_modalities": max(listed.input_modalities, legacy.input_modalities, key=len),
        "output_modalities": max(listed.output_modalities, legacy.output_modalities, key=len),
        "capabilities": {**legacy.capabilities, **listed.capabilities},
        "parameters": join_parameters(legacy.parameters, listed.parameters, rule),
        "count_rule": rule,
        "references": join_reference_limits(legacy.references, listed.references),
        "prompt_limit": min(prompts, key=lambda limit: limit.max_characters, default=None),
        "prices": dearer(legacy.prices, listed.prices),
        "price_tables": dearer_tables(legacy.price_tables, listed.price_tables),
        "raw_parameters": {**legacy.raw_parameters, **listed.raw_parameters},
        "raw_pricing": None,
        "extra": {**legacy.extra, **listed.extra},
    }


def _as_fields(record: ModelRecord) -> RecordFields:
    return {
        "id": record.id,
        "name": record.name,
        "description": record.description,
        "owner": record.owner,
        "created": record.created,
        "category": record.category,
        "modality": record.modality,
        "input_modalities": record.input_modalities,
        "output_modalities": record.output_modalities,
        "capabilities": record.capabilities,
        "parameters": record.parameters,
        "count_rule": record.count_rule,
        "references": record.references,
        "prompt_limit": record.prompt_limit,
        "prices": record.prices,
        "price_tables": record.price_tables,
        "raw_parameters": record.raw_parameters,
        "raw_pricing": record.raw_pricing,
        "extra": record.extra,
    }
