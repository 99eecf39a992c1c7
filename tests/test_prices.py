"""Prices by resolution: spellings of a size, what is stated and what is only bounded."""

from __future__ import annotations

import pickle

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nanogpt_images.prices import PriceTable, normalise_token

TABLE = PriceTable({"1024x1024": 0.04, "2048*2048": 0.10, "auto": 0.06})


@pytest.mark.parametrize(
    ("token", "expected"),
    [
        ("1024x1024", "1024x1024"),
        ("1024*1024", "1024x1024"),
        ("1024X1024", "1024x1024"),
        ("1024×1024", "1024x1024"),  # noqa: RUF001 - the multiplication sign is the case
        (" 1024 x 1024 ", "1024x1024"),
        ("2K", "2k"),
        ("auto_1.5K", "auto_1.5k"),
        ("16:9", "16:9"),
        ("1024x", "1024x"),
        ("", ""),
    ],
)
def test_spellings_of_a_size_are_one(token: str, expected: str) -> None:
    """Separators, case and spaces do not tell sizes apart; other tokens only lose their case."""
    assert normalise_token(token) == expected


@given(st.text(max_size=20))
def test_normalising_twice_changes_nothing(token: str) -> None:
    """A normal token is its own normal form."""
    assert normalise_token(normalise_token(token)) == normalise_token(token)


@pytest.mark.parametrize(
    ("table", "resolution", "price", "bounds"),
    [
        (TABLE, "1024*1024", 0.04, (0.04, 0.04)),
        (TABLE, "2048x2048", 0.10, (0.10, 0.10)),
        (TABLE, "AUTO", 0.06, (0.06, 0.06)),
        (TABLE, "512x512", None, (0.04, 0.10)),
        (TABLE, None, None, (0.04, 0.10)),
        (PriceTable(flat_usd=0.02), "512x512", 0.02, (0.02, 0.02)),
        (PriceTable(flat_usd=0.02), None, 0.02, (0.02, 0.02)),
        (PriceTable({"1k": 0.05}, flat_usd=0.02), "1K", 0.05, (0.05, 0.05)),
        (PriceTable({"1k": 0.05}, flat_usd=0.02), "2k", 0.02, (0.02, 0.02)),
        (PriceTable({"1k": 0.0}), "1k", 0.0, (0.0, 0.0)),
        (PriceTable(), "1k", None, None),
    ],
)
def test_a_price_is_stated_or_bounded(
    table: PriceTable, resolution: str | None, price: float | None, bounds: tuple[float, float] | None
) -> None:
    """A stated resolution has its price, another one the flat price, or else the span of the table."""
    assert (table.lookup(resolution), table.bounds(resolution)) == (price, bounds)


@pytest.mark.parametrize("spellings", [("1024x1024", "1024*1024"), ("1024*1024", "1024x1024")])
def test_two_prices_of_one_size_count_as_the_dearer(spellings: tuple[str, str]) -> None:
    """A budget must not count with the cheaper of two spellings, in whichever order they are listed."""
    table = PriceTable(dict(zip(spellings, (0.04, 0.09), strict=True)))
    assert [table.lookup(token) for token in spellings] == [0.09, 0.09]


def test_a_table_is_true_where_it_knows_a_price() -> None:
    """A free model has a price; an empty table has none."""
    assert PriceTable(flat_usd=0.0)
    assert PriceTable({"1k": 0.0})
    assert not PriceTable()


def test_a_table_crosses_process_borders() -> None:
    """A pickled table still looks prices up."""
    copy = pickle.loads(pickle.dumps(TABLE))
    assert copy == TABLE
    assert copy.lookup("2048x2048") == 0.10
