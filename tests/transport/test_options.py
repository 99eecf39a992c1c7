"""The client's options: environment, defaults, and what is refused."""

from __future__ import annotations

import platform

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from yarl import URL

from nanogpt_images import AsyncClient, ConfigurationError, __version__
from nanogpt_images.transport.options import ClientOptions, checked_base_url, checked_key, is_loopback

KEY = "sk-nano-0f8fad5b-d9cb-469f-a165-70867728950e"


def resolve(**given: object) -> ClientOptions:
    return ClientOptions.resolve(
        **{
            "api_key": None,
            "base_url": None,
            "timeout_s": 1.0,
            "connect_timeout_s": 1.0,
            "requests_per_second": 25,
            "max_connections": 1,
            "auth": "bearer",
            "headers": {},
            **given,
        }
    )


def test_the_environment_fills_in(monkeypatch: pytest.MonkeyPatch) -> None:
    """Arguments go before the environment, and that before the default."""
    assert (resolve().api_key, resolve().base_url) == (None, "https://nano-gpt.com")
    monkeypatch.setenv("NANOGPT_API_KEY", f" {KEY}\n")
    monkeypatch.setenv("NANOGPT_BASE_URL", "https://gateway.example/nano/")
    assert (resolve().api_key, resolve().base_url) == (KEY, "https://gateway.example/nano")
    given = resolve(api_key="sk-other", base_url="http://localhost:1")
    assert (given.api_key, given.base_url) == ("sk-other", "http://localhost:1")
    assert resolve(api_key="").api_key is None
    monkeypatch.setenv("NANOGPT_BASE_URL", "")
    assert resolve().base_url == "https://nano-gpt.com"


@pytest.mark.parametrize(
    ("url", "kept"),
    [
        ("https://nano-gpt.com", "https://nano-gpt.com"),
        (" https://nano-gpt.com// ", "https://nano-gpt.com"),
        ("https://gw.example:8443/a/b/", "https://gw.example:8443/a/b"),
        ("http://127.0.0.1:8080", "http://127.0.0.1:8080"),
        ("http://127.8.9.1", "http://127.8.9.1"),
        ("http://[::1]:80", "http://[::1]:80"),
        ("http://localhost/x", "http://localhost/x"),
        ("http://api.localhost", "http://api.localhost"),
        ("https://nano-gpt.com/api", "https://nano-gpt.com"),
        ("https://nano-gpt.com/v1/", "https://nano-gpt.com"),
        ("https://nano-gpt.com/api/v1", "https://nano-gpt.com"),
        ("https://api.nano-gpt.com/api/v1", "https://api.nano-gpt.com"),
        ("http://127.0.0.1:8080/v1", "http://127.0.0.1:8080"),
        ("http://localhost/x/v1", "http://localhost/x/v1"),
        ("https://gw.example/v1", "https://gw.example/v1"),
        ("https://nano-gpt.com.example/v1", "https://nano-gpt.com.example/v1"),
    ],
)
def test_base_urls_that_are_used(url: str, kept: str) -> None:
    """https anywhere, http on loopback, with a gateway's prefix, without a trailing slash and what other SDKs append."""
    assert checked_base_url(url) == kept


@pytest.mark.parametrize(
    ("url", "reason"),
    [
        ("http://nano-gpt.com", "not https"),
        ("http://10.0.0.1", "not https"),
        ("http://localhost.example", "not https"),
        ("http://127.0.0.1.example", "not https"),
        ("http://0.0.0.0", "not https"),
        ("ftp://nano-gpt.com", "must begin with https"),
        ("nano-gpt.com", "must begin with https"),
        ("https://", "must begin with https"),
        ("", "must begin with https"),
        ("https://host:port", "is not a URL"),
        ("https://host:99999", "is not a URL"),
        ("https://[::1", "is not a URL"),
        ("https://user:secret@host", "no user"),
        ("ftp://user:secret@host", "no user"),
        ("https://user:secret@host:port", "is not a URL"),
        ("https://host?key=secret", "no user"),
        ("https://host/#x", "no user"),
        ("https://host?", "no user"),
        ("https://host#", "no user"),
        ("https://@host", "no user"),
        ("https://ho\nst", "characters"),
        ("https://host/a b", "characters"),
        ("https://host\\x", "characters"),
        ("https://\u2100", "is not a URL"),
    ],
)
def test_base_urls_that_are_refused(url: str, reason: str) -> None:
    """Anything that would carry the key in clear, or is no origin, is refused without repeating a secret."""
    with pytest.raises(ConfigurationError, match=reason) as caught:
        checked_base_url(url)
    assert "secret" not in str(caught.value)


PIECES = st.sampled_from(
    [
        *("http://", "https://", "127.0.0.1", "localhost", "::1", "evil.example", "//", "80", "xn--"),
        *"@\\/?#:%[] \n\t\0.é。ⓛ",
    ]
)


@given(st.lists(PIECES, max_size=8).map("".join) | st.text())
@example("https://host?")
def test_the_address_that_is_checked_is_the_one_that_is_used(text: str) -> None:
    """aiohttp's parser finds in an accepted base URL with a path behind it no other host, scheme or end."""
    try:
        base_url = checked_base_url(text)
        used = URL(f"{base_url}/api/v1/images")
        host = used.host or ""
    except (ConfigurationError, ValueError):  # refused by the one, or unusable for the other
        return
    assert used.scheme == "https" or is_loopback(host)
    assert used.path.endswith("/api/v1/images")
    assert not used.user
    assert not used.query_string


@pytest.mark.parametrize(
    ("key", "kept"), [(KEY, KEY), (f"\t{KEY}\n", KEY), (None, None), ("", None), (" \n", None)]
)
def test_keys_that_are_used(key: str | None, kept: str | None) -> None:
    """White space around a key does no harm, and nothing but white space is no key."""
    assert checked_key(key) == kept


@pytest.mark.parametrize("key", ["sk nano", "sk-nano\nHost: evil", "sk-nanö", "sk\x00nano"])
def test_keys_that_are_refused(key: str) -> None:
    """A key that no header can carry is refused, and is not repeated in the error."""
    with pytest.raises(ConfigurationError, match="pasted whole") as caught:
        checked_key(key)
    assert key not in str(caught.value)


@pytest.mark.parametrize(
    "wrong",
    [
        {"timeout_s": 0},
        {"timeout_s": float("nan")},
        {"connect_timeout_s": -1},
        {"requests_per_second": 0},
        {"requests_per_second": 1e-300},
        {"requests_per_second": 1 / 86_401},
        {"requests_per_second": float("nan")},
        {"max_connections": 0},
        {"auth": "basic"},
    ],
)
def test_numbers_that_are_refused(wrong: dict[str, object]) -> None:
    """A limit that would let nothing through is refused by its name."""
    with pytest.raises(ConfigurationError, match=next(iter(wrong))):
        resolve(**wrong)


def test_one_start_per_day_is_the_slowest_pace() -> None:
    """The lower bound itself is accepted."""
    resolve(requests_per_second=1 / 86_400)


def test_headers_of_every_request() -> None:
    """The key is in the header of choice; the caller's headers are sent, and none of them replaces the key."""
    bearer = resolve(api_key=KEY, headers={"X-Team": "1", "User-Agent": "mine"}).request_headers()
    assert bearer == {
        "User-Agent": "mine",
        "Accept": "application/json",
        "X-Team": "1",
        "Authorization": f"Bearer {KEY}",
    }
    plain = resolve(api_key=KEY, auth="x-api-key").request_headers()
    assert plain["x-api-key"] == KEY
    assert "Authorization" not in plain
    assert plain["User-Agent"] == f"nanogpt-images/{__version__} Python/{platform.python_version()}"
    assert resolve().request_headers().keys() == {"User-Agent", "Accept"}


@pytest.mark.parametrize("auth", ["bearer", "x-api-key"])
def test_no_header_is_sent_twice(auth: str) -> None:
    """A header of the caller's in another case replaces a default, and the client's key goes before one of theirs."""
    mine = {"user-agent": "mine", "ACCEPT": "x", "authorization": "Bearer other", "X-API-KEY": "other"}
    headers = resolve(api_key=KEY, auth=auth, headers=mine).request_headers()
    assert len({name.lower() for name in headers}) == len(headers) == 4
    assert headers["user-agent"] == "mine"
    assert headers["Authorization" if auth == "bearer" else "x-api-key"].endswith(KEY)


@pytest.mark.parametrize(
    "headers",
    [
        {"X-Team": "secret\r\nHost: evil"},
        {"X-Team": "secret\n"},
        {"X-Team": "secret\x00"},
        {"X-Team": "secret\ud83e"},
        {"X-Team": 5},
        {"X-Team: secret\nX": "1"},
        {"X Team": "secret"},
        {"": "secret"},
        {5: "secret"},
    ],
)
def test_headers_that_are_refused(headers: dict[str, str]) -> None:
    """A header that HTTP cannot carry is refused when the client is made, and its value is not repeated."""
    with pytest.raises(ConfigurationError, match="headers") as caught:
        AsyncClient(KEY, headers=headers)
    assert "secret" not in str(caught.value)


def test_headers_that_are_accepted() -> None:
    """Any visible character, spaces and tabs may stand in a value; it may also be empty."""
    headers = {"X-Team": 'a b\tc;d="e" ü', "x_1": ""}
    assert resolve(headers=headers).headers == headers


def test_a_repr_holds_no_secret() -> None:
    """Neither the key nor the caller's headers are in the repr."""
    text = repr(resolve(api_key=KEY, headers={"X-Gateway-Token": "secret"}))
    assert KEY not in text
    assert "secret" not in text


@pytest.mark.parametrize(
    ("host", "loopback"),
    [
        ("localhost", True),
        ("127.0.0.1", True),
        ("::1", True),
        ("", False),
        ("128.0.0.1", False),
        ("::2", False),
    ],
)
def test_loopback(host: str, loopback: bool) -> None:
    """Loopback is decided without looking a name up."""
    assert is_loopback(host) is loopback
