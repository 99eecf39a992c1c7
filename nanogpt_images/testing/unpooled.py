"""A transport without a pool: it belongs to no event loop, and leaves nothing to be closed."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

import anyio

from ..transport.aiohttp import AiohttpTransport
from ..transport.protocol import HttpRequest, HttpResponse


class UnpooledTransport:
    """
    Opens a connection for each request and closes it afterwards.

    That makes a client that any event loop can use, one after the other, and that nobody has to close:
    in tests, the loop of a fixture is often not that of the test.
    """

    @asynccontextmanager
    async def send(self, request: HttpRequest) -> AsyncGenerator[HttpResponse]:
        """Send *request* once; see `Transport.send`."""
        transport = AiohttpTransport()
        try:
            async with transport.send(request) as response:
                yield response
        finally:
            with anyio.CancelScope(shield=True):
                await transport.aclose()

    async def aclose(self) -> None:
        """There is nothing to close."""
