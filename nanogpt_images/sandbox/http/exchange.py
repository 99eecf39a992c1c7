"""One request on its connection: read the body, send the answer, break the connection."""

from __future__ import annotations

import asyncio
import socket
import struct
from collections.abc import Awaitable, Callable, Iterator

import attrs
from aiohttp import web

from .refusals import MAX_BODY_BYTES, Refusal, body_too_large
from .responses import Response

SLICE_BYTES = 256 * 1024
_SMALL_BYTES = 64 * 1024
# Maximum seconds that a fault waits for sent bytes to leave before it breaks the connection.
_FLUSH_S = 1.0


@attrs.frozen(kw_only=True)
class HttpExchange:
    """
    One request and its connection.

    Args:
        request: The request.
        request_id: Sent as `X-Request-ID`; empty sends none.
        pause: Sleeps; raises ConnectionResetError if the sandbox closes meanwhile.
    """

    request: web.BaseRequest
    request_id: str
    pause: Callable[[float], Awaitable[None]]
    _peeked: list[bytes] = attrs.field(factory=list[bytes], init=False)

    async def peek(self) -> bytes:
        """Return the part of the body that has arrived, without consuming it."""
        self._peeked.append(await self.request.content.readany())
        return b"".join(self._peeked)

    async def read_body(
        self, most: int = MAX_BODY_BYTES, refusal: Callable[[], Refusal] = body_too_large
    ) -> bytes:
        """
        Read the whole request body.

        Args:
            most: Its greatest size.
            refusal: What is answered to a larger one.

        Raises:
            Refusal: It is larger; by default the edge's 413.
            ConnectionError: The client disconnected before it had sent everything.
        """
        if (self.request.content_length or 0) > most:
            raise refusal()
        pieces = [*self._peeked]
        size = sum(map(len, pieces))
        async for piece in self.request.content.iter_any():
            size += len(piece)
            if size > most:
                raise refusal()
            pieces.append(piece)
        return b"".join(pieces)

    async def send(self, answer: Response) -> web.StreamResponse:
        """Write the whole *answer*."""
        if answer.size > _SMALL_BYTES and self.request.method != "HEAD":
            response = await self.start(answer)
            await self.write(response, answer)
        else:
            body = b"".join(answer.body)
            response = web.Response(status=answer.status, headers=self._headers(answer), body=body)
            await response.prepare(self.request)
        await response.write_eof()
        return response

    async def start(self, answer: Response) -> web.StreamResponse:
        """Write the status line and headers of *answer*."""
        response = web.StreamResponse(status=answer.status, headers=self._headers(answer))
        response.content_length = answer.size
        await response.prepare(self.request)
        return response

    async def write(self, response: web.StreamResponse, answer: Response, *, size: int | None = None) -> None:
        """Write the body of *answer*, or its first *size* bytes."""
        left = answer.size if size is None else size
        for piece in _slices(answer.body):
            if left <= 0:
                break
            await response.write(piece[:left])
            left -= len(piece)

    async def write_raw(self, data: bytes) -> None:
        """Write *data* to the socket, bypassing HTTP."""
        transport = self.transport()
        if transport is not None:
            transport.write(data)

    async def flush(self) -> None:
        """Wait, for at most a second, until the kernel has taken all bytes and had a moment to send them."""
        deadline = asyncio.get_running_loop().time() + _FLUSH_S
        while (transport := self.transport()) is not None and transport.get_write_buffer_size():
            if asyncio.get_running_loop().time() > deadline:
                break
            await self.pause(0.005)
        await self.pause(0.01)

    async def stall(self, seconds: float | None) -> None:
        """Wait for *seconds*; None waits until the client disconnects."""
        if seconds is not None:
            await self.pause(seconds)
            return
        while self.transport() is not None:
            await self.pause(0.02)

    def reset(self) -> web.StreamResponse:
        """Break the connection with a TCP reset."""
        transport = self.transport()
        if transport is not None:
            connection = transport.get_extra_info("socket")
            # Zero linger: the kernel sends RST and drops its unsent bytes.
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            transport.abort()
        return web.Response()

    def close(self) -> web.StreamResponse:
        """Close the connection without an answer."""
        transport = self.transport()
        if transport is not None:
            transport.close()
        return web.Response()

    def transport(self) -> asyncio.WriteTransport | None:
        """Return the connection; None once it is closed."""
        transport = self.request.transport
        if transport is None or transport.is_closing():
            return None
        assert isinstance(transport, asyncio.WriteTransport)
        return transport

    def _headers(self, answer: Response) -> dict[str, str]:
        headers = dict(answer.headers)
        if answer.content_type is not None:
            headers["Content-Type"] = answer.content_type
        if self.request_id:
            headers["X-Request-ID"] = self.request_id
        return headers


def _slices(body: tuple[bytes, ...]) -> Iterator[bytes | memoryview]:
    for piece in body:
        if len(piece) <= SLICE_BYTES:
            yield piece
            continue
        view = memoryview(piece)
        for start in range(0, len(view), SLICE_BYTES):
            yield view[start : start + SLICE_BYTES]
