"""Answers of success whose images are cut out already."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st
from multidict import CIMultiDict

from nanogpt_images.types.prices import Cost
from nanogpt_images.wire.answers import Answer, AnswerEntry, decode_answer


def decode(body: object, received: tuple[int, ...] = (), **headers: str) -> Answer:
    spelt = CIMultiDict({name.replace("_", "-"): value for name, value in headers.items()})
    return decode_answer(json.dumps(body).encode(), spelt, received)


def test_the_documented_body() -> None:
    """Every documented field is read."""
    answer = decode(
        {
            "created": 1_790_000_000,
            "data": [{"b64_json": True}, {"url": "https://files.example/x.png?sig=1"}],
            "cost": 0.014,
            "paymentSource": "USD",
            "remainingBalance": 12.5,
        },
        (0,),
    )
    assert answer == Answer(
        entries=(AnswerEntry(index=0), AnswerEntry(index=1, url="https://files.example/x.png?sig=1")),
        created=datetime.fromtimestamp(1_790_000_000, UTC),
        cost_usd=0.014,
        payment_source="USD",
        remaining_balance=12.5,
    )


@pytest.mark.parametrize(
    ("body", "headers", "cost_usd", "cost"),
    [
        ({"cost": 0.5, "paymentSource": "XNO"}, {}, None, Cost(0.5, "XNO")),
        ({"cost": "0.5", "currency": "XNO"}, {}, None, Cost(0.5, "XNO")),
        ({"cost": 0.5, "currency": "XNO", "paymentSource": "USD"}, {}, None, Cost(0.5, "XNO")),
        ({"cost": 0.5, "currency": "USD", "paymentSource": "XNO"}, {}, None, Cost(0.5, "XNO")),
        ({"paymentSource": "XNO"}, {"x_nano_cost": "0.5"}, None, Cost(0.5, "XNO")),
        ({"paymentSource": "XNO"}, {}, None, None),
        ({"cost": 0, "paymentSource": "subscription"}, {}, 0.0, Cost(0.0, "subscription")),
        ({"cost": 0.5, "paymentSource": "usd", "currency": " USD "}, {}, 0.5, Cost(0.5)),
        ({"cost": 0.5, "paymentSource": None, "currency": 7}, {}, None, Cost(0.5, "7")),
        ({"cost": 0.5}, {}, 0.5, Cost(0.5)),
    ],
)
def test_a_cost_in_another_currency_is_not_one_in_usd(
    body: Mapping[str, object], headers: Mapping[str, str], cost_usd: float | None, cost: Cost | None
) -> None:
    """Where the currency or the source of the payment is not USD, the amount is kept as it came."""
    answer = decode(body, **headers)
    assert (answer.cost_usd, answer.cost) == (cost_usd, cost)


@pytest.mark.parametrize(
    ("body", "headers", "cost_usd", "balance"),
    [
        ({"cost": "0.0714", "remainingBalance": "9.9286"}, {}, 0.0714, 9.9286),
        ({}, {"x_cost": "0.5", "x_remaining_balance": "7"}, 0.5, 7.0),
        ({}, {"X_Nano_Cost": "0.25"}, 0.25, None),
        ({"cost": 0.1}, {"x_cost": "0.5"}, 0.1, None),
        ({"cost": None}, {"x_cost": "0.5"}, 0.5, None),
        ({"cost": 0}, {"x_cost": "0.5"}, 0.0, None),
        ({"cost": -1, "remainingBalance": "lots"}, {}, None, None),
        ({}, {"x_cost": "free", "x_nano_cost": "0.1"}, 0.1, None),
        ({}, {}, None, None),
    ],
)
def test_money_wherever_it_stands(
    body: Mapping[str, object], headers: Mapping[str, str], cost_usd: float | None, balance: float | None
) -> None:
    """The body goes before the headers, text counts as a number, and nonsense as missing."""
    answer = decode(body, **headers)
    assert (answer.cost_usd, answer.remaining_balance) == (cost_usd, balance)


@pytest.mark.parametrize(
    ("data", "received", "entries"),
    [
        ([], (), ()),
        (None, (), ()),
        ("text", (), ()),
        ({"url": "u"}, (), ()),
        ([None, {}, 7, [], {"url": ""}, {"url": None}, {"url": 3}], (), ((6, "3"),)),
        ([{"url": "u"}, None, {"url": "v"}], (), ((0, "u"), (2, "v"))),
        ([{"b64_json": True, "url": "u"}], (0,), ((0, None),)),
        ([{"b64_json": ""}, {"b64_json": None, "url": "u"}], (), ((1, "u"),)),
        ([{}, {"b64_json": True}], (1,), ((1, None),)),
    ],
)
def test_entries_with_an_image_are_kept(data: object, received: tuple[int, ...], entries: tuple) -> None:
    """An entry counts where it has received bytes or a URL, under its own index; bytes go before a URL."""
    answer = decode({"data": data}, received)
    assert tuple((entry.index, entry.url) for entry in answer.entries) == entries


def test_unknown_keys_are_kept() -> None:
    """What else the answer or an entry says is reachable."""
    answer = decode({"data": [{"url": "u", "revised_prompt": "fox"}], "usage": {"steps": 4}}, ())
    assert answer.extra == {"usage": {"steps": 4}}
    assert answer.entries[0].extra == {"revised_prompt": "fox"}


def test_the_request_id_is_found() -> None:
    """The header goes before `requestId` of the body."""
    assert decode({"requestId": "b"}).request_id == "b"
    assert decode({"requestId": "b"}, x_request_id="h").request_id == "h"


FIELDS = ("data", "url", "b64_json", "cost", "created", "remainingBalance", "paymentSource", "requestId")
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(FIELDS) | st.text(), inner),
    max_leaves=12,
)


@given(JSON, st.sets(st.integers(0, 3)))
def test_nothing_in_an_answer_makes_it_fail(body: object, received: set[int]) -> None:
    """Any JSON at all is an answer, if perhaps one without images."""
    decode(body, tuple(received))


@pytest.mark.parametrize("rest", [b"", b"{", b"<html>", b"\xff\xfe"])
def test_what_is_not_json_is_refused(rest: bytes) -> None:
    """A rest that is no JSON raises, for the caller to say what it means."""
    with pytest.raises(ValueError):  # noqa: PT011 - json's own error, whose text is not ours
        decode_answer(rest, CIMultiDict(), ())
