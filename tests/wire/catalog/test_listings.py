"""The listings and the endpoint metadata, from the samples and from arbitrary JSON."""

from __future__ import annotations

import contextlib
import json
import logging
from datetime import UTC, datetime
from pathlib import Path

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nanogpt_images.errors import Charge, ResponseDecodeError
from nanogpt_images.types.model import ImageModel, ListedModel, Model, PriceLine
from nanogpt_images.types.parameters import CountRule, EnumSpec, RangeSpec
from nanogpt_images.types.prices import PriceTable, PriceTables
from nanogpt_images.wire.catalog.join import Joined, with_offers
from nanogpt_images.wire.catalog.listings import Records, decode_endpoints, image_models, listed_models
from nanogpt_images.wire.catalog.pricing import read_price_tables, read_prices

SAMPLES = Path(__file__).parents[2] / "samples"


def sample(name: str) -> object:
    return json.loads((SAMPLES / f"{name}.json").read_text())


def join(old: Records[ImageModel] | None, new: Records[ListedModel] | None) -> tuple[Model, ...]:
    return Joined(old, new).join_all()


def legacy() -> Records[ImageModel]:
    return image_models(sample("image-models"))


def live() -> Records[ListedModel]:
    return listed_models(sample("images-models.live"))


def one(**record: object) -> ImageModel:
    return image_models({"data": [{"id": "m", **record}]}).listing()[0]


def joined(model_id: str) -> Model:
    return next(model for model in join(legacy(), live()) if model.id == model_id)


def test_a_documented_record_of_image_models() -> None:
    """The documented example is read in full."""
    listing = legacy().listing()
    model = listing[0]
    assert (listing.stated_count, listing.generated_at) == (169, datetime(2026, 5, 14, tzinfo=UTC))
    assert (model.id, model.name, model.owner) == ("pruna-ai/p-image/text-to-image", "P-Image", "prunaai")
    assert (model.created, model.category) == (datetime(2026, 5, 12, tzinfo=UTC), "image")
    assert (model.input_modalities, model.output_modalities) == (("text",), ("image",))
    assert model.modality == "text->image"
    assert model.capabilities["image_to_image"] is False
    assert model.resolutions == ("1024x1024", "1376x768", "1184x896")
    assert model.count_rule == CountRule(1, 4)
    assert model.prices.per_image == {"1024*1024": 0.005, "1376*768": 0.005}
    assert model.price_bounds("1024x1024") == (0.005, 0.005)
    assert (model.tags, model.icon_url) == (("text-to-image", "prunaai", "wavespeed"), "/icons/PrunaAI.svg")
    assert model.raw_parameters["max_images"] == 4
    assert model.extra == {}


def test_an_odd_record_of_image_models() -> None:
    """Milliseconds, decimal text, nulls, a trailing space and an unknown key do no harm."""
    model = legacy().listing()[1]
    assert (model.name, model.created) == ("Quartet", datetime(2026, 5, 12, tzinfo=UTC))
    assert model.input_modalities == ("text",)
    assert model.prices.per_image == {"auto": 0.12}
    assert model.resolutions == ("1k", "2K", "auto_1.5K")
    assert model.parameters["rendering_speed"] == EnumSpec(("TURBO", "QUALITY"))
    assert model.count_rule == CountRule(4, 4, 4)
    assert (model.tags, model.icon_url) == ((), None)
    assert model.extra == {"sunset_at": "2027-01-01"}


def test_records_without_an_id_are_left_out_and_logged(caplog: pytest.LogCaptureFixture) -> None:
    """Null and nameless records do not spoil the listing; the log says how many there were."""
    with caplog.at_level(logging.WARNING, "nanogpt_images.catalog"):
        assert [model.id for model in legacy().listing()] == [
            "pruna-ai/p-image/text-to-image",
            "example/quartet",
            "gpt-image-2",
        ]
    assert "2 of 5 records" in caplog.text


def test_both_shapes_of_images_models_give_the_same_record() -> None:
    """The documented descriptors and the live flat lists yield one typed view."""
    documented = listed_models(sample("images-models.documented")).listing()[0]
    blank: dict[str, object] = {}
    assert attrs.evolve(documented, raw_parameters=blank) == attrs.evolve(
        live().listing()[0], raw_parameters=blank
    )
    assert documented.count_rule == CountRule(1, 4)
    assert documented.endpoints == "/api/v1/images/models/gpt-image-2/endpoints"


@pytest.mark.parametrize("detailed", [{}, {"object": "model", "created": 1778544000, "owned_by": "x"}])
def test_a_brief_record_is_a_full_model(detailed: dict[str, object]) -> None:
    """`detailed=false` may leave little more than the ID; everything else is then empty."""
    model = one(**detailed)
    assert (model.id, model.resolutions, model.prices, model.extra) == ("m", (), PriceTable(), {})
    assert not model.count_rule.stated


def test_a_bare_list_is_a_listing() -> None:
    """A listing without its envelope is read all the same."""
    assert [model.id for model in listed_models([{"id": "a"}]).listing()] == ["a"]


@pytest.mark.parametrize("body", [None, "<html>", 5, {}, {"data": None}, {"data": {}}, {"error": "down"}])
def test_a_body_without_a_list_is_an_error(body: object) -> None:
    """What is no listing says where the list is missed, shows the body, and that no money moved."""
    with pytest.raises(ResponseDecodeError) as caught:
        image_models(body)
    assert (caught.value.json_path, caught.value.charge) == ("$.data", Charge.NOT_SENT)
    assert "/api/v1/image-models" in str(caught.value)
    assert caught.value.excerpt
    with pytest.raises(ResponseDecodeError) as caught:
        decode_endpoints(body, "m")
    assert caught.value.json_path == "$.endpoints"


def test_documented_endpoints() -> None:
    """The documented endpoint metadata is read in full."""
    answer = decode_endpoints(sample("endpoints.documented"), "gpt-image-2")
    [endpoint] = answer.endpoints
    assert (answer.id, endpoint.provider_name, endpoint.provider_tag) == ("gpt-image-2", "OpenAI", None)
    assert endpoint.supported_parameters["n"] == RangeSpec(1, 4, 1)
    assert endpoint.count_rule == CountRule(1, 4)
    assert endpoint.pricing == (
        PriceLine(billable="output_image", unit="image", cost_usd=0.06551, resolution="1024x1024"),
    )
    assert endpoint.prices.lookup("1024*1024") == 0.06551
    assert endpoint.references is not None
    assert (endpoint.references.max_items, endpoint.references.max_bytes) == (4, 31457280)
    assert endpoint.extra == {}


def test_live_endpoints() -> None:
    """Public pricing fills what the lines leave out, other units stay lines, unknown keys stay reachable."""
    [endpoint] = decode_endpoints(sample("endpoints.live"), "krea-v2/turbo").endpoints
    assert endpoint.prices.per_image == {"1k": 0.03, "2k": 0.05}
    assert [(line.unit, line.cost_usd, line.currency) for line in endpoint.pricing] == [
        ("image", 0.03, "USD"),
        ("megapixel", 0.01, "USD"),
    ]
    assert endpoint.pricing[1].extra == {"note": "upscaled"}
    assert endpoint.extra["capabilities"] == {"image_generation": True}
    assert endpoint.references is not None
    assert (endpoint.references.max_items, endpoint.references.max_bytes) == (2, 10485760)


def test_wrapped_endpoints() -> None:
    """Endpoint metadata inside `data` is found; without an ID it is that of the model asked for."""
    assert decode_endpoints({"data": {"endpoints": []}}, "m").id == "m"


@pytest.mark.parametrize(
    ("pricing", "table"),
    [
        ({"per_image": {"1k": 0.1, "2k": "0.2", "4k": None, "8k": -1}}, PriceTable({"1k": 0.1, "2k": 0.2})),
        ({"per_image": "0.1", "currency": "EUR"}, PriceTable(flat_usd=0.1, currency="EUR")),
        (0.1, PriceTable(flat_usd=0.1)),
        ("0.1", PriceTable(flat_usd=0.1)),
        (
            [{"cost_usd": 0.1, "unit": "image"}, {"cost_usd": 0.2, "resolution": "2k"}],
            PriceTable({"2k": 0.2}, 0.1),
        ),
        (
            [{"cost_usd": 0.3, "resolution": "1k"}, {"cost_usd": 0.1, "resolution": "1k"}],
            PriceTable({"1k": 0.3}),
        ),
        ([{"cost_usd": 0.1, "billable": "input_image"}], PriceTable()),
        ([{"cost_usd": 0.1, "unit": "token"}], PriceTable()),
        ({"per_megapixel": 0.01}, PriceTable()),
        ([], PriceTable()),
        (None, PriceTable()),
        (True, PriceTable()),
    ],
)
def test_shapes_of_pricing(pricing: object, table: PriceTable) -> None:
    """Every shape of prices per image gives a table; of two prices for one resolution, the dearer."""
    assert read_prices(pricing) == table


SPEEDS = {"TURBO": {"1k": 0.03}, "QUALITY": {"1k": "0.09"}}
BY_SPEED = {
    "rendering_speed": {"TURBO": PriceTable({"1k": 0.03}), "QUALITY": PriceTable({"1k": 0.09})},
}


@pytest.mark.parametrize(
    ("pricing", "tables"),
    [
        ({"per_image": {"1k": 0.1}}, PriceTables()),
        ({"by_rendering_speed": SPEEDS}, PriceTables(tiers=BY_SPEED)),
        (
            {"by_rendering_speed": {name: {"per_image": table} for name, table in SPEEDS.items()}},
            PriceTables(tiers=BY_SPEED),
        ),
        (
            {"by_quality": {"high": 0.2, "low": None}},
            PriceTables(tiers={"quality": {"high": PriceTable(flat_usd=0.2)}}),
        ),
        ({"per_image": {"high": {"1k": 0.2}}}, PriceTables(tiers={"": {"high": PriceTable({"1k": 0.2})}})),
        ({"lora": {"per_image": {"1k": 0.02}}}, PriceTables(add_ons={"lora": PriceTable({"1k": 0.02})})),
        ({"odd": {"a": {"b": {"1k": 0.5}}}}, PriceTables(others={"odd": PriceTable({"1k": 0.5})})),
        ({"per_input_image": 0.01}, PriceTables(inputs=PriceTable(flat_usd=0.01))),
        ({"input_image": {"per_image": 0.01}}, PriceTables(inputs=PriceTable(flat_usd=0.01))),
        ({"extra_reference": {"1k": 0.01}}, PriceTables(inputs=PriceTable({"1k": 0.01}))),
        (
            {"per_image": 0.1, "by_rendering_speed": SPEEDS, "currency": "EUR"},
            PriceTables(
                tiers={
                    "rendering_speed": {
                        "TURBO": PriceTable({"1k": 0.03}, currency="EUR"),
                        "QUALITY": PriceTable({"1k": 0.09}, currency="EUR"),
                    }
                },
                currency="EUR",
            ),
        ),
        # Other units are kept apart: by the request and by the megapixel they can be counted, else only named.
        (
            {"per_megapixel": {"x": 0.01}, "per_token": {"x": 5}, "input_tokens": 5.0},
            PriceTables(
                megapixels={"": PriceTable({"x": 0.01})}, unpriced=frozenset({"per_token", "input_tokens"})
            ),
        ),
        ({"per_request": 0.01}, PriceTables(requests={"": PriceTable(flat_usd=0.01)})),
        ({"per_minute": 0.01, "max_tokens": 5}, PriceTables(unpriced=frozenset({"per_minute"}))),
        ({"hd": 0.02}, PriceTables(others={"hd": PriceTable(flat_usd=0.02)})),
        # Numbers that are not prices.
        ({"expires": 1_760_000_000, "odd": 0}, PriceTables()),
        ({"included_references": 2, "max_input_images": 4, "discount": {"percent": 20}}, PriceTables()),
        ({"by_rendering_speed": None, "lora": None, "odd": [1], "note": "x"}, PriceTables()),
        ({"lora": 0.02}, PriceTables(add_ons={"lora": PriceTable(flat_usd=0.02)})),
        ([{"cost_usd": 0.1, "billable": "input_image"}], PriceTables(inputs=PriceTable(flat_usd=0.1))),
        (
            [{"cost_usd": 0.1, "billable": "input_image", "unit": "token"}],
            PriceTables(unpriced=frozenset({"input_image per token"})),
        ),
        (
            [
                {"cost_usd": 0.1, "billable": "output_image", "unit": "request"},
                {"cost_usd": 0.2, "billable": "upscale", "unit": "megapixel"},
                {"cost_usd": 0.3, "billable": "moderation", "unit": "image"},
            ],
            PriceTables(
                requests={"": PriceTable(flat_usd=0.1)},
                megapixels={"upscale": PriceTable(flat_usd=0.2)},
                others={"moderation": PriceTable(flat_usd=0.3)},
            ),
        ),
        (
            [{"cost_usd": 0.1, "billable": "output_image", "rendering_speed": "QUALITY"}],
            PriceTables(tiers={"rendering_speed": {"QUALITY": PriceTable(flat_usd=0.1)}}),
        ),
        ([{"cost_usd": 0.1, "billable": "lora"}], PriceTables(add_ons={"lora": PriceTable(flat_usd=0.1)})),
    ],
)
def test_shapes_of_pricing_beside_the_price_per_image(pricing: object, tables: PriceTables) -> None:
    """Tiers, add-ons, input images and unknown tables are told apart, in every shape."""
    assert read_price_tables(pricing) == tables
    record = one(pricing=pricing)
    assert (record.price_tables, record.raw_pricing) == (tables, pricing)


def test_the_lines_of_a_tier_are_not_the_price_of_an_image() -> None:
    """An endpoint's lines for tiers stay out of the table for requests that name none."""
    lines = [
        {"billable": "output_image", "cost_usd": 0.03},
        {"billable": "output_image", "cost_usd": 0.09, "rendering_speed": "QUALITY"},
    ]
    [endpoint] = decode_endpoints({"endpoints": [{"pricing": lines}]}, "m").endpoints
    assert endpoint.prices == PriceTable(flat_usd=0.03)
    assert endpoint.price_tables.tiers["rendering_speed"]["QUALITY"].flat_usd == 0.09
    assert endpoint.raw_pricing == lines


def test_raw_pricing_of_both_listings_stays_reachable() -> None:
    """The joined view keeps what each listing says, and counts with the dearer price."""
    old, new = {"per_image": {"1k": 0.1}, "odd": 1}, {"per_image": {"1k": 0.3}}
    (model,) = join(
        image_models([{"id": "m", "pricing": old}]),
        listed_models([{"id": "m", "pricing": new}]),
    )
    assert model.raw_pricing == {"image-models": old, "images/models": new}
    assert model.price_bounds() == (0.3, 1.3)
    assert one(pricing=old, public_pricing=new).extra["public_pricing"] == new


def test_endpoint_metadata_adds_prices() -> None:
    """What only the endpoint metadata states, and what it states dearer, counts."""
    offers = decode_endpoints(
        {
            "endpoints": [
                {
                    "pricing": [
                        {"billable": "input_image", "cost_usd": 0.05},
                        {"cost_usd": 0.2, "resolution": "1k"},
                    ]
                }
            ]
        },
        "m",
    )
    model = with_offers(Model(id="m", prices=PriceTable({"1k": 0.1, "2k": 0.2})), offers)
    assert model.prices == PriceTable({"1k": 0.2, "2k": 0.2})
    assert model.price_tables.inputs == PriceTable(flat_usd=0.05)


@pytest.mark.parametrize(
    ("line", "high", "unpriced"),
    [
        ({"cost_usd": 0.2}, 0.2, frozenset[str]()),
        ({"cost_usd": 0.2, "rendering_speed": "TURBO"}, 0.2, frozenset[str]()),
        ({"cost_usd": 0.2, "rendering_speed": "QUALITY"}, 0.03, frozenset[str]()),
        ({"cost_usd": 9, "currency": "XNO"}, 0.03, frozenset({"prices in XNO"})),
    ],
)
def test_a_dearer_endpoint_counts_for_tiers(
    line: dict[str, object], high: float, unpriced: frozenset[str]
) -> None:
    """A price without a tier may be that of every tier, and one in another currency is named as unknown."""
    tiers = {"rendering_speed": {"TURBO": PriceTable({"1k": 0.03}), "QUALITY": PriceTable({"1k": 0.09})}}
    model = Model(id="m", prices=PriceTable({"1k": 0.03}), price_tables=PriceTables(tiers=tiers))
    priced = with_offers(
        model, decode_endpoints({"endpoints": [{"pricing": [{**line, "resolution": "1k"}]}]}, "m")
    )
    assert priced.price_tables.tiers["rendering_speed"]["TURBO"].lookup("1k") == high
    assert priced.price_tables.unpriced == unpriced


def test_public_pricing_stands_in_for_pricing() -> None:
    """A record without `pricing` takes its prices from `public_pricing`."""
    assert one(public_pricing={"per_image": {"1k": 0.1}}).prices.per_image == {"1k": 0.1}


def test_pricing_that_is_not_understood_stays_reachable() -> None:
    """Prices of another unit give no table, and are kept in `extra`."""
    model = one(pricing={"per_megapixel": 0.01})
    assert (bool(model.prices), model.extra) == (False, {"pricing": {"per_megapixel": 0.01}})


def test_order_and_origin_of_the_joined_view() -> None:
    """images/models goes first, then what image-models alone lists; each says where it stands."""
    assert [(model.id, model.listed_in) for model in join(legacy(), live())] == [
        ("gpt-image-2", ("image-models", "images/models")),
        ("krea-v2/turbo", ("images/models",)),
        ("pruna-ai/p-image/text-to-image", ("image-models",)),
        ("example/quartet", ("image-models",)),
    ]


def test_a_model_of_both_listings() -> None:
    """Each field comes from the listing that states it, and of two limits the stricter holds."""
    model = joined("gpt-image-2")
    assert model.prices.lookup("1024x768") == 0.05
    assert (model.tags, model.icon_url) == (("text-to-image",), "/icons/OpenAI.svg")
    assert model.qualities == ("low", "medium", "high")
    assert model.endpoints == "/api/v1/images/models/gpt-image-2/endpoints"
    assert model.count_rule == CountRule(1, 3)
    assert model.parameters["n"] == RangeSpec(1, 3, 1)
    assert model.references is not None
    assert model.references.max_items == 3


def test_a_model_of_one_listing() -> None:
    """A model that one listing lacks is a full model of what the other says."""
    record, model = legacy().listing()[1], joined("example/quartet")
    assert (model.count_rule, model.prices, model.parameters) == (
        record.count_rule,
        record.prices,
        record.parameters,
    )
    assert (model.endpoints, model.name) == (None, "Quartet")
    turbo = joined("krea-v2/turbo")
    assert turbo.prompt_limit is not None
    assert (turbo.prompt_limit.max_characters, turbo.prompt_limit.trim_whitespace) == (3000, True)


def test_a_fixed_count_and_a_range_come_from_different_listings() -> None:
    """Only image-models states fixed counts; it rules over the range of images/models."""
    old = image_models([{"id": "m", "supported_parameters": {"fixed_image_count": 4}}])
    new = listed_models([{"id": "m", "supported_parameters": {"n": {"type": "range", "min": 1, "max": 8}}}])
    [model] = join(old, new)
    assert model.count_rule == CountRule(4, 4, 4)
    assert "n" not in model.parameters


def test_one_listing_alone() -> None:
    """Either listing can be missing altogether."""
    assert len(join(legacy(), None)) == 3
    assert len(join(None, live())) == 2
    assert join(None, None) == ()


def test_a_model_is_decoded_when_it_is_asked_for() -> None:
    """One of a listing costs one record, the whole listing each once more, and both are always the same objects."""
    read: list[object] = []
    items = [{"id": f"m{number}"} for number in range(5)]

    def counted(item: object) -> ListedModel:
        read.append(item)
        (record,) = listed_models([item]).listing()
        return record

    joined = Joined(None, Records(items, {}, counted))
    assert joined.find("other") is None
    assert joined.find("m3") is joined.find("m3")
    assert read == [items[3]]
    assert joined.join_all()[3] is joined.find("m3")
    assert joined.join_all() is joined.join_all()
    assert len(read) == len(items)


def test_staleness_is_passed_on() -> None:
    """A model is stale exactly if a listing that holds it is."""
    models = join(legacy(), live().as_stale())
    assert [model.stale for model in models] == [True, True, False, False]


def test_the_first_of_two_records_with_one_id_counts() -> None:
    """IDs are unique in the joined view."""
    twice = listed_models([{"id": "m", "name": "first"}, {"id": "m", "name": "second"}])
    assert [model.name for model in join(None, twice)] == ["first"]


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner, max_size=4),
    max_leaves=12,
)
DESCRIPTOR_KEYS = ("type", "values", "min", "max", "minimum", "maximum", "default")
PARAMETERS = st.dictionaries(
    st.sampled_from(
        [
            "resolutions",
            "resolution",
            "n",
            "max_images",
            "fixed_image_count",
            "input_references",
            "max_input_images",
            "input_image_constraints",
            "max_prompt_characters",
            "prompt_length",
            "quality",
        ]
    ),
    JSON | st.dictionaries(st.sampled_from(DESCRIPTOR_KEYS), JSON),
    max_size=5,
)
RECORD_KEYS = [
    "name",
    "created",
    "owned_by",
    "architecture",
    "pricing",
    "public_pricing",
    "capabilities",
    "tags",
    "endpoints",
    "extra",
    "object",
]
RECORDS = st.builds(
    lambda known, parameters, model_id: {**known, "supported_parameters": parameters, "id": model_id},
    st.dictionaries(st.sampled_from(RECORD_KEYS), JSON, max_size=5),
    PARAMETERS | JSON,
    st.just("m") | JSON,
)


@given(st.lists(RECORDS | JSON, max_size=3), st.lists(RECORDS | JSON, max_size=3), JSON)
def test_any_records_can_be_decoded_and_joined(old: list[object], new: list[object], meta: object) -> None:
    """No record, however odd, raises anything; what has an ID is in the joined view."""
    models = join(image_models({"data": old, "meta": meta}), listed_models({"data": new, "meta": meta}))
    ids = [model.id for model in models]
    assert len(ids) == len(set(ids))
    assert ("m" in ids) == any(isinstance(item, dict) and item.get("id") == "m" for item in old + new)


@given(JSON | st.fixed_dictionaries({"endpoints": st.lists(RECORDS | JSON, max_size=3)}))
def test_any_body_is_decoded_or_refused(body: object) -> None:
    """An arbitrary body gives a typed answer or an error of the tree, nothing else."""
    with contextlib.suppress(ResponseDecodeError):
        image_models(body).listing()
    with contextlib.suppress(ResponseDecodeError):
        listed_models(body).listing()
    with contextlib.suppress(ResponseDecodeError):
        decode_endpoints(body, "m")
