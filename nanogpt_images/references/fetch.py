"""Fetch an input image from a URL that a user may have chosen. This module loads with the first such URL."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Collection
from typing import Final

import aiohttp
from aiohttp.abc import AbstractResolver
from yarl import URL

from .._base.addresses import Guard, is_allowed_host
from .._version import __version__
from ..errors import ReferenceImageError

_MAX_REDIRECTS: Final = 5
_REDIRECTS: Final = frozenset({301, 302, 303, 307, 308})
_HEADERS: Final = {
    "Accept": "image/*",
    # A small compressed body can expand without end, and images do not compress.
    "Accept-Encoding": "identity",
    "User-Agent": f"nanogpt-images/{__version__}",
}


async def fetch_bytes(
    url: str,
    *,
    max_bytes: int,
    allow_private: bool | Collection[str] = False,
    timeout_s: float = 30.0,
    resolver: AbstractResolver | None = None,
) -> bytes:
    """
    Fetch the body of *url*, without API key, cookies or stored credentials.

    Every address is checked when the connection is made, after resolution and on every redirect, so that neither a
    literal address nor DNS rebinding gets past the check. Proxies of the environment are not used: the address
    behind a proxy cannot be checked.

    Args:
        url: http or https.
        max_bytes: Maximum size of the body.
        allow_private: True allows addresses that are not public; a collection of host names allows them for these
            hosts only.
        timeout_s: Time limit for all redirects together.
        resolver: Replaces the system's name resolution.

    Raises:
        ReferenceImageError: The URL is refused, cannot be fetched, or does not answer with status 200.
    """
    hop = _parsed(url)
    try:
        async with asyncio.timeout(timeout_s):
            for _ in range(_MAX_REDIRECTS + 1):
                answer = await _one_hop(
                    hop, max_bytes, is_allowed_host(hop.host or "", allow_private), resolver
                )
                if isinstance(answer, bytes):
                    return answer
                hop = _next_hop(hop, answer)
    except TimeoutError as error:
        raise _failure(hop, f"has not delivered an image within {timeout_s:g} s") from error
    raise _failure(hop, f"has more than {_MAX_REDIRECTS} redirects")


async def _one_hop(url: URL, max_bytes: int, allowed: bool, resolver: AbstractResolver | None) -> bytes | str:
    """Return the body, or the location of a redirect."""
    guard = Guard(allowed=allowed)
    # One session per hop: a connection must not outlive its address check.
    connector = aiohttp.TCPConnector(resolver=resolver, socket_factory=guard.open_socket, force_close=True)
    try:
        async with (
            aiohttp.ClientSession(
                connector=connector,
                cookie_jar=aiohttp.DummyCookieJar(),
                timeout=aiohttp.ClientTimeout(total=None),
                trust_env=False,
                auto_decompress=False,
            ) as session,
            session.get(url, headers=_HEADERS, allow_redirects=False) as response,
        ):
            if response.status in _REDIRECTS:
                return response.headers.get("Location", "")
            if response.status != 200:
                raise _failure(url, f"answered with status {response.status}")
            return await _read(response, url, max_bytes)
    except (aiohttp.ClientError, OSError, ValueError) as error:
        if guard.refused and isinstance(error, aiohttp.ClientConnectorError):
            raise _refusal(url, guard.refused) from error
        raise _failure(url, f"cannot be fetched ({_reason(error)})") from error


async def _read(response: aiohttp.ClientResponse, url: URL, max_bytes: int) -> bytes:
    too_large = f"is larger than {max_bytes:,} bytes"
    if (response.content_length or 0) > max_bytes:
        raise _failure(url, too_large)
    chunks: list[bytes] = []
    received = 0
    async for chunk in response.content.iter_any():
        received += len(chunk)
        if received > max_bytes:
            raise _failure(url, too_large)
        chunks.append(chunk)
    return b"".join(chunks)


def _parsed(url: str) -> URL:
    try:
        parsed = URL(url)
        # `host` decodes an international name, which can fail.
        usable = parsed.scheme in ("http", "https") and bool(parsed.host)
    except ValueError as error:
        raise ReferenceImageError(f"the URL is malformed ({error}).") from error
    if not usable:
        raise ReferenceImageError("the URL is not an http or https URL with a host.")
    return parsed


def _next_hop(url: URL, location: str) -> URL:
    try:
        target = url.join(URL(location))
        usable = bool(location) and target.scheme in ("http", "https") and bool(target.host)
    except ValueError as error:
        raise _failure(url, "redirects to a malformed URL") from error
    if not usable:
        raise _failure(url, "redirects to something other than http or https")
    if url.scheme == "https" and target.scheme == "http":
        raise _failure(url, f"redirects from https to plain http ({target.host})")
    return target


def _failure(url: URL, what: str) -> ReferenceImageError:
    # Name only the host: paths and queries of signed URLs are secrets.
    return ReferenceImageError(f"the image at {url.host} {what}.")


def _refusal(url: URL, refused: list[str]) -> ReferenceImageError:
    return ReferenceImageError(
        f"{url.host} has the address {', '.join(dict.fromkeys(refused))}, which is not public; allow it with "
        "allow_private_references."
    )


def _reason(error: Exception) -> str:
    # aiohttp's error texts can contain the whole URL.
    cause = getattr(error, "os_error", error)
    if isinstance(cause, OSError) and cause.errno is not None and cause.errno > 0:
        return os.strerror(cause.errno)
    return type(cause).__name__
