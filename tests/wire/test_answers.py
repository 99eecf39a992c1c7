"""Answers of success whose images are cut out already."""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping
from datetime import UTC, datetime
from urllib.parse import quote

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


URLS = ["https://files.example/0.png?sig=1", "https://files.example/1.png"]
ODD = {
    "emoji cut in two": (b"a \xf0\x9f\x98", "a \ufffd"),
    "Latin-1": (b"caf\xe9", "caf\ufffd"),
    "bare surrogate": (b"\xed\xa0\xbd", "\ufffd\ufffd\ufffd"),
    "newline": (b"a\nb", "a\nb"),
    "tab": (b"a\tb", "a\tb"),
    "NUL": (b"a\0b", "a\0b"),
    "unknown escape": (rb"a\qb", r"a\qb"),
    "short escape": (rb"a\u12", r"a\u12"),
    "escapes of both kinds": (rb"\\\"\x41\u0041\\", '\\"\\x41A\\'),
    "all": (b"\xf0\x9f\n" + rb"\q\"", '\ufffd\n\\q"'),
}


@pytest.mark.parametrize(("text", "meant"), ODD.values(), ids=ODD)
@pytest.mark.parametrize("place", ["before", "beside", "behind", "key"])
def test_an_odd_text_costs_no_image(text: bytes, meant: str, place: str) -> None:
    """Wherever a text that is not strictly JSON stands, images and cost are read, and so is the text."""
    one, two = (json.dumps(url).encode() for url in URLS)
    note = b'"%b":1' % text if place == "key" else b'"note":"%b"' % text
    notes = [note + b"," if place == here else b"" for here in ("before", "beside")]
    last = b"," + note if place in ("behind", "key") else b""
    rest = b'{%b"data":[{%b"url":%b},{"url":%b}],"cost":0.5%b}' % (*notes, one, two, last)
    answer = decode_answer(rest, CIMultiDict(), ())
    assert [entry.url for entry in answer.entries] == URLS
    assert answer.cost_usd == 0.5
    extra = answer.entries[0].extra if place == "beside" else answer.extra
    assert extra == ({meant: 1} if place == "key" else {"note": meant})


def test_an_escape_outside_a_text_is_not_json() -> None:
    """Only texts are read with tolerance."""
    with pytest.raises(ValueError):  # noqa: PT011 - json's own error, whose text is not ours
        decode_answer(rb'{"data":[]\n}', CIMultiDict(), ())


DATA = b"\x89PNG\r\n\x1a\n\xfb\xef\xff\xfe"
LONG = "data:image/png;name=" + "x" * 300


@pytest.mark.parametrize(
    ("url", "data"),
    [
        (f"{LONG};base64,{base64.b64encode(DATA).decode()}", DATA),
        (f"{LONG};BASE64 ,{base64.urlsafe_b64encode(DATA).decode()}", DATA),
        (f"{LONG};base64,{base64.b64encode(DATA + b'x').decode().rstrip('=')}", DATA + b"x"),
        (f" {LONG};base64,{quote(base64.b64encode(DATA + b'x').decode(), safe='')}", DATA + b"x"),
        (f"{LONG},%3Csvg/%3E", b"<svg/>"),
        ("data:image/svg+xml;note=base64,AAAA", b"AAAA"),
        ("data:,\ud83d", b"?"),
    ],
)
def test_a_data_url_that_was_not_cut_out(url: str, data: bytes) -> None:
    """What its header calls base64 is decoded, anything else stands for itself."""
    answer = decode({"data": [{"url": url}]})
    assert answer == Answer(entries=(AnswerEntry(index=0, data=data),))


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (";base64,AA*A", "outside its alphabet"),
        (";base64,AAAAA", "incomplete"),
        (";base64,", "empty"),
        (",", "empty"),
    ],
)
def test_a_data_url_that_cannot_be_decoded_is_no_image(text: str, reason: str) -> None:
    """It is named, and the image beside it stays."""
    answer = decode({"data": [{"url": LONG + text}, {"url": URLS[0]}]})
    assert [entry.index for entry in answer.entries] == [1]
    (problem,) = answer.problems
    assert problem.startswith("image 0 cannot be used")
    assert reason in problem
