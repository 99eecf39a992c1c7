"""Prices by resolution."""

from __future__ import annotations

import pickle

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nanogpt_images import EnumSpec, Model, PriceTable
from nanogpt_images.types.prices import PriceTables, dearer, dearer_tables, normalise_token

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
        (EnumSpec(("auto", "2K"), "auto"), None, (0.005, 0.02)),
        (EnumSpec(("2K",)), None, (0.005, 0.02)),
        (EnumSpec(("2K", "auto")), None, (0.005, 0.02)),
        (EnumSpec(("auto", "2K"), "auto"), "2k", (0.02, 0.02)),
        (None, None, (0.005, 0.02)),
    ],
)
def test_the_bounds_of_a_model_span_all_resolutions(
    spec: EnumSpec | None, asked: str | None, bounds: tuple[float, float]
) -> None:
    """Where no resolution is named, the bounds are those of all of them, whatever the model's default."""
    model = Model(id="m", prices=TABLE, parameters={"resolution": spec} if spec else {})
    assert model.price_bounds(asked) == bounds


SPEEDS = {"rendering_speed": {"TURBO": PriceTable({"1k": 0.03}), "QUALITY": PriceTable({"1k": 0.09})}}


@pytest.mark.parametrize(
    ("tables", "asked", "bounds"),
    [
        (PriceTables(tiers=SPEEDS), None, (0.03, 0.09)),
        (PriceTables(tiers=SPEEDS), "1k", (0.03, 0.09)),
        (PriceTables(add_ons={"lora": PriceTable(flat_usd=0.02)}), "1k", (0.04, 0.06)),
        (PriceTables(others={"odd": PriceTable({"8k": 0.5})}), None, (0.04, 0.54)),
        (PriceTables(inputs=PriceTable(flat_usd=9.0)), None, (0.04, 0.04)),
    ],
)
def test_the_bounds_of_a_model_know_all_tables(
    tables: PriceTables, asked: str | None, bounds: tuple[float, float]
) -> None:
    """Tiers, add-ons and unknown tables raise the highest price of an image; input images are not one."""
    base = PriceTable({"1k": 0.04})
    assert Model(id="m", prices=base, price_tables=tables).price_bounds(asked) == bounds


def test_a_model_with_tiers_alone_has_a_price() -> None:
    """No price beside the tiers is needed."""
    assert Model(id="m", price_tables=PriceTables(tiers=SPEEDS)).price_bounds() == (0.03, 0.09)
    assert Model(id="m").price_bounds() is None


@pytest.mark.parametrize(
    ("one", "other", "joined"),
    [
        (PriceTable({"1k": 0.1}), PriceTable({"1K": 0.2, "2k": 0.3}), PriceTable({"1k": 0.2, "2k": 0.3})),
        (PriceTable({"1k": 0.1}), PriceTable(flat_usd=0.2), PriceTable({"1k": 0.2}, flat_usd=0.2)),
        (PriceTable({"1k": 0.1}), PriceTable(), PriceTable({"1k": 0.1})),
        (PriceTable({"1k": 0.1}), PriceTable({"1k": 9.0}, currency="XNO"), PriceTable({"1k": 0.1})),
    ],
)
def test_of_two_sources_the_dearer_price_counts(
    one: PriceTable, other: PriceTable, joined: PriceTable
) -> None:
    """Two sources make one table, and prices in two currencies are never compared."""
    assert dearer(one, other) == joined


def test_tables_of_two_sources_are_joined_by_name() -> None:
    """Tiers, add-ons and inputs of both count, each at its dearer price."""
    one = PriceTables(tiers=SPEEDS, inputs=PriceTable(flat_usd=0.1))
    other = PriceTables(
        tiers={"rendering_speed": {"QUALITY": PriceTable({"1k": 0.2})}}, inputs=PriceTable(flat_usd=0.05)
    )
    joined = dearer_tables(one, other)
    assert joined.tiers["rendering_speed"]["QUALITY"].lookup("1k") == 0.2
    assert joined.tiers["rendering_speed"]["TURBO"].lookup("1k") == 0.03
    assert joined.inputs.flat_usd == 0.1
