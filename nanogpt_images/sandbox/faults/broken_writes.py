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


async def _reset(exchange: HttpExchange, answer: Response, fault: Fault) -> web.StreamResponse:
    return exchange.reset()


async def _close(exchange: HttpExchange, answer: Response, fault: Fault) -> web.StreamResponse:
    return exchange.close()


async def _reset_in_headers(exchange: HttpExchange, answer: Response, fault: Fault) -> web.StreamResponse:
    await exchange.write_raw(b"HTTP/1.1 200 OK\r\nContent-Type: applica")
    await exchange.flush()
    return exchange.reset()


async def _stall_in_headers(exchange: HttpExchange, answer: Response, fault: Fault) -> web.StreamResponse:
    await exchange.write_raw(b"HTTP/1.1 200 OK\r\nContent-Type: applica")
    await exchange.stall(fault.after_s)
    return exchange.reset()


async def _not_http(exchange: HttpExchange, answer: Response, fault: Fault) -> web.StreamResponse:
    await exchange.write_raw(b"SSH-2.0-OpenSSH_9.9\r\n")
    await exchange.flush()
    return exchange.close()


async def _reset_halfway(exchange: HttpExchange, answer: Response, fault: Fault) -> web.StreamResponse:
    await _write_part(exchange, answer, answer.size // 2)
    return exchange.reset()


async def _close_halfway(exchange: HttpExchange, answer: Response, fault: Fault) -> web.StreamResponse:
    await _write_part(exchange, answer, answer.size // 2)
    return exchange.close()


async def _reset_before_last_byte(
    exchange: HttpExchange, answer: Response, fault: Fault
) -> web.StreamResponse:
    await _write_part(exchange, answer, answer.size - 1)
    return exchange.reset()


async def _reset_at_end(exchange: HttpExchange, answer: Response, fault: Fault) -> web.StreamResponse:
    await _write_part(exchange, answer, answer.size)
    return exchange.reset()


async def _write_part(exchange: HttpExchange, answer: Response, size: int) -> None:
    await exchange.write(await exchange.start(answer), answer, size=size)
    await exchange.flush()


async def _stall_before_headers(exchange: HttpExchange, answer: Response, fault: Fault) -> web.StreamResponse:
    await exchange.stall(fault.after_s)
    return await exchange.send(answer)


async def _stall_halfway(exchange: HttpExchange, answer: Response, fault: Fault) -> web.StreamResponse:
    return await _send_paced(exchange, answer, parts=2, wait_s=fault.after_s)


async def _stall_before_last_byte(
    exchange: HttpExchange, answer: Response, fault: Fault
) -> web.StreamResponse:
    response = await exchange.start(answer)
    await exchange.write(response, answer, size=answer.size - 1)
    await exchange.stall(fault.after_s)
    await response.write(answer.body[-1][-1:])
    await response.write_eof()
    return response


async def _drip(exchange: HttpExchange, answer: Response, fault: Fault) -> web.StreamResponse:
    return await _send_paced(
        exchange, answer, parts=64, wait_s=DRIP_S if fault.after_s is None else fault.after_s
    )


async def _send_paced(
    exchange: HttpExchange, answer: Response, *, parts: int, wait_s: float | None
) -> web.StreamResponse:
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
    "reset_at_end": _reset_at_end,
    "stall_before_headers": _stall_before_headers,
    "stall_in_body": _stall_halfway,
    "url_stall": _stall_halfway,
    "stall_before_last_byte": _stall_before_last_byte,
    "slow_drip": _drip,
}
_BROKEN: Mapping[str, Mishap] = {
    "reset_after_body": _reset,
    "reset_after_body_unbilled": _reset,
    "url_reset": _reset,
    "close_after_body": _close,
    "reset_in_headers": _reset_in_headers,
    "stall_in_headers": _stall_in_headers,
    "not_http": _not_http,
    "reset_in_response_body": _reset_halfway,
    "close_in_response_body": _close_halfway,
    "url_cut": _close_halfway,
    "reset_before_last_byte": _reset_before_last_byte,
    "endless_headers": endless_headers,
    "endless_body": endless_body,
    "endless_5xx": endless_5xx,
    "url_endless": endless_file,
}
