"""What a request may cost."""

import pytest

from nanogpt_images.batch.pricing import Price, unit_price
from nanogpt_images.batch.rows import BatchRow
from nanogpt_images.errors import ParameterError
from nanogpt_images.models import Model
from nanogpt_images.parameters import EnumSpec
from nanogpt_images.prices import PriceTable

TABLE = PriceTable({"1024*1024": 0.02, "2k": 0.05, "512x512": 0.01})
MODEL = Model(id="m", prices=TABLE, parameters={"resolution": EnumSpec(("1024x1024", "512x512", "2k"))})
NANO = 1_000_000


def priced(model: Model, images: int = 1, **parameters: object) -> Price | None:
    return unit_price(model, BatchRow("a", model.id, **parameters), images)


@pytest.mark.parametrize(
    "parameters", [{"resolution": "1024x1024"}, {"size": "1024x1024"}, {"size": "1024*1024"}]
)
def test_a_stated_resolution_has_one_price(parameters: dict[str, object]) -> None:
    """The resolution, by either route's name and any spelling, decides the price of every image."""
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
