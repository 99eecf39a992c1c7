"""Answers of failure, in every shape that occurs, and what they say about money."""

from __future__ import annotations

import json
import pickle
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st
from multidict import CIMultiDict

from nanogpt_images.errors import (
    AuthenticationError,
    BadRequestError,
    Charge,
    ContentPolicyError,
    DailyLimitError,
    InsufficientBalanceError,
    NotFoundError,
    PayloadTooLargeError,
    PermissionDeniedError,
    RateLimitError,
    ServerError,
    StatusError,
)
from nanogpt_images.wire.failures import _without_markup, charge_of, decode_failure, parse_retry_after

REJECTED, CHARGED, UNKNOWN, NOT_SENT = Charge.REJECTED, Charge.CHARGED, Charge.UNKNOWN, Charge.NOT_SENT


def decode(status: int, body: object, *, paid: bool = True, **headers: str) -> StatusError:
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    spelt = CIMultiDict({name.replace("_", "-"): value for name, value in headers.items()})
    return decode_failure(status, spelt, raw, target="gpt-image-2", paid=paid)


HTML = (
    b"<!DOCTYPE html><html><head><style>b{color:red}</style><title>502</title></head><body>Bad Gateway</body>"
)

SHAPES = [
    # status, body, class, code, type, parameter, charge, part of the message
    (
        400,
        {"error": {"message": "n is wrong", "type": "invalid_request_error", "code": "bad_n", "param": "n"}},
        BadRequestError,
        ("bad_n", "invalid_request_error", "n"),
        REJECTED,
        "n is wrong",
    ),
    (
        400,
        {
            "error": {
                "message": "both",
                "type": "t",
                "code": "conflicting_image_inputs",
                "parameter": "images",
            },
            "code": "conflicting_image_inputs",
        },
        BadRequestError,
        ("conflicting_image_inputs", "t", "images"),
        REJECTED,
        "both",
    ),
    (
        402,
        {"error": "Insufficient balance", "requiredBalance": 0.0035, "status": 402},
        InsufficientBalanceError,
        (None, None, None),
        REJECTED,
        "The balance must hold 0.0035 USD.",
    ),
    (
        402,
        {
            "error": {"message": "Payment required", "code": "insufficient_balance"},
            "payment": {"paymentId": "p", "amountUsd": "0.0714", "accepted": ["nano"]},
        },
        InsufficientBalanceError,
        ("insufficient_balance", None, None),
        REJECTED,
        "Top up the balance.",
    ),
    (
        400,
        {"error": "too long", "code": "prompt_too_long"},
        BadRequestError,
        ("prompt_too_long", None, None),
        REJECTED,
        "400 prompt_too_long: too long.",
    ),
    (
        503,
        {"error": "text", "type": "server_error", "code": "provider_transient_error", "requestId": "r-1"},
        ServerError,
        ("provider_transient_error", "server_error", None),
        REJECTED,
        "text",
    ),
    (409, {"error": "conflict"}, BadRequestError, (None, None, None), REJECTED, "conflict"),
    (
        413,
        b"Request Entity Too Large\nFUNCTION_PAYLOAD_TOO_LARGE",
        PayloadTooLargeError,
        (None, None, None),
        REJECTED,
        "FUNCTION_PAYLOAD_TOO_LARGE",
    ),
    (502, HTML, ServerError, (None, None, None), UNKNOWN, "502 Bad Gateway"),
    (500, b"", ServerError, (None, None, None), UNKNOWN, "answered 500. It may have been charged."),
    (400, b"", BadRequestError, (None, None, None), REJECTED, "answered 400. Nothing was charged."),
    (500, b"\xff\x00\xfe garbage", ServerError, (None, None, None), UNKNOWN, "garbage"),
    (500, b"[" * 100_000, ServerError, (None, None, None), UNKNOWN, "[[["),
    (400, ["something", {"went": "wrong"}], BadRequestError, (None, None, None), REJECTED, "something"),
    (404, None, StatusError, (None, None, None), REJECTED, "answered 404, there is nothing at this address"),
    (404, HTML, StatusError, (None, None, None), REJECTED, "Check base_url"),
    (
        404,
        {"error": "There is nothing at /api/v1/images/models."},
        StatusError,
        (None, None, None),
        REJECTED,
        "base_url",
    ),
    (
        404,
        {"error": "m", "code": "not_found"},
        StatusError,
        ("not_found", None, None),
        REJECTED,
        "Check base_url",
    ),
    (404, {"error": "Model 'x' does not exist"}, NotFoundError, (None, None, None), REJECTED, "Model 'x'"),
    (404, {"error": {"message": "m", "param": "model"}}, NotFoundError, (None, None, "model"), REJECTED, "m"),
    (400, {}, BadRequestError, (None, None, None), REJECTED, "400"),
    (
        400,
        {"error": {"message": "Bad input", "code": 400}, "status": 400, "code": 400},
        BadRequestError,
        ("400", None, None),
        REJECTED,
        "answered 400: Bad input.",
    ),
    (
        400,
        {"error": {"message": None, "code": True, "type": 5, "param": []}},
        BadRequestError,
        (None, "5", None),
        REJECTED,
        "400",
    ),
    # classes by status and code
    (401, {"error": {"message": "m"}}, AuthenticationError, (None, None, None), REJECTED, "NANOGPT_API_KEY"),
    (403, {"error": "m"}, PermissionDeniedError, (None, None, None), REJECTED, "m"),
    (
        404,
        {"error": {"message": "m", "code": "model_not_found"}},
        NotFoundError,
        ("model_not_found", None, None),
        REJECTED,
        "m",
    ),
    (408, {"error": "m"}, ServerError, (None, None, None), REJECTED, "m"),
    (422, {"error": "m"}, BadRequestError, (None, None, None), REJECTED, "m"),
    (
        429,
        {"error": {"message": "m", "code": "rate_limit_exceeded"}},
        RateLimitError,
        ("rate_limit_exceeded", None, None),
        REJECTED,
        "m",
    ),
    (
        429,
        {"error": "m", "code": "daily_usd_limit_exceeded"},
        DailyLimitError,
        ("daily_usd_limit_exceeded", None, None),
        REJECTED,
        "00:00 UTC",
    ),
    (
        429,
        {"error": {"message": "m", "code": "daily_rpd_limit_exceeded"}},
        DailyLimitError,
        ("daily_rpd_limit_exceeded", None, None),
        REJECTED,
        "00:00 UTC",
    ),
    (
        400,
        {"error": {"message": "m", "code": "content_policy_violation"}},
        ContentPolicyError,
        ("content_policy_violation", None, None),
        REJECTED,
        "m",
    ),
    (
        403,
        {"error": {"message": "m", "type": "content_policy_violation"}},
        ContentPolicyError,
        (None, "content_policy_violation", None),
        REJECTED,
        "m",
    ),
    (504, {"error": "m"}, ServerError, (None, None, None), UNKNOWN, "m"),
    (524, HTML, ServerError, (None, None, None), UNKNOWN, "Bad Gateway"),
    (303, b"", StatusError, (None, None, None), UNKNOWN, "303"),
    (307, b"", StatusError, (None, None, None), REJECTED, "307"),
    # text about money goes before the status
    (500, {"error": "Failed. You have not been charged."}, ServerError, (None, None, None), REJECTED, "not"),
    (500, {"error": "this request has been billed"}, ServerError, (None, None, None), CHARGED, "It was"),
    (400, {"error": "Refused; you were charged."}, BadRequestError, (None, None, None), CHARGED, "It was"),
]


@pytest.mark.parametrize(("status", "body", "cls", "facts", "charge", "text"), SHAPES)
def test_every_shape_is_understood(
    status: int, body: object, cls: type, facts: tuple, charge: Charge, text: str
) -> None:
    """Each shape of a failure becomes the right class with its code, type, parameter and charge."""
    error = decode(status, body)
    assert type(error) is cls
    assert (error.code, error.type, error.parameter) == facts
    assert (error.status, error.charge) == (status, charge)
    assert text in str(error)
    assert str(error).startswith(f"gpt-image-2: the service answered {status}")
    assert charge.sentence in str(error)


def test_a_free_request_is_never_charged() -> None:
    """The failure of a GET says nothing about money."""
    error = decode(500, {"error": "oops"}, paid=False)
    assert error.charge is NOT_SENT
    assert "charged" not in str(error)


def test_the_request_id_is_found_in_body_or_header() -> None:
    """`requestId` of the body wins over the header `X-Request-ID`."""
    assert decode(500, b"", x_request_id="h").request_id == "h"
    assert decode(500, {"error": "t", "requestId": "b"}, X_Request_ID="h").request_id == "b"
    assert decode(500, {"error": "t"}).request_id is None


def test_what_else_the_service_quotes_is_kept() -> None:
    """Quotes such as `payment` and `requiredBalance` are reachable in `details`."""
    assert decode(402, {"error": "t", "requiredBalance": 0.0035, "status": 402}).details == {
        "requiredBalance": 0.0035
    }
    assert decode(402, {"error": {"message": "t"}, "payment": {"amountUsd": "1"}}).details == {
        "payment": {"amountUsd": "1"}
    }


def test_a_wait_is_told() -> None:
    """`Retry-After` is a fact of the error and part of its text."""
    error = decode(429, {"error": "slow down"}, retry_after="3")
    assert error.retry_after_s == 3
    assert str(error).endswith("Try again in 3 s.")
    assert "in 2.0 h" in str(
        decode(429, {"error": "x", "code": "daily_rpd_limit_exceeded"}, retry_after="7200")
    )


@pytest.mark.parametrize(
    ("location", "shown"),
    [
        ("https://elsewhere.example/login?token=secret", "https://elsewhere.example"),
        ("/v2/images?token=secret", "/v2/images"),
        ("https://[broken?token=secret", "an unreadable address"),
    ],
)
def test_a_redirect_names_its_target(location: str, shown: str) -> None:
    """A redirect is not followed; its origin is named, and its query is not."""
    text = str(decode(308, b"", location=location))
    assert f"a redirect to {shown}, which is not followed" in text
    assert "secret" not in text


@pytest.mark.parametrize(
    "key",
    [
        "sk-nano-0f8fad5b-d9cb-469f-a165-70867728950e",
        "0f8fad5b-d9cb-469f-a165-70867728950e",
        "%20sk-nano-withoutanyuuid",
    ],
)
def test_an_echoed_key_is_blotted_out(key: str) -> None:
    """A key that the service repeats in its answer stands in no text of the error."""
    for body in ({"error": f"bad key {key}"}, f"bad key {key}".encode()):
        error = decode(401, body)
        assert key not in str(error) + error.excerpt
        assert "[redacted]" in str(error)


def test_words_with_a_hyphen_are_no_keys() -> None:
    """A prompt that the service quotes stays legible."""
    assert "a risk-averse fox" in str(decode(400, {"error": "refused: a risk-averse fox"}))


def test_excerpts_are_short_and_plain() -> None:
    """An excerpt holds text without markup, scripts or control characters, and at most 200 characters."""
    error = decode(502, HTML + b"\x1b[31m<script>alert(1)</script>" + b"x" * 5000)
    assert error.excerpt.startswith("502 Bad Gateway")
    assert len(error.excerpt) == 200
    assert error.excerpt.isprintable()
    assert not {"color", "alert"} & set(error.excerpt.replace("{", " ").replace("(", " ").split())


@pytest.mark.parametrize(
    ("markup", "text"),
    [
        ("a<br>b <i class='x'>c</i> 1 < 2", "a b c 1 < 2"),
        ("<STYLE>b{}</STYLE >seen<script>if (1<2) {'<b>'}</script>too", "seen too"),
        ("<scripted>seen</scripted>", "seen"),
        ("seen<script>never closed", "seen"),
    ],
)
def test_an_excerpt_is_the_text_that_a_page_shows(markup: str, text: str) -> None:
    """Tags, scripts and styles are left out, and a lone angle bracket is text."""
    assert decode(502, markup.encode()).excerpt == text


@pytest.mark.parametrize("piece", ["<", "<script ", "<script>", "<a>"])
def test_a_page_of_brackets_is_read_in_one_pass(piece: str) -> None:
    """Text that never closes what it opens is not searched again from each place: that would take minutes here."""
    _without_markup(piece * 400_000)


def test_a_contradiction_anywhere_in_the_body_leaves_a_5xx_unknown() -> None:
    """The whole body is read for what it says about money, not the message or the excerpt alone."""
    free = "You have not been charged."
    assert decode(500, {"error": {"message": free}, "detail": "request"}).charge is REJECTED
    for contradiction in (
        {"detail": "This request has been billed."},
        {"details": [{"reason": "0.04 USD deducted"}]},
        {"charged": True},
        {"error": {"message": free, "billed": 0.04}},
    ):
        assert decode(500, {"error": {"message": free}, **contradiction}).charge is UNKNOWN
    page = f"<p>{free}</p>{'<p>.</p>' * 200}<p>This request has been billed.</p>"
    assert decode(500, page.encode()).charge is UNKNOWN
    assert decode(500, page[:30].encode()).charge is REJECTED


@pytest.mark.parametrize(
    "body", ['{"error": "You have not been charged. ', "You have not been charged \u2026"]
)
def test_half_an_answer_frees_nothing(body: str) -> None:
    """What was cut off may have been the other half of the sentence."""
    assert decode(500, body.encode()).charge is UNKNOWN


@pytest.mark.parametrize("status", [408, 425, 429, 503])
def test_a_refusal_that_asks_to_try_later_is_free_unless_its_text_casts_doubt(status: int) -> None:
    """By its status the work was not begun; a text about money goes before the status."""
    assert decode(status, b"").charge is REJECTED
    assert decode(status, {"error": "try again later"}).charge is REJECTED
    assert decode(status, {"error": "You have not yet been charged"}).charge is UNKNOWN
    assert decode(status, {"error": "this request has been billed"}).charge is CHARGED


def test_a_price_or_a_limit_is_no_charge() -> None:
    """402 and 429 name amounts of money by their nature."""
    assert decode(402, {"error": "Insufficient balance: 0.04 USD needed"}).charge is REJECTED
    assert decode(429, {"error": "The daily limit of $5 is reached"}).charge is REJECTED
    assert decode(503, {"error": "0.04 USD has already been deducted"}).charge is UNKNOWN


def test_a_refusal_that_may_have_been_charged_is_unknown() -> None:
    """A 4xx is a refusal, unless its own text casts doubt on that."""
    assert charge_of(400, "you may have been charged", paid=True) is UNKNOWN


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        (None, None),
        ("2", 2.0),
        ("0.5", 0.5),
        ("-3", 0.0),
        ("inf", None),
        ("nan", None),
        ("soon", None),
        ("", None),
        ("Wed, 21 Oct 2026 07:28:30 GMT", 30.0),
        ("Wed, 21 Oct 2026 07:28:30 -0000", 30.0),
        ("Wed, 21 Oct 2026 07:00:00 GMT", 0.0),
        ("Wed, 99 Oct 2026 07:00:00 GMT", None),
    ],
)
def test_retry_after(value: str | None, seconds: float | None) -> None:
    """`Retry-After` is a number of seconds or a date; anything else is as if it were not there."""
    now = datetime(2026, 10, 21, 7, 28, 0, tzinfo=UTC)
    assert parse_retry_after(value, now=now) == seconds


WORDS = (
    "charged",
    "not",
    "billed",
    "You have",
    "may",
    "been",
    "<script>",
    "</script>",
    "<",
    "sk-nano-123456",
    "\0",
)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.sampled_from(WORDS),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(("error", "message", "code", "type", "param", "requestId", "status")) | st.text(),
            inner,
        )
    ),
    max_leaves=8,
)
BODIES = (
    JSON.map(lambda body: json.dumps(body).encode())
    | st.binary(max_size=200)
    | st.lists(st.sampled_from(WORDS)).map(lambda words: " ".join(words).encode())
)
HEADER_VALUES = st.text(max_size=20) | st.sampled_from(
    [
        "1e400",
        "-5",
        "nan",
        "1_0",
        "Wed, 21 Oct 2099 07:28:00 GMT",
        "Wed, 99 Oct 9999 99:99:99 +9999",
        "https://[",
        "//",
    ]
)


@given(
    st.integers(300, 999),
    st.dictionaries(st.sampled_from(["Retry-After", "Location", "X-Request-ID"]), HEADER_VALUES),
    BODIES,
    st.booleans(),
)
def test_any_failure_is_one_error_of_the_tree(
    status: int, headers: dict[str, str], body: bytes, paid: bool
) -> None:
    """Whatever a service answers, it becomes a StatusError of bounded size whose facts agree and survive pickling."""
    error = decode_failure(status, CIMultiDict(headers), body, target="m", paid=paid)
    assert error.status == status
    assert (error.charge is NOT_SENT) == (not paid)
    assert len(error.excerpt) <= 200
    assert error.excerpt.isprintable()
    assert len(str(error)) < 2000
    assert error.retry_after_s is None or 0 <= error.retry_after_s < float("inf")
    assert "sk-nano-123456" not in f"{error}{error.excerpt}"
    copy = pickle.loads(pickle.dumps(error))
    assert (type(copy), str(copy), copy.charge) == (type(error), str(error), error.charge)


FREE_TEXT = "Image generation failed. You have not been charged."


@pytest.mark.parametrize("status", [408, 500, 503])
@pytest.mark.parametrize(
    ("body", "headers"),
    [
        ({"error": FREE_TEXT, "cost": 0.04}, {}),
        ({"error": {"message": FREE_TEXT, "cost": "0.04"}}, {}),
        ({"error": FREE_TEXT}, {"x-cost": "0.04"}),
        ({"error": FREE_TEXT}, {"x-nano-cost": "0.04"}),
        ({"error": FREE_TEXT, "isCharged": True}, {}),
        ({"error": FREE_TEXT, "wasBilled": "true"}, {}),
        ({"error": FREE_TEXT, "amount_charged": 0.04}, {}),
        ({"error": FREE_TEXT, "data": [{"b64_json": "aGk="}]}, {}),
        ({"error": FREE_TEXT, "task_id": "t1"}, {}),
        ({"error": FREE_TEXT, "taskId": "t1"}, {}),
    ],
)
def test_a_failure_that_shows_a_charge_or_work_is_not_free(
    status: int, body: dict[str, object], headers: dict[str, str]
) -> None:
    """Whatever its text says: a cost, an image or a task in body or headers leaves the outcome unknown."""
    error = decode_failure(status, CIMultiDict(headers), json.dumps(body).encode(), target="m", paid=True)
    assert error.charge is Charge.UNKNOWN


@pytest.mark.parametrize("body", [{"charged": False}, {"notCharged": True}, {"cost": 0}])
def test_a_field_that_denies_a_charge_takes_nothing(body: dict[str, object]) -> None:
    """A failure stays free where its fields agree with its text."""
    whole = json.dumps({"error": FREE_TEXT, **body}).encode()
    assert decode_failure(500, CIMultiDict(), whole, target="m", paid=True).charge is Charge.REJECTED


@pytest.mark.parametrize(
    "text", ["The task is still running.", "The image was generated but could not be stored."]
)
def test_an_unavailable_service_that_speaks_of_work(text: str) -> None:
    """A 503 is a refusal by its definition, unless it says that work was done."""
    body = json.dumps({"error": text}).encode()
    assert decode_failure(503, CIMultiDict(), body, target="m", paid=True).charge is Charge.UNKNOWN
    assert decode_failure(400, CIMultiDict(), body, target="m", paid=True).charge is Charge.REJECTED
