"""What a request may cost."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nanogpt_images.batch.planning.pricing import Price, unit_price
from nanogpt_images.batch.rows import BatchRow
from nanogpt_images.errors import ParameterError
from nanogpt_images.resources.prices.pricing import price_of
from nanogpt_images.types.model import Model
from nanogpt_images.types.parameters import CountRule, EnumSpec, RangeSpec
from nanogpt_images.types.prices import PriceTable, PriceTables
from nanogpt_images.types.request import GenerateRequest, ImageRequest, OpenAIRequest
from nanogpt_images.wire.catalog.listings import image_models

TABLE = PriceTable({"1024*1024": 0.02, "2k": 0.05, "512x512": 0.01})
MODEL = Model(id="m", prices=TABLE, parameters={"resolution": EnumSpec(("1024x1024", "512x512", "2k"))})
NANO = 1_000_000


def priced(model: Model, images: int = 1, **parameters: object) -> Price | None:
    return unit_price(model, BatchRow("a", model.id, **parameters), images)


@pytest.mark.parametrize(
    "parameters",
    [
        {"resolution": "1024x1024"},
        {"resolution": "1024*1024"},
        {"route": "openai", "size": "1024x1024"},
        {"resolution": "1024x1024", "size": "1024*1024"},
    ],
)
def test_a_stated_resolution_has_one_price(parameters: dict[str, object]) -> None:
    """The resolution, by the field of the row's route and in any spelling, decides the price of every image."""
    assert priced(MODEL, 3, **parameters) == Price(
        low_nano=60 * NANO, expected_nano=60 * NANO, high_nano=60 * NANO
    )


def test_an_unknown_resolution_may_cost_as_much_as_the_dearest() -> None:
    """A resolution without a price spans the table, and the dearest is expected."""
    assert priced(MODEL, resolution="8k") == Price(
        low_nano=10 * NANO, expected_nano=50 * NANO, high_nano=50 * NANO
    )


def test_without_a_resolution_the_first_listed_one_is_expected() -> None:
    """The budget reserves the dearest all the same."""
    assert priced(MODEL) == Price(low_nano=10 * NANO, expected_nano=20 * NANO, high_nano=50 * NANO)


def test_a_stated_default_resolution_decides_the_price() -> None:
    """Where the catalogue states what is taken when none is sent, its price is the price."""
    model = Model(id="m", prices=TABLE, parameters={"resolution": EnumSpec(("512x512", "2k"), "2k")})
    assert priced(model) == Price(low_nano=50 * NANO, expected_nano=50 * NANO, high_nano=50 * NANO)


@pytest.mark.parametrize("prices", [PriceTable(), PriceTable({"1024x1024": 0.02}, currency="XNO")])
def test_no_price_in_usd_is_no_price(prices: PriceTable) -> None:
    """Without a price in USD there is none, unless the caller assumes one."""
    model = Model(id="m", prices=prices)
    row = BatchRow("a", "m", resolution="1024x1024")
    assert unit_price(model, row, 2) is None
    assert unit_price(model, row, 2, 0.03) == Price(
        low_nano=60 * NANO, expected_nano=60 * NANO, high_nano=60 * NANO
    )


def test_a_known_price_wins_over_an_assumed_one() -> None:
    """The assumption fills gaps only."""
    row = BatchRow("a", "m", resolution="2k")
    price = unit_price(MODEL, row, 1, 9.0)
    assert price is not None
    assert price.high_nano == 50 * NANO


def test_an_impossible_assumption_is_refused() -> None:
    """A negative assumed price raises a ParameterError."""
    with pytest.raises(ParameterError):
        unit_price(Model(id="m"), BatchRow("a", "m"), 1, -1.0)


@pytest.mark.parametrize(
    ("parameters", "expected", "high"),
    [
        # The field of the other route may be read or not; the documented one, or the default, is expected.
        ({"size": "512x512"}, 20, 50),
        ({"size": "2k"}, 20, 50),
        ({"resolution": "512x512", "size": "2k"}, 10, 50),
        ({"resolution": "512x512", "size": "4096x4096"}, 10, 50),
        ({"route": "openai", "size": "512x512", "resolution": "2k"}, 10, 50),
        ({"route": "openai", "size": "2k", "resolution": "512x512"}, 50, 50),
        ({"route": "openai", "resolution": "2k"}, 20, 50),
        ({"resolution": "512x512", "imageSize": "2k"}, 10, 50),
        ({"resolution": "512x512", "image_size": {"width": 1024, "height": 1024}}, 10, 50),
        ({"resolution": "512x512", "width": 1024, "height": 1024}, 10, 20),
        ({"resolution": "512x512", "quality": "2k"}, 10, 50),
        # These mean something else, whatever their values.
        ({"resolution": "512x512", "user": "2k", "negative_prompt": "2k", "seed": 2}, 10, 10),
    ],
)
def test_an_ambiguous_resolution_counts_as_the_dearest(
    parameters: dict[str, object], expected: int, high: int
) -> None:
    """Of all fields that may name the resolution the dearest is reserved, and the route's own is expected."""
    price = priced(MODEL, **parameters)
    assert price is not None
    assert (price.expected_nano, price.high_nano) == (expected * NANO, high * NANO)


SPEEDS = {
    "TURBO": PriceTable({"1k": 0.02, "2k": 0.04}),
    "DEFAULT": PriceTable({"1k": 0.03, "2k": 0.06}),
    "QUALITY": PriceTable({"1k": 0.09, "2k": 0.18}),
}
LORA = {"lora": PriceTable({"1k": 0.01, "2k": 0.03})}


def tiered(default: str | None = None, **tables: object) -> Model:
    specs = {
        "resolution": EnumSpec(("1k", "2k"), "1k"),
        "rendering_speed": EnumSpec(tuple(SPEEDS), default),
    }
    base = PriceTable({"1k": 0.02, "2k": 0.04})
    return Model(id="m", prices=base, price_tables=PriceTables(**tables), parameters=specs)


BY_SPEED = tiered(tiers={"rendering_speed": SPEEDS})
BY_ANY = tiered(tiers={"": SPEEDS})


@pytest.mark.parametrize(
    ("model", "parameters", "numbers"),
    [
        (BY_SPEED, {"rendering_speed": "QUALITY"}, (90, 90, 90)),
        (BY_SPEED, {"rendering_speed": "TURBO"}, (20, 20, 20)),
        (BY_SPEED, {"rendering_speed": "QUALITY", "resolution": "2k"}, (180, 180, 180)),
        (BY_SPEED, {"extra": {"rendering_speed": "QUALITY"}}, (90, 90, 90)),
        (BY_SPEED, {"renderingSpeed": "QUALITY"}, (90, 90, 90)),
        (BY_SPEED, {}, (20, 90, 90)),
        (BY_SPEED, {"resolution": "2k"}, (40, 180, 180)),
        # Not exactly as listed: the service may take it, or its default.
        (BY_SPEED, {"rendering_speed": "quality"}, (20, 90, 90)),
        (BY_SPEED, {"rendering_speed": "TURBO", "renderingSpeed": "QUALITY"}, (20, 90, 90)),
        (tiered("DEFAULT", tiers={"rendering_speed": SPEEDS}), {}, (20, 30, 90)),
        (BY_ANY, {"quality": "QUALITY"}, (90, 90, 90)),
        (BY_ANY, {"speed": "TURBO"}, (20, 20, 20)),
        (BY_ANY, {}, (20, 90, 90)),
        (tiered(add_ons=LORA), {}, (20, 20, 20)),
        (tiered(add_ons=LORA), {"lora": "x"}, (10, 30, 30)),
        (tiered(add_ons=LORA), {"lora": None}, (20, 20, 20)),
        (tiered(add_ons=LORA), {"loras": []}, (20, 20, 20)),
        (tiered(add_ons=LORA), {"flux_lora_url": "x", "resolution": "2k"}, (30, 70, 70)),
        (tiered(others={"mystery": PriceTable({"9k": 0.5})}), {}, (20, 20, 520)),
        (tiered(others={"mystery": PriceTable({"1k": 0.001})}), {}, (20, 20, 21)),
        (tiered(others={"mystery": PriceTable({"1k": 0.5})}), {"mystery": True}, (20, 20, 520)),
        (tiered(inputs=PriceTable(flat_usd=0.05)), {}, (20, 20, 20)),
        (tiered(inputs=PriceTable(flat_usd=0.05)), {"input_references": ["a", "b"]}, (120, 120, 120)),
        (tiered(inputs=PriceTable({"1k": 0.01, "2k": 0.05})), {"input_references": ["a"]}, (30, 30, 70)),
        (tiered(inputs=PriceTable(flat_usd=0.05)), {"imageDataUrls": ["a", "b"]}, (120, 120, 120)),
        (tiered(inputs=PriceTable(flat_usd=0.05)), {"image_url": "a"}, (70, 70, 70)),
        (
            tiered(inputs=PriceTable(flat_usd=0.05)),
            {"route": "openai", "image_data_url": "a", "mask_data_url": "b"},
            (70, 70, 120),
        ),
    ],
)
def test_every_shape_of_price_counts(
    model: Model, parameters: dict[str, object], numbers: tuple[int, int, int]
) -> None:
    """The tier, the add-on and the input images that a row names are in its price; where it names none, the dearest."""
    price = priced(model, **parameters)
    assert price is not None
    low, expected, high = numbers
    assert (price.low_nano, price.expected_nano, price.high_nano) == (
        low * NANO,
        expected * NANO,
        high * NANO,
    )


def test_input_images_are_charged_once_for_each_request() -> None:
    """Seven images in two requests cost the input images twice."""
    model = tiered(inputs=PriceTable(flat_usd=0.05))
    price = unit_price(model, BatchRow("a", "m", input_references=["x"]), 7, requests=2)
    assert price is not None
    assert price.high_nano == (7 * 20 + 2 * 50) * NANO


def generate(**fields: object) -> GenerateRequest:
    return GenerateRequest(model="m", prompt="a", **fields)


@pytest.mark.parametrize(
    ("rule", "default", "request_", "low", "high"),
    [
        (CountRule(1, 4), None, generate(), 1, 1),
        (CountRule(1, 4), None, generate(n=3), 3, 3),
        (CountRule(1, 4), None, generate(extra={"n": 4}), 4, 4),
        (CountRule(1, 4), None, generate(n=1, extra={"nImages": 4}), 4, 4),
        (CountRule(1, 4), None, generate(n=4, extra={"nImages": 1}), 1, 4),
        (CountRule(1, 4), None, generate(n="4"), 4, 4),
        (CountRule(1, 4), None, generate(n="many"), 1, 1),
        (CountRule(2, 4), None, generate(), 2, 2),
        (CountRule(1, 4), 3, generate(), 1, 3),
        (CountRule(4, 4, 4), None, generate(), 4, 4),
        (CountRule(4, 4, 4), None, generate(n=2), 4, 4),
        (CountRule(stated=False), None, OpenAIRequest(prompt="a", model="m", n=4), 4, 4),
    ],
)
def test_the_images_of_a_request_follow_its_count(
    rule: CountRule, default: int | None, request_: ImageRequest, low: int, high: int
) -> None:
    """`nImages` goes before `n`, text counts as its number, and of two counts the greater is reserved."""
    model = Model(
        id="m",
        prices=PriceTable(flat_usd=0.001),
        count_rule=rule,
        parameters={"n": RangeSpec(1, 4, default)},
    )
    price = price_of(model, request_)
    assert price is not None
    assert (price.low_nano, price.high_nano) == (low * NANO, high * NANO)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-10, 10**12) | st.floats() | st.text(max_size=4),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                [
                    "per_image",
                    "by_rendering_speed",
                    "by_quality",
                    "lora",
                    "input_image",
                    "currency",
                    "1k",
                    "odd",
                ]
            )
            | st.text(max_size=4),
            inner,
            max_size=4,
        )
    ),
    max_leaves=12,
)


@given(pricing=JSON, body=st.dictionaries(st.text(max_size=8), JSON, max_size=4))
def test_any_pricing_gives_a_price_or_none(pricing: object, body: dict[str, object]) -> None:
    """No shape of `pricing`, and no field of a request, raises; the raw value stays; low <= expected <= high."""
    (record,) = image_models([{"id": "m", "pricing": pricing}]).listing()
    assert record.raw_pricing is pricing
    price = price_of(record, generate(extra=body, n=2))
    if price is not None:
        assert 0 <= price.low_nano <= price.expected_nano <= price.high_nano
        bounds = record.price_bounds()
        assert bounds is not None


@pytest.mark.parametrize("name", ["resolution", "size", "rendering_speed", "width", "anything"])
def test_a_number_that_python_does_not_print_is_no_token(name: str) -> None:
    """A whole number of 5,000 digits raises nothing here; it is refused where the body is written."""
    price = price_of(BY_SPEED, generate(extra={name: 10**5000, "height": 10**5000}))
    assert price is not None
    assert price.high_nano >= 90 * NANO
