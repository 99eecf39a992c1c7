"""Faults that cut, stall or slow the writing of an answer; `endless` has answers without an end."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping

import attrs
from aiohttp import web

from ..http.exchange import HttpExchange
from ..http.responses import Response
from .endless import endless_5xx, endless_body, endless_file, endless_headers
from .rules import Fault

DRIP_S = 0.02
_HALF_A_HEADER = b"HTTP/1.1 200 OK\r\nContent-Type: applica"
Mishap = Callable[[HttpExchange, Response, Fault], Awaitable[web.StreamResponse]]


@attrs.frozen
class Written:
    """An answer that was written; *whole* if every byte of it was."""

    response: web.StreamResponse
    whole: bool


async def send_badly(exchange: HttpExchange, answer: Response, fault: Fault) -> Written:
    """Write *answer* with *fault*; kinds of other stages write it whole."""
    if fault.kind in _WHOLE:
        return Written(await _WHOLE[fault.kind](exchange, answer, fault), True)
    if fault.kind in _BROKEN:
        return Written(await _BROKEN[fault.kind](exchange, answer, fault), False)
    return Written(await exchange.send(answer), True)


async def _break(
    exchange: HttpExchange, answer: Response | bytes = b"", size: int | None = None, *, reset: bool = True
) -> web.StreamResponse:
    """Write raw bytes, or the first *size* bytes of an answer's body, then break the connection."""
    if isinstance(answer, Response):
        await exchange.write(await exchange.start(answer), answer, size=size)
    else:
        await exchange.write_raw(answer)
    if answer:
        await exchange.flush()
    return exchange.reset() if reset else exchange.close()


async def _stall_in_headers(exchange: HttpExchange, answer: Response, fault: Fault) -> web.StreamResponse:
    await exchange.write_raw(_HALF_A_HEADER)
    await exchange.stall(fault.after_s)
    return exchange.reset()


async def _stall_before_headers(exchange: HttpExchange, answer: Response, fault: Fault) -> web.StreamResponse:
    await exchange.stall(fault.after_s)
    return await exchange.send(answer)


async def _stall_before_last_byte(
    exchange: HttpExchange, answer: Response, fault: Fault
) -> web.StreamResponse:
    response = await exchange.start(answer)
    await exchange.write(response, answer, size=answer.size - 1)
    await exchange.stall(fault.after_s)
    await response.write(answer.body[-1][-1:])
    await response.write_eof()
    return response


async def _send_paced(
    exchange: HttpExchange, answer: Response, parts: int, wait_s: float | None
) -> web.StreamResponse:
    """Write the body in *parts* slices, *wait_s* seconds apart; None waits until the client disconnects."""
    response = await exchange.start(answer)
    body = b"".join(answer.body)
    step = max(1, -(-len(body) // parts))
    for start in range(0, len(body), step):
        if start:
            await exchange.stall(wait_s)
        await response.write(body[start : start + step])
    await response.write_eof()
    return response


_WHOLE: Mapping[str, Mishap] = {
    "reset_at_end": lambda exchange, answer, _: _break(exchange, answer),
    "stall_before_headers": _stall_before_headers,
    "stall_in_body": lambda exchange, answer, fault: _send_paced(exchange, answer, 2, fault.after_s),
    "url_stall": lambda exchange, answer, fault: _send_paced(exchange, answer, 2, fault.after_s),
    "stall_before_last_byte": _stall_before_last_byte,
    "slow_drip": lambda exchange, answer, fault: _send_paced(
        exchange, answer, 64, DRIP_S if fault.after_s is None else fault.after_s
    ),
}
_BROKEN: Mapping[str, Mishap] = {
    "reset_after_body": lambda exchange, _, __: _break(exchange),
    "reset_after_body_unbilled": lambda exchange, _, __: _break(exchange),
    "url_reset": lambda exchange, _, __: _break(exchange),
    "close_after_body": lambda exchange, _, __: _break(exchange, reset=False),
    "reset_in_headers": lambda exchange, _, __: _break(exchange, _HALF_A_HEADER),
    "stall_in_headers": _stall_in_headers,
    "not_http": lambda exchange, _, __: _break(exchange, b"SSH-2.0-OpenSSH_9.9\r\n", reset=False),
    "reset_in_response_body": lambda exchange, answer, _: _break(exchange, answer, answer.size // 2),
    "close_in_response_body": lambda exchange, answer, _: _break(
        exchange, answer, answer.size // 2, reset=False
    ),
    "url_cut": lambda exchange, answer, _: _break(exchange, answer, answer.size // 2, reset=False),
    "reset_before_last_byte": lambda exchange, answer, _: _break(exchange, answer, answer.size - 1),
    "endless_headers": endless_headers,
    "endless_body": endless_body,
    "endless_5xx": endless_5xx,
    "url_endless": endless_file,
}
