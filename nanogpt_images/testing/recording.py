"""Exchanges on tape: a transport that records what another one does, and one that answers from the tape."""

from __future__ import annotations

import os
from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Final

import anyio.to_thread
import attrs
from multidict import CIMultiDict

from ..errors import TransportError
from ..transport.protocol import HttpRequest, HttpResponse, Transport
from .cassette import Cassette, Exchange
from .redact import clean_body, clean_headers, clean_url, keys_of
from .unpooled import UnpooledTransport

_CHUNK_BYTES: Final = 2**16


class UnexpectedRequestError(AssertionError):
    """A request that the cassette has no (further) answer for. It was not sent."""


@attrs.define(eq=False)
class _Taped:
    """An answer that remembers what was read of it."""

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
    Sends what it is given through *transport* and keeps the exchanges, without keys.

    Exchanges that break off are not kept: a connection that is lost while recording is not the service's answer.

    Args:
        path: The file to write, by `save` or `aclose`.
        transport: Sends; by default a transport of its own.

    Attributes:
        cassette: What was recorded so far.
    """

    def __init__(self, path: str | os.PathLike[str], transport: Transport | None = None) -> None:
        self.cassette = Cassette()
        self._path = path
        self._transport = UnpooledTransport() if transport is None else transport

    @asynccontextmanager
    async def send(self, request: HttpRequest) -> AsyncGenerator[HttpResponse]:
        """Send *request* once; see `Transport.send`."""
        async with self._transport.send(request) as response:
            taped = _Taped(response)
            try:
                yield taped
            except TransportError:
                raise
            except Exception:
                # Whatever the client makes of the answer, this is what the service said.
                self.cassette.exchanges.append(_exchange(request, taped))
                raise
            self.cassette.exchanges.append(_exchange(request, taped))

    def save(self) -> None:
        """Write the file."""
        self.cassette.save(self._path)

    async def aclose(self) -> None:
        """Write the file, and close the transport underneath."""
        await anyio.to_thread.run_sync(self.save)
        await self._transport.aclose()


class ReplayTransport:
    """
    Answers from a cassette and opens no connection.

    Each recorded exchange answers one request of the same method, URL and body; any other request fails.

    Args:
        path: A file that a `RecordingTransport` wrote.

    Attributes:
        unused: Exchanges that nobody has asked for yet.

    Raises:
        ConfigurationError: There is no such file, or it is not a cassette.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.unused = Cassette.load(path).exchanges
        self._path = path

    @asynccontextmanager
    async def send(self, request: HttpRequest) -> AsyncGenerator[HttpResponse]:
        """
        The recorded answer to *request*.

        Raises:
            UnexpectedRequestError: There is none.
        """
        exchange = self._take(request)
        if request.body is not None:
            request.begin_body()
        yield _Replayed(exchange.status, CIMultiDict(exchange.headers), exchange.body)

    async def aclose(self) -> None:
        """There is nothing to close."""

    def _take(self, request: HttpRequest) -> Exchange:
        url, body = clean_url(request.url), _clean_request_body(request)
        for index, exchange in enumerate(self.unused):
            if exchange.answers(request.method, url, body):
                return self.unused.pop(index)
        sent = "" if body is None else f" with the body {body[:300].decode('utf-8', 'replace')}"
        left = "\n".join(f"  {exchange.place}" for exchange in self.unused) or "  (none)"
        raise UnexpectedRequestError(
            f"{request.method} {url}{sent} is not in {self._path}, or not so often. Nothing was sent. "
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
