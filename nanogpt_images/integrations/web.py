"""
Web applications: paid requests that end when the browser goes away, and event streams that stay open. Needs no extra.

It works with any ASGI framework (FastAPI, Starlette, Litestar, Django) and imports none of them.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import (
    AsyncGenerator,
    AsyncIterator,
    Awaitable,
    Callable,
    Coroutine,
    Mapping,
    MutableMapping,
)
from typing import Any, Final, TypeVar

R = TypeVar("R")

EVENT_STREAM_HEADERS: Final[Mapping[str, str]] = {
    "Content-Type": "text/event-stream; charset=utf-8",
    "Cache-Control": "no-cache",
    "X-Accel-Buffering": "no",
}
"""Headers of a stream of server-sent events; the last one keeps nginx from holding events back."""

_KEEP_ALIVE: Final = ": keep-alive\n\n"


async def while_connected(
    receive: Callable[[], Awaitable[MutableMapping[str, Any]]],
    work: Coroutine[Any, Any, R],
    *,
    timeout_s: float | None = None,
) -> R:
    """
    Await *work* while the browser waits; cancel it when the browser goes away or the time is over.

    A request that is cancelled after its body has left may be charged: its `AttemptEnded` event says so.

    Args:
        receive: The `receive` of the ASGI request, such as `request.receive` of Starlette and FastAPI. The
            request's body must have been read.
        work: Such as `client.images.generate(…)`; it has ended when this function returns or raises.
        timeout_s: Seconds for *work*, waiting for a slot and repeated attempts included; None for no limit.

    Raises:
        ConnectionAbortedError: The browser went away first.
        TimeoutError: The time is over.
        NanoGPTError: Whatever *work* raises.

    Source: docs/web-apps.md, "When the browser goes away".
    """
    task, gone = asyncio.create_task(work), asyncio.create_task(_disconnected(receive))
    try:
        await asyncio.wait({task, gone}, timeout=timeout_s, return_when=asyncio.FIRST_COMPLETED)
        if task.done():
            return task.result()
        if gone.done():
            gone.result()
            raise ConnectionAbortedError("the browser went away before the work was done.")
        raise TimeoutError(f"the work was not done within {timeout_s:g} s.")
    finally:
        task.cancel()
        gone.cancel()
        await asyncio.gather(task, gone, return_exceptions=True)


async def _disconnected(receive: Callable[[], Awaitable[MutableMapping[str, Any]]]) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


async def with_keep_alive(events: AsyncIterator[str], *, every_s: float = 15.0) -> AsyncGenerator[str]:
    """
    Yield *events*, and a comment whenever none has come for a while: proxies close a connection that is silent.

    Args:
        events: Server-sent events, each with the empty line that ends it.
        every_s: Seconds of silence before a comment; most proxies wait at least 30.

    Source: docs/web-apps.md, "Follow a batch on the page".
    """
    pending: asyncio.Future[str] | None = None
    try:
        while True:
            pending = asyncio.ensure_future(anext(events))
            while not (await asyncio.wait({pending}, timeout=every_s))[0]:
                yield _KEEP_ALIVE
            try:
                event = pending.result()
            except StopAsyncIteration:
                return
            yield event
    finally:
        if pending is not None:
            pending.cancel()
            with contextlib.suppress(asyncio.CancelledError, Exception):
                await pending
        if isinstance(events, AsyncGenerator):
            await events.aclose()
