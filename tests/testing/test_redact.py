"""What recordings leave out: keys, and the secrets of signed URLs."""

from __future__ import annotations

import json

import pytest

from nanogpt_images.testing.redact import clean_body, clean_headers, clean_text, clean_url, keys_of

KEY = "00000000-0000-4000-8000-000000000000"


@pytest.mark.parametrize(
    ("url", "clean"),
    [
        ("https://nano-gpt.com/api/v1/images", "https://nano-gpt.com/api/v1/images"),
        ("https://nano-gpt.com/api/v1/image-models?detailed=true", "https://nano-gpt.com/api/v1/image-models?detailed=true"),
        ("https://f.example/a.png?X-Amz-Signature=abc&sig=d", "https://f.example/a.png?X-Amz-Signature=REDACTED&sig=REDACTED"),
        ("https://f.example/a.png?bare-secret", "https://f.example/a.png?REDACTED="),
        ("http://[broken?a=b", "http://[broken?a=b"),
    ],
)  # fmt: skip
def test_urls_lose_their_secrets_once_and_for_all(url: str, clean: str) -> None:
    """Values of a query go, those of the API's own parameters stay, and cleaning twice changes nothing."""
    assert clean_url(url) == clean
    assert clean_url(clean) == clean


@pytest.mark.parametrize(
    ("text", "clean"),
    [
        (f"bad key {KEY}", "bad key REDACTED"),
        ("bad key sk-nano-0123456789abcdef", "bad key REDACTED"),
        ("a risk-averse desk-sharing-enthusiastic fox", "a risk-averse desk-sharing-enthusiastic fox"),
        ("see https://f.example/a?s=1, or not", "see https://f.example/a?s=REDACTED or not"),
    ],
)
def test_text_loses_keys_and_keeps_words(text: str, clean: str) -> None:
    """The request's own key goes, of whatever shape, and all that is shaped like one; prompts stay as they are."""
    assert clean_text(text, [KEY]) == clean


def test_json_is_cleaned_through_its_strings() -> None:
    """A URL that JSON spells with escapes is cleaned as well; a body without secrets keeps every byte."""
    body = (
        rb'{"data": [{"url": "https:\/\/f.example\/a?sig=\u0061bc"}], "key": "'
        + KEY.encode()
        + rb'", "n": 1.50}'
    )
    assert json.loads(clean_body(body, [KEY])) == {
        "data": [{"url": "https://f.example/a?sig=REDACTED"}],
        "key": "REDACTED",
        "n": 1.5,
    }
    assert clean_body(b'{ "prompt":"a fox" ,"n":1.50}', [KEY]) == b'{ "prompt":"a fox" ,"n":1.50}'
    assert clean_body(b"\x89PNG\xff", [KEY]) == b"\x89PNG\xff"


def test_only_telling_headers_stay() -> None:
    """Cookies and unknown headers are left out, and a redirect's target is cleaned."""
    headers = {"Set-Cookie": "s=1", "X-Request-ID": "req-1", "Location": "https://f.example/?t=1"}
    assert clean_headers(headers, []) == {
        "x-request-id": "req-1",
        "location": "https://f.example/?t=REDACTED",
    }


@pytest.mark.parametrize("headers", [{"Authorization": f"Bearer {KEY}"}, {"X-API-Key": KEY}])
def test_the_key_is_found_in_either_header(headers: dict[str, str]) -> None:
    """Both ways of sending the key are known, in any case."""
    assert keys_of(headers) == (KEY,)
