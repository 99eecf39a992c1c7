"""Tolerant scalars: what each makes of any JSON value."""

from __future__ import annotations

from datetime import UTC, datetime

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nanogpt_images.wire import convert as _convert
from nanogpt_images.wire.convert import Json, structure

SCALARS = st.none() | st.booleans() | st.integers() | st.floats() | st.text()
JSON = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4)
)
MAY_2026 = datetime(2026, 5, 12, tzinfo=UTC)


@pytest.mark.parametrize(
    ("value", "usd"),
    [
        (0.005, 0.005),
        (0, 0.0),
        ("0.0714", 0.0714),
        (" 1 ", 1.0),
        (-0.5, None),
        ("-1", None),
        (float("nan"), None),
        ("nan", None),
        (float("inf"), None),
        ("1e999", None),
        (1e9, 1e9),
        (1e9 + 1, None),
        ("2e9", None),
        (10**400, None),
        (True, None),
        (None, None),
        ("free", None),
        ([0.5], None),
    ],
)
def test_money(value: object, usd: float | None) -> None:
    """Money may be a decimal string; negative, absurd and other values are no money."""
    assert _convert.as_usd(value) == usd


@pytest.mark.parametrize(
    ("value", "time"),
    [
        (1778544000, MAY_2026),
        (1778544000000, MAY_2026),
        ("1778544000", MAY_2026),
        ("2026-05-12T00:00:00.000Z", MAY_2026),
        ("2026-05-12T02:00:00+02:00", MAY_2026),
        ("2026-05-12", MAY_2026),
        (0, None),
        (-5, None),
        (1e30, None),
        (float("nan"), None),
        ("yesterday", None),
        ("0001-01-01T00:00:00+14:00", None),
        (True, None),
        (None, None),
        ({}, None),
    ],
)
def test_times(value: object, time: datetime | None) -> None:
    """A time may be in seconds, in milliseconds or ISO text, and is always in UTC."""
    assert _convert.as_time(value) == time


@pytest.mark.parametrize(
    ("value", "number"),
    [(4, 4), (4.0, 4), ("4", 4), ("4.0", 4), (4.5, None), (True, None), ("", None), (10**400, 10**400)],
)
def test_whole_numbers(value: object, number: int | None) -> None:
    """Whole numbers may come as floats or text; a fraction is none."""
    assert _convert.as_int(value) == number


@pytest.mark.parametrize(
    ("value", "flag"),
    [(True, True), ("false", False), (1, True), (0, False), (2, None), ("maybe", None), (None, None)],
)
def test_flags(value: object, flag: bool | None) -> None:
    """Booleans may come as text, 0 or 1."""
    assert _convert.as_flag(value) is flag


@pytest.mark.parametrize(
    ("value", "texts"),
    [
        (["1k", None, "2K", {}, 4], ("1k", "2K", "4")),
        (["1k", "2K"], ("1k", "2K")),
        (["1k", "  "], ("1k",)),
        ("1k", ("1k",)),
        (None, ()),
        ({"a": 1}, ()),
        ([], ()),
    ],
)
def test_lists_of_texts(value: object, texts: tuple[str, ...]) -> None:
    """Nulls and objects fall out of a list, tokens stay verbatim, numbers become text."""
    assert _convert.as_texts(value) == texts


@attrs.define(kw_only=True)
class Wire:
    id: str | None = None
    name: str = ""
    flag: bool = False
    limit: int | None = None
    cost: float | None = None
    created: datetime | None = None
    tags: tuple[str, ...] = ()
    table: Json = attrs.field(factory=dict)
    lines: tuple[Json, ...] = ()
    anything: object = None
    extra: Json = attrs.field(factory=dict)


def test_unknown_keys_are_kept() -> None:
    """Keys that a wire class does not name are gathered in `extra`, one called `extra` too."""
    record = structure({"id": "m", "anything": [1], "new": {"a": 1}, "extra": 5}, Wire)
    assert record == Wire(id="m", anything=[1], extra={"new": {"a": 1}, "extra": 5})


def test_one_odd_field_leaves_the_others() -> None:
    """A field of the wrong kind counts as absent; the rest of the record is read."""
    odd = {
        "id": "m",
        "name": None,
        "flag": [],
        "limit": "x",
        "cost": {},
        "created": "?",
        "tags": 5.5,
        "table": [],
    }
    assert structure({**odd, "lines": [None, {"a": 1}]}, Wire) == Wire(
        id="m", tags=("5.5",), lines=({"a": 1},)
    )


@given(JSON | st.fixed_dictionaries({}, optional={field.name: JSON for field in attrs.fields(Wire)}))
def test_any_json_can_be_structured(value: object) -> None:
    """No JSON value makes the converter raise."""
    assert isinstance(structure(value, Wire), Wire)


@given(JSON, st.integers(min_value=10, max_value=300))
def test_excerpts_are_short(value: object, limit: int) -> None:
    """An excerpt never exceeds its limit, whatever the body."""
    assert len(_convert.shorten(value, limit)) <= limit
