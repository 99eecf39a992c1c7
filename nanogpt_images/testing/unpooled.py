"""A transport without a connection pool: it works in any event loop and needs no closing."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

import anyio

from ..transport.aiohttp import AiohttpTransport
from ..transport.protocol import HttpRequest, HttpResponse


class UnpooledTransport:
    """
    Opens a connection for each request and closes it afterwards.

    A client with this transport works in several event loops, one after the other, and need not be closed:
    a fixture and its test often run in different loops.
    """

    @asynccontextmanager
    async def send(self, request: HttpRequest) -> AsyncGenerator[HttpResponse]:
        """Send *request* once, as `Transport.send` does."""
        transport = AiohttpTransport()
        try:
            async with transport.send(request) as response:
                yield response
        finally:
            with anyio.CancelScope(shield=True):
                await transport.aclose()

    async def aclose(self) -> None:
        """Do nothing: no connection is kept."""
