"""A sandbox in its own thread, for blocking code."""

from __future__ import annotations

import asyncio
import threading
from types import TracebackType
from typing import Self

from .faults.rules import Fault
from .http.urls import Visit
from .ledger import Entry, Ledger
from .server import Sandbox


class BlockingSandbox:
    """Runs *sandbox* in a thread with its own event loop, from `__enter__` to `__exit__`."""

    def __init__(self, sandbox: Sandbox) -> None:
        self.sandbox = sandbox
        self._started = threading.Event()
        self._thread = threading.Thread(target=self._run, name="sandbox", daemon=True)
        self._loop: asyncio.AbstractEventLoop | None = None
        self._done: asyncio.Event | None = None
        self._error: BaseException | None = None

    @property
    def url(self) -> str:
        """The base URL."""
        return self.sandbox.url

    @property
    def files_url(self) -> str:
        """The second origin, which serves signed URLs."""
        return self.sandbox.files_url

    @property
    def api_key(self) -> str:
        """A key that the sandbox accepts."""
        return self.sandbox.api_key

    @property
    def ledger(self) -> Ledger:
        """What was billed, and when requests arrived."""
        return self.sandbox.ledger

    @property
    def visits(self) -> list[Visit]:
        """The requests that reached the second origin, with their headers."""
        return self.sandbox.visits

    def set_faults(self, *faults: Fault) -> None:
        """Replace the fault rules."""
        self.sandbox.set_faults(*faults)

    def refund(self, entry: Entry) -> None:
        """Refund an entry of the ledger in full."""
        self.sandbox.refund(entry)

    def reset(self) -> None:
        """Clear the ledger, counters and balances."""
        self.sandbox.reset()

    def __enter__(self) -> Self:
        """Start the thread; return once the sandbox is listening."""
        self._thread.start()
        self._started.wait()
        if self._error is not None:
            self._thread.join()
            raise self._error
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Stop the sandbox; return once its thread has ended."""
        if self._loop is not None and self._done is not None:
            self._loop.call_soon_threadsafe(self._done.set)
        self._thread.join()

    def _run(self) -> None:
        try:
            asyncio.run(self._serve())
        except BaseException as error:
            self._error = error
            self._started.set()

    async def _serve(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._done = asyncio.Event()
        async with self.sandbox:
            self._started.set()
            await self._done.wait()
