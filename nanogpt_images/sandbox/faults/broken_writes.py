"""Answers written badly: cut, stalled, dripping; `endless` has those without an end."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping

import attrs
from aiohttp import web

from ..http.exchange import Wire
from ..http.responses import Answer
from .endless import endless_5xx, endless_body, endless_file, endless_headers
from .rules import Fault

DRIP_S = 0.02
Mishap = Callable[[Wire, Answer, Fault], Awaitable[web.StreamResponse]]


@attrs.frozen
class Written:
    """What became of an answer: *whole* when every byte of it was written."""

    response: web.StreamResponse
    whole: bool


async def send_badly(wire: Wire, answer: Answer, fault: Fault) -> Written:
    """Write *answer* as *fault* has it; a kind that is not about writing leaves it alone."""
    if fault.kind in _WHOLE:
        return Written(await _WHOLE[fault.kind](wire, answer, fault), True)
    if fault.kind in _BROKEN:
        return Written(await _BROKEN[fault.kind](wire, answer, fault), False)
    return Written(await wire.send(answer), True)


async def _reset(wire: Wire, answer: Answer, fault: Fault) -> web.StreamResponse:
    return wire.reset()


async def _close(wire: Wire, answer: Answer, fault: Fault) -> web.StreamResponse:
    return wire.close()


async def _reset_in_headers(wire: Wire, answer: Answer, fault: Fault) -> web.StreamResponse:
    await wire.write_raw(b"HTTP/1.1 200 OK\r\nContent-Type: applica")
    await wire.flush()
    return wire.reset()


async def _stall_in_headers(wire: Wire, answer: Answer, fault: Fault) -> web.StreamResponse:
    await wire.write_raw(b"HTTP/1.1 200 OK\r\nContent-Type: applica")
    await wire.stall(fault.after_s)
    return wire.reset()


async def _not_http(wire: Wire, answer: Answer, fault: Fault) -> web.StreamResponse:
    await wire.write_raw(b"SSH-2.0-OpenSSH_9.9\r\n")
    await wire.flush()
    return wire.close()


async def _reset_halfway(wire: Wire, answer: Answer, fault: Fault) -> web.StreamResponse:
    await _write_part(wire, answer, answer.size // 2)
    return wire.reset()


async def _close_halfway(wire: Wire, answer: Answer, fault: Fault) -> web.StreamResponse:
    await _write_part(wire, answer, answer.size // 2)
    return wire.close()


async def _reset_before_last_byte(wire: Wire, answer: Answer, fault: Fault) -> web.StreamResponse:
    await _write_part(wire, answer, answer.size - 1)
    return wire.reset()


async def _reset_at_end(wire: Wire, answer: Answer, fault: Fault) -> web.StreamResponse:
    await _write_part(wire, answer, answer.size)
    return wire.reset()


async def _write_part(wire: Wire, answer: Answer, size: int) -> None:
    await wire.write(await wire.start(answer), answer, size=size)
    await wire.flush()


async def _stall_before_headers(wire: Wire, answer: Answer, fault: Fault) -> web.StreamResponse:
    await wire.stall(fault.after_s)
    return await wire.send(answer)


async def _stall_halfway(wire: Wire, answer: Answer, fault: Fault) -> web.StreamResponse:
    return await _send_paced(wire, answer, parts=2, wait_s=fault.after_s)


async def _stall_before_last_byte(wire: Wire, answer: Answer, fault: Fault) -> web.StreamResponse:
    response = await wire.start(answer)
    await wire.write(response, answer, size=answer.size - 1)
    await wire.stall(fault.after_s)
    await response.write(answer.body[-1][-1:])
    await response.write_eof()
    return response


async def _drip(wire: Wire, answer: Answer, fault: Fault) -> web.StreamResponse:
    return await _send_paced(
        wire, answer, parts=64, wait_s=DRIP_S if fault.after_s is None else fault.after_s
    )


async def _send_paced(wire: Wire, answer: Answer, *, parts: int, wait_s: float | None) -> web.StreamResponse:
    response = await wire.start(answer)
    body = b"".join(answer.body)
    step = max(1, -(-len(body) // parts))
    for start in range(0, len(body), step):
        if start:
            await wire.stall(wait_s)
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
