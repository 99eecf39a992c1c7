"""A transport that records exchanges, and one that replays them."""

from __future__ import annotations

import os
from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Final

import attrs
from multidict import CIMultiDict

from .._base.threads import in_thread
from ..errors import TransportError
from ..transport.protocol import HttpRequest, HttpResponse, Transport
from .cassette import Cassette, Exchange
from .redact import clean_body, clean_headers, clean_url, keys_of
from .unpooled import UnpooledTransport

_CHUNK_BYTES: Final = 2**16


class UnexpectedRequestError(AssertionError):
    """The cassette has no unused answer to a request. The request was not sent."""


@attrs.define(eq=False)
class _Taped:
    """An answer that keeps the bytes read from it."""

    response: HttpResponse
    read: bytearray = attrs.field(factory=bytearray)

    @property
    def status(self) -> int:
        return self.response.status

    @property
    def headers(self) -> Mapping[str, str]:
        return self.response.headers

    async def chunks(self) -> AsyncIterator[bytes]:
        async for chunk in self.response.chunks():
            self.read += chunk
            yield chunk


class RecordingTransport:
    """
    Sends requests through *transport* and records the exchanges, without API keys.

    Incomplete exchanges are not recorded: a lost connection is not an answer of the service.

    Args:
        path: The file that `save` and `aclose` write.
        transport: Sends the requests; by default an `UnpooledTransport`.

    Attributes:
        cassette: The exchanges recorded so far.
    """

    def __init__(self, path: str | os.PathLike[str], transport: Transport | None = None) -> None:
        self.cassette = Cassette()
        self._path = path
        self._transport = UnpooledTransport() if transport is None else transport

    @asynccontextmanager
    async def send(self, request: HttpRequest) -> AsyncGenerator[HttpResponse]:
        """Send *request* once, as `Transport.send` does, and record the exchange."""
        async with self._transport.send(request) as response:
            taped = _Taped(response)
            try:
                yield taped
            except TransportError:
                raise
            except Exception:
                # The answer is complete, even if the client rejects it.
                self.cassette.exchanges.append(_exchange(request, taped))
                raise
            self.cassette.exchanges.append(_exchange(request, taped))

    def save(self) -> None:
        """Write the cassette to its file."""
        self.cassette.save(self._path)

    async def aclose(self) -> None:
        """Write the cassette to its file and close the wrapped transport."""
        await in_thread(self.save)
        await self._transport.aclose()


class ReplayTransport:
    """
    Answers requests from a cassette, without opening a connection.

    Each recorded exchange answers one request of the same method, URL and body; any other request fails.

    Args:
        path: A file that a `RecordingTransport` wrote.

    Attributes:
        unused: Exchanges that have not answered a request yet.

    Raises:
        ConfigurationError: The file does not exist or is not a cassette.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.unused = Cassette.load(path).exchanges
        self._path = path

    @asynccontextmanager
    async def send(self, request: HttpRequest) -> AsyncGenerator[HttpResponse]:
        """
        Return the recorded answer to *request*.

        Raises:
            UnexpectedRequestError: The cassette has no unused answer to it.
        """
        exchange = self._take(request)
        if request.body is not None:
            request.begin_body()
        yield _Replayed(exchange.status, CIMultiDict(exchange.headers), exchange.body)

    async def aclose(self) -> None:
        """Do nothing: no connection is open."""

    def _take(self, request: HttpRequest) -> Exchange:
        url, body = clean_url(request.url), _clean_request_body(request)
        for index, exchange in enumerate(self.unused):
            if exchange.answers(request.method, url, body):
                return self.unused.pop(index)
        sent = "" if body is None else f" with the body {body[:300].decode('utf-8', 'replace')}"
        left = "\n".join(f"  {exchange.method} {exchange.url}" for exchange in self.unused) or "  (none)"
        raise UnexpectedRequestError(
            f"{request.method} {url}{sent} has no unused answer in {self._path}. "
            f"Recorded and not yet used:\n{left}\nIf the request is right, record the cassette again."
        )


@attrs.frozen(eq=False)
class _Replayed:
    status: int
    headers: Mapping[str, str]
    body: bytes

    async def chunks(self) -> AsyncIterator[bytes]:
        for start in range(0, len(self.body), _CHUNK_BYTES):
            yield self.body[start : start + _CHUNK_BYTES]


def _clean_request_body(request: HttpRequest) -> bytes | None:
    # Assumption: a form that is streamed is told from another one by its length; its boundary is a new one each time.
    if request.body is None or isinstance(request.body, bytes):
        return None if request.body is None else clean_body(request.body, keys_of(request.headers))
    return f"a form of {request.body.size:,} bytes".encode()


def _exchange(request: HttpRequest, taped: _Taped) -> Exchange:
    keys = keys_of(request.headers)
    return Exchange(
        method=request.method,
        url=clean_url(request.url),
        request_body=_clean_request_body(request),
        status=taped.status,
        headers=clean_headers(taped.headers, keys),
        body=clean_body(bytes(taped.read), keys),
    )
