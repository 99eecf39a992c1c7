"""The client's options: where they come from, and which combinations are refused."""

from __future__ import annotations

import ipaddress
import os
import platform
import re
from collections.abc import Mapping, Sequence
from typing import Final, Literal, NoReturn, cast
from urllib.parse import urlsplit

import attrs

from .._base.display import shown_url
from .._version import __version__
from ..errors import ConfigurationError
from .secrets import Secret, not_pickled

DEFAULT_BASE_URL: Final = "https://nano-gpt.com"
MAX_REQUESTS_PER_SECOND: Final = 10_000
# One start per day: a batch that is slower hangs, as far as its user can tell.
MIN_REQUESTS_PER_SECOND: Final = 1 / 86_400
KEY_VARIABLE: Final = "NANOGPT_API_KEY"
KEYS_VARIABLE: Final = "NANOGPT_API_KEYS"
BASE_URL_VARIABLE: Final = "NANOGPT_BASE_URL"

_VENDOR: Final = "nano-gpt.com"
# Source: docs/service.md, "Hosts and keys": documented base URLs for other SDKs.
_PATHS_FOR_OTHERS: Final = frozenset({"/api", "/v1", "/api/v1"})

# Source: RFC 9110, 5.1 and 5.5.
_HEADER_NAME: Final = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+")
_HEADER_VALUE: Final = re.compile(r"[^\x00-\x08\x0a-\x1f\x7f\ud800-\udfff]*")


@attrs.frozen(kw_only=True)
class ClientOptions:
    """Options after the environment and the defaults; the key is in no repr."""

    api_keys: tuple[str, ...] = attrs.field(repr=False)
    base_url: str
    auth: Literal["bearer", "x-api-key"]
    headers: Mapping[str, str] = attrs.field(repr=False)

    def __reduce__(self) -> NoReturn:
        raise not_pickled()

    @property
    def api_key(self) -> str | None:
        """The first key; None where there is none."""
        return self.api_keys[0] if self.api_keys else None

    @classmethod
    def resolve(
        cls,
        *,
        api_key: str | None,
        base_url: str | None,
        timeout_s: float,
        connect_timeout_s: float,
        requests_per_second: float | None,
        max_connections: int,
        auth: Literal["bearer", "x-api-key"],
        headers: Mapping[str, str],
        api_keys: Sequence[str] | None = None,
    ) -> ClientOptions:
        """Fill in the environment and check everything. Raises ConfigurationError."""
        if api_key is not None and api_keys is not None:
            raise ConfigurationError("pass api_key= or api_keys=, not both.")
        url = base_url if base_url is not None else os.environ.get(BASE_URL_VARIABLE) or DEFAULT_BASE_URL
        for name, value in {"timeout_s": timeout_s, "connect_timeout_s": connect_timeout_s}.items():
            if not value > 0:
                raise ConfigurationError(f"{name} must be more than 0 seconds, not {value}.")
        lowest, highest = MIN_REQUESTS_PER_SECOND, MAX_REQUESTS_PER_SECOND
        if requests_per_second is not None and not lowest <= requests_per_second <= highest:
            raise ConfigurationError(
                f"requests_per_second must be at least 1/86400 (one start per day) and at most {highest:,}, or None"
                f" for no pacing, not {requests_per_second}."
            )
        if max_connections < 1:
            raise ConfigurationError(f"max_connections must be at least 1, not {max_connections}.")
        if auth not in ("bearer", "x-api-key"):
            raise ConfigurationError(f"auth is 'bearer' or 'x-api-key', not {auth!r}.")
        return cls(
            api_keys=_keys(api_key, api_keys),
            base_url=checked_base_url(url),
            auth=auth,
            headers=checked_headers(headers),
        )

    @property
    def user_agent(self) -> str:
        """Name and version of this package and of Python."""
        return f"nanogpt-images/{__version__} Python/{platform.python_version()}"

    @property
    def origin(self) -> str:
        """Scheme and host: a path can hold what is not for everybody."""
        parts = urlsplit(self.base_url)
        return f"{parts.scheme}://{parts.netloc}"

    def key_header(self, key: str) -> dict[str, str]:
        """Return the header that carries *key*."""
        if self.auth == "bearer":
            return {"Authorization": Secret(f"Bearer {key}")}
        return {"x-api-key": Secret(key)}

    def request_headers(self) -> dict[str, str]:
        """Return headers of every request to the API; no repr shows the key, or what the caller's own hold."""
        headers = [("User-Agent", self.user_agent), ("Accept", "application/json")]
        headers += [(name, Secret(value)) for name, value in self.headers.items()]
        if self.api_key is not None:
            headers += self.key_header(self.api_key).items()
        # A later one replaces an earlier one in any case: two of a name would both be sent.
        return dict({name.lower(): (name, value) for name, value in headers}.values())


def _keys(api_key: str | None, api_keys: Sequence[str] | None) -> tuple[str, ...]:
    if isinstance(api_keys, str):
        raise ConfigurationError("api_keys is a list of keys; api_key takes a single one.")
    given: list[str | None] = [api_key] if api_key is not None else [*(api_keys or ())]
    if api_key is None and api_keys is None:
        given = [*keys_of_environment()] or [os.environ.get(KEY_VARIABLE)]
    # The same key twice would have two windows, and pass its limit.
    return tuple(dict.fromkeys(found for key in given if (found := checked_key(key)) is not None))


def keys_of_environment() -> list[str]:
    """Return what NANOGPT_API_KEYS lists, separated by spaces or commas."""
    return os.environ.get(KEYS_VARIABLE, "").replace(",", " ").split()


def checked_key(key: str | None) -> str | None:
    """Return the key without surrounding white space; None where there is none."""
    if key is None or not key.strip():
        return None
    key = key.strip()
    if not key.isascii() or not key.isprintable() or " " in key:
        raise ConfigurationError("the API key has characters that no header can carry; was it pasted whole?")
    return Secret(key)


def checked_headers(headers: Mapping[str, str]) -> dict[str, str]:
    """Return the caller's headers. What HTTP cannot carry is refused, and not repeated in the text: it may be a secret."""
    # Annotations do not keep a caller from passing a number.
    given = cast("Mapping[object, object]", headers)
    for name, value in given.items():
        if not isinstance(name, str) or not _HEADER_NAME.fullmatch(name):
            raise ConfigurationError("headers: a name is not one that a header can have.")
        if not isinstance(value, str) or not _HEADER_VALUE.fullmatch(value):
            raise ConfigurationError(f"headers: the value of {name} is not text without control characters.")
    return dict(headers)


def checked_base_url(url: str) -> str:
    """
    Return the base URL without a trailing slash; https, or anything on loopback.

    The vendor's documents give other SDKs an address with `/v1`, `/api/v1` or `/api` at its end. Here these are parts of
    the paths, so they are left out of an address of the service, or of loopback, that has nothing else in its path.
    """
    url = url.strip()
    try:
        parts = urlsplit(url)
        host, _ = parts.hostname, parts.port
    except ValueError as error:
        raise ConfigurationError(f"base_url is not a URL: {error}.") from error
    # First, so that no other error repeats a secret.
    if "@" in parts.netloc or "?" in url or "#" in url:
        raise ConfigurationError(
            "base_url must be an origin and a path: no user, password, query or fragment."
        )
    if parts.scheme not in ("https", "http") or not host:
        raise ConfigurationError(f"base_url {shown_url(url)!r} must begin with https:// and a host.")
    if parts.scheme == "http" and not is_loopback(host):
        raise ConfigurationError(
            f"base_url {shown_url(url)!r} is not https: the key would cross the network in clear. http is for loopback only."
        )
    # urlsplit drops line breaks and keeps backslashes, aiohttp's parser does neither.
    if not url.isprintable() or " " in url or "\\" in url:
        raise ConfigurationError(
            f"base_url {shown_url(url)!r} contains characters that are not allowed in a URL."
        )
    url = url.rstrip("/")
    path = urlsplit(url).path.rstrip("/")
    known = host == _VENDOR or host.endswith(f".{_VENDOR}") or is_loopback(host)
    return url.removesuffix(path).rstrip("/") if known and path in _PATHS_FOR_OTHERS else url


def is_loopback(host: str) -> bool:
    """Return whether *host*, a name or an address, is this machine."""
    if host == "localhost" or host.endswith(".localhost"):
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
