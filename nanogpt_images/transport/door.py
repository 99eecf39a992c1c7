"""The one door where bytes come in: what a service echoes of the key goes no further."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Final

from multidict import CIMultiDict

from ..errors import TransportError
from .protocol import HttpRequest, HttpResponse, Transport
from .secrets import Redactor

MAX_FAILURE_BYTES: Final = 64 * 2**10


class Door:
    """
    A transport whose answers have headers, and bodies of failure, without the key.

    A body of success is handed on as it comes: images are not searched. The decoder of the small rest cleans that with the
    same *redact*.

    Args:
        transport: Sends the requests.
        redact: Replaces the key.
    """

    def __init__(self, transport: Transport, redact: Redactor) -> None:
        self._transport = transport
        self._redact = redact

    def send(self, request: HttpRequest) -> AbstractAsyncContextManager[HttpResponse]:
        """Send *request* once."""
        return self._cleaned(request)

    @asynccontextmanager
    async def _cleaned(self, request: HttpRequest) -> AsyncGenerator[HttpResponse]:
        try:
            async with self._transport.send(request) as response:
                yield _Response(response, self._redact)
        except Exception as error:
            self._redact.error(error)
            raise

    async def aclose(self) -> None:
        """Close the transport behind it."""
        await self._transport.aclose()


class _Response:
    """An answer without the key."""

    __slots__ = ("_redact", "_response", "headers", "status")

    def __init__(self, response: HttpResponse, redact: Redactor) -> None:
        self._response = response
        self._redact = redact
        self.status: int = response.status
        self.headers: Mapping[str, str] = _clean(response.headers, redact)

    def chunks(self) -> AsyncIterator[bytes]:
        return self._response.chunks() if self.status < 300 else self._failure()

    async def _failure(self) -> AsyncIterator[bytes]:
        body = bytearray()
        broken: TransportError | None = None
        try:
            async for chunk in self._response.chunks():
                body += chunk
                if len(body) >= MAX_FAILURE_BYTES:
                    break
        except TransportError as error:
            broken = error
        yield self._redact.body(body[:MAX_FAILURE_BYTES])
        if broken is not None:
            # The reader has to know that the half that matters may be missing.
            raise broken


def _clean(headers: Mapping[str, str], redact: Redactor) -> Mapping[str, str]:
    together = "\n".join(headers.values())
    if redact.text(together) == together:
        return headers
    return CIMultiDict((name, redact.text(value)) for name, value in headers.items())
