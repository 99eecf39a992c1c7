"""Answers that never end, until the client disconnects."""

from __future__ import annotations

from aiohttp import web

from ..http.exchange import SLICE_BYTES, HttpExchange
from ..http.responses import Response
from .rules import Fault


async def endless_body(exchange: HttpExchange, answer: Response, fault: Fault) -> web.StreamResponse:
    """Send a success whose first image never ends."""
    response = web.StreamResponse(headers={"Content-Type": "application/json"})
    return await _for_ever(exchange, response, b'{"created":1,"data":[{"b64_json":"', b"A" * SLICE_BYTES)


async def endless_5xx(exchange: HttpExchange, answer: Response, fault: Fault) -> web.StreamResponse:
    """Send a failure whose HTML page never ends."""
    response = web.StreamResponse(status=500, headers={"Content-Type": "text/html"})
    return await _for_ever(exchange, response, b"<html><body>", b" " * SLICE_BYTES)


async def endless_file(exchange: HttpExchange, answer: Response, fault: Fault) -> web.StreamResponse:
    """Send a download that never ends."""
    response = web.StreamResponse(headers={"Content-Type": answer.content_type or "image/png"})
    return await _for_ever(exchange, response, b"".join(answer.body), bytes(SLICE_BYTES))


async def endless_headers(exchange: HttpExchange, answer: Response, fault: Fault) -> web.StreamResponse:
    """Send response headers that never end."""
    await exchange.write_raw(b"HTTP/1.1 200 OK\r\n")
    while exchange.transport() is not None:
        await exchange.write_raw(b"X-Filler: 0123456789\r\n" * 64)
        # Without it, a client that stops reading would fill the sandbox's memory.
        await exchange.flush()
    return exchange.close()


async def _for_ever(
    exchange: HttpExchange, response: web.StreamResponse, beginning: bytes, filling: bytes
) -> web.StreamResponse:
    response.enable_chunked_encoding()
    await response.prepare(exchange.request)
    await response.write(beginning)
    while exchange.transport() is not None:
        await response.write(filling)
        await exchange.pause(0)
    return response
