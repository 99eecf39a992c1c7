"""An event loop that runs in a thread of its own."""

from __future__ import annotations

import threading
from collections.abc import Callable, Coroutine
from concurrent.futures import Future
from typing import Any

import anyio
from anyio.from_thread import BlockingPortal

Close = Callable[[], Coroutine[Any, Any, None]]


class LoopThread:
    """
    A running event loop and the thread that it runs in.

    Args:
        aclose: Awaited on the loop when nothing else runs there any more.

    Raises:
        OSError: The process has no descriptors left for a loop.
        RuntimeError: No thread can be started any more.
    """

    # anyio.start_blocking_portal would do, but what it returns joins its thread when it is collected: at the
    # interpreter's exit, where that thread no longer runs, this waits for ever.
    def __init__(self, aclose: Close) -> None:
        self._aclose = aclose
        started: Future[BlockingPortal] = Future()
        self._thread = threading.Thread(
            target=self._serve, args=(started,), name="nanogpt-images", daemon=True
        )
        self._thread.start()
        self.portal = started.result()

    def _serve(self, started: Future[BlockingPortal]) -> None:
        async def main() -> None:
            try:
                async with BlockingPortal() as portal:
                    started.set_result(portal)
                    await portal.sleep_until_stopped()
            finally:
                await self._aclose()

        try:
            anyio.run(main)
        except BaseException as error:
            if started.done():
                raise
            started.set_exception(error)

    def end(self, timeout_s: float | None = None) -> None:
        """Cancel what runs on the loop, and wait until the thread has ended."""
        self.portal.start_task_soon(self.portal.stop, True)
        self._thread.join(timeout_s)
