"""Prices by resolution."""

from __future__ import annotations

import pickle

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nanogpt_images import EnumSpec, Model, PriceTable
from nanogpt_images.prices import normalise_token

TABLE = PriceTable({"1024*1024": 0.005, "2K": 0.02, "auto": 0.01})


@pytest.mark.parametrize(
    ("token", "normal"),
    [
        ("1024x1024", "1024x1024"),
        ("1024*1024", "1024x1024"),
        (" 1024 X 1024 ", "1024x1024"),
        ("1024\u00d71024", "1024x1024"),
        ("2K", "2k"),
        ("auto_1.5K", "auto_1.5k"),
        ("16:9", "16:9"),
        ("4", "4"),
        ("xx", "xx"),
    ],
)
def test_spellings_of_one_size_are_one(token: str, normal: str) -> None:
    """Sizes compare without regard to the sign between them, to case and to spaces."""
    assert normalise_token(token) == normal


@given(st.text())
def test_normalising_twice_changes_nothing(token: str) -> None:
    """A normal spelling is its own."""
    assert normalise_token(normalise_token(token)) == normalise_token(token)


@pytest.mark.parametrize(
    ("table", "resolution", "usd", "bounds"),
    [
        (TABLE, "1024x1024", 0.005, (0.005, 0.005)),
        (TABLE, "2k", 0.02, (0.02, 0.02)),
        (TABLE, "auto", 0.01, (0.01, 0.01)),
        (TABLE, "512x512", None, (0.005, 0.02)),
        (TABLE, None, None, (0.005, 0.02)),
        (PriceTable(flat_usd=0.5), "any", 0.5, (0.5, 0.5)),
        (PriceTable(flat_usd=0.5), None, 0.5, (0.5, 0.5)),
        (PriceTable({"1k": 0.1}, flat_usd=0.5), "1k", 0.1, (0.1, 0.1)),
        (PriceTable({"1k": 0.1}, flat_usd=0.5), "2k", 0.5, (0.5, 0.5)),
        (PriceTable(), "1k", None, None),
        (PriceTable({"free": 0.0}), "free", 0.0, (0.0, 0.0)),
        (PriceTable({"1024x1024": 0.1, "1024*1024": 0.3}), "1024x1024", 0.3, (0.3, 0.3)),
        (PriceTable({"1024*1024": 0.3, "1024x1024": 0.1}), "1024x1024", 0.3, (0.3, 0.3)),
    ],
)
def test_a_price_is_looked_up(
    table: PriceTable, resolution: str | None, usd: float | None, bounds: tuple[float, float] | None
) -> None:
    """A stated price is exact, the dearer of two spellings counts, and otherwise the whole table bounds it."""
    assert table.lookup(resolution) == usd
    assert table.bounds(resolution) == bounds


@pytest.mark.parametrize(
    ("table", "known"), [(PriceTable(), False), (TABLE, True), (PriceTable(flat_usd=0.0), True)]
)
def test_an_empty_table_is_false(table: PriceTable, known: bool) -> None:
    """A table is true where it states any price, a price of zero included."""
    assert bool(table) is known


def test_a_table_crosses_process_borders() -> None:
    """A pickled table still looks prices up."""
    again = pickle.loads(pickle.dumps(TABLE))
    assert again == TABLE
    assert again.lookup("1024x1024") == 0.005


@pytest.mark.parametrize(
    ("spec", "asked", "bounds"),
    [
        (EnumSpec(("auto", "2K"), "auto"), None, (0.01, 0.01)),
        (EnumSpec(("2K",)), None, (0.02, 0.02)),
        (EnumSpec(("2K", "auto")), None, (0.005, 0.02)),
        (EnumSpec(("auto", "2K"), "auto"), "2k", (0.02, 0.02)),
        (None, None, (0.005, 0.02)),
    ],
)
def test_a_model_counts_with_its_default_resolution(
    spec: EnumSpec | None, asked: str | None, bounds: tuple[float, float]
) -> None:
    """Where no resolution is asked for, the stated default or the only one gives the price."""
    model = Model(id="m", prices=TABLE, parameters={"resolution": spec} if spec else {})
    assert model.price_bounds(asked) == bounds
