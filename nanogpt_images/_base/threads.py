"""Blocking work beside an event loop."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar, TypeVarTuple

import anyio.to_thread
from anyio import CapacityLimiter

R = TypeVar("R")
ArgumentsT = TypeVarTuple("ArgumentsT")


async def in_thread(
    function: Callable[[*ArgumentsT], R], *args: *ArgumentsT, limiter: CapacityLimiter | None = None
) -> R:
    """
    Call *function* in a worker thread; *limiter* bounds how many run at once (default: anyio's).

    Python 3.12 and later start no thread once the main thread has ended, although others still run, perhaps with a
    request that was paid for. There *function* is called in place.
    """
    try:
        return await anyio.to_thread.run_sync(function, *args, limiter=limiter)
    except RuntimeError as error:
        if "can't create new thread" not in str(error):
            raise
        return function(*args)
