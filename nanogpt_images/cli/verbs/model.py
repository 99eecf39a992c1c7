"""`model`: everything known of one model."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import attrs
import click

from ...client import AsyncClient
from ...errors import NanoGPTError
from ...types.model import Model, ModelEndpoints, ReferenceLimits
from ...types.parameters import BooleanSpec, EnumSpec, ParameterSpec, RangeSpec
from ...types.prices import NO_PRICES, PriceTable
from ...wire.catalog.join import with_offers
from .. import common as _common
from ..client import open_client, run_async
from ..output import command_line, money, one_line, say, say_fields, say_json, size
from .models import summary

_ABOVE = frozenset({"resolution", "aspect_ratio", "quality", "n", "input_references"})


@_common.verb("model", example="model gpt-image-2")
@click.argument("model_id", metavar="ID")
@_common.sandbox
def command(model_id: str, sandbox: bool, base_url: str | None, as_json: bool) -> int:
    """Show everything that the catalogue says about one model. No key is needed."""
    model, endpoints = run_async(lambda: _fetch(model_id, base_url, sandbox, quiet=as_json))
    if as_json:
        say_json(_document(model, endpoints))
        return 0
    say(f"{one_line(model.id)}" + (f" · {one_line(model.name)}" if model.name.strip() else ""))
    if model.description.strip():
        say(one_line(model.description))
    say()
    say_fields(_fields(model, endpoints))
    say()
    say(command_line("generate", "a red fox", "-m", one_line(model.id)))
    return 0


async def _fetch(
    model_id: str, base_url: str | None, sandbox: bool, *, quiet: bool
) -> tuple[Model, ModelEndpoints | None]:
    async with open_client(base_url=base_url, sandbox=sandbox, paid=False, quiet=quiet) as client:
        model = await client.catalog.get(model_id)
        endpoints = await _endpoints(client, model_id)
        return model if endpoints is None else with_offers(model, endpoints), endpoints


async def _endpoints(client: AsyncClient, model_id: str) -> ModelEndpoints | None:
    try:
        return await client.catalog.endpoints(model_id)
    except NanoGPTError:
        # It only adds to what the listings say.
        return None


def _fields(model: Model, endpoints: ModelEndpoints | None) -> dict[str, str | Sequence[str]]:
    offers = endpoints.endpoints if endpoints is not None else ()
    references = model.references or next((offer.references for offer in offers if offer.references), None)
    rule = model.count_rule
    return {
        "owner": one_line(model.owner or ""),
        "created": f"{model.created:%Y-%m-%d}" if model.created is not None else "",
        "category": one_line(model.category or ""),
        "input": ", ".join(model.input_modalities),
        "output": ", ".join(model.output_modalities),
        "images": f"{rule} per request" if rule.stated else "1 per request (not stated)",
        "price": _prices(model),
        "resolutions": _tokens(model.resolutions, model.default_resolution),
        "aspect ratios": _tokens(model.aspect_ratios, None),
        "qualities": _tokens(model.qualities, None),
        "input images": _references(references) if references is not None else "",
        "prompt": f"at most {model.prompt_limit.max_characters:,} characters" if model.prompt_limit else "",
        "parameters": [
            f"{one_line(name)}: {_spec(spec)}"
            for name, spec in model.parameters.items()
            if name not in _ABOVE
        ],
        "capabilities": ", ".join(
            one_line(name) for name, value in model.capabilities.items() if value is True
        ),
        "providers": ", ".join(
            dict.fromkeys(one_line(offer.provider_name) for offer in offers if offer.provider_name)
        ),
    }


def _prices(model: Model) -> list[str]:
    tables = model.price_tables
    lines = _price_lines(model.prices, "")
    for field, tiers in tables.tiers.items():
        for tier, table in tiers.items():
            lines += _price_lines(table, f" with {one_line(f'{field} {tier}'.strip())}")
    for name, table in tables.add_ons.items():
        lines += _price_lines(table, f" more with {one_line(name)}")
    for name, table in tables.others.items():
        lines += _price_lines(table, f" by {one_line(name)}, whose meaning is not known")
    return [*(lines or ["not stated"]), *_price_lines(tables.inputs or NO_PRICES, " for each input image")]


def _price_lines(table: PriceTable, what: str) -> list[str]:
    lines = [f"{money(usd)} at {one_line(token)}{what}" for token, usd in table.per_image.items()]
    if table.flat_usd is not None:
        lines.append(f"{money(table.flat_usd)}{what or ' an image'}")
    return lines


def _tokens(tokens: Sequence[str], default: str | None) -> str:
    return ", ".join(
        one_line(token) + (" (default)" if token == default and len(tokens) > 1 else "") for token in tokens
    )


def _references(limits: ReferenceLimits) -> str:
    parts = [
        f"up to {limits.max_items}" if limits.max_items is not None else "",
        f"at least {limits.min_width or 1}x{limits.min_height or 1} pixels"
        if limits.min_width or limits.min_height
        else "",
        f"at most {limits.max_width or 'any'}x{limits.max_height or 'any'} pixels"
        if limits.max_width or limits.max_height
        else "",
        f"at most {size(limits.max_bytes)} each" if limits.max_bytes is not None else "",
        "/".join(limits.formats),
        one_line(limits.note or ""),
    ]
    return ", ".join(part for part in parts if part)


def _spec(spec: ParameterSpec) -> str:
    match spec:
        case EnumSpec(values, default):
            return _tokens(values, default)
        case RangeSpec(minimum, maximum):
            return " ".join(
                part
                for part in (
                    f"from {minimum:g}" if minimum is not None else "",
                    f"to {maximum:g}" if maximum is not None else "",
                )
                if part
            )
        case BooleanSpec():
            return "accepted"
        case _:
            return one_line(str(spec.raw), 60)


def _document(model: Model, endpoints: ModelEndpoints | None) -> dict[str, object]:
    limits = model.references
    return {
        **summary(model),
        "description": model.description,
        "owner": model.owner,
        "created": model.created.isoformat() if model.created is not None else None,
        "category": model.category,
        "input_modalities": list(model.input_modalities),
        "output_modalities": list(model.output_modalities),
        "capabilities": dict(model.capabilities),
        "default_resolution": model.default_resolution,
        "aspect_ratios": list(model.aspect_ratios),
        "qualities": list(model.qualities),
        "prices_usd": _price_table(model),
        "raw_pricing": model.raw_pricing,
        "input_images": None if limits is None else _without_raw(limits),
        "prompt_limit": None if model.prompt_limit is None else attrs.asdict(model.prompt_limit),
        "supported_parameters": dict(model.raw_parameters),
        "listed_in": list(model.listed_in),
        "partial": model.partial,
        "endpoints": None
        if endpoints is None
        else [
            {
                "provider": offer.provider_name,
                "allowed_passthrough_parameters": list(offer.allowed_passthrough_parameters),
                "pricing": [
                    {
                        "billable": line.billable,
                        "unit": line.unit,
                        "cost_usd": line.cost_usd,
                        "resolution": line.resolution,
                    }
                    for line in offer.pricing
                ],
                "supported_parameters": dict(offer.raw_parameters),
            }
            for offer in endpoints.endpoints
        ],
        "extra": dict(model.extra),
    }


def _price_table(model: Model) -> Mapping[str, object]:
    tables = model.price_tables
    return {
        **_table(model.prices),
        "tiers": {
            field: {tier: _table(table) for tier, table in tiers.items()}
            for field, tiers in tables.tiers.items()
        },
        "add_ons": {name: _table(table) for name, table in tables.add_ons.items()},
        "others": {name: _table(table) for name, table in tables.others.items()},
        "input_image": _table(tables.inputs or NO_PRICES),
    }


def _table(table: PriceTable) -> Mapping[str, object]:
    return {"per_image": dict(table.per_image), "flat": table.flat_usd}


def _without_raw(limits: ReferenceLimits) -> dict[str, object]:
    return attrs.asdict(limits, filter=lambda attribute, _: attribute.name != "raw")
