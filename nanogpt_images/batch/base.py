"""A batch as its user holds it: events while it runs, and an end that depends on how the block is left."""

from __future__ import annotations

import contextlib
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Generator
from types import TracebackType

import anyio
from anyio.abc import TaskGroup
from anyio.streams.memory import MemoryObjectReceiveStream

from ..errors import ConfigurationError
from .events import BatchEvent, BatchReport


class BatchBase(ABC):
    """
    Leaving the block runs the batch to its end where its events were not iterated, waits for the requests in flight
    where iteration stopped early, and cancels them where the task is cancelled.
    """

    def __init__(self) -> None:
        self._failure: Exception | None = None
        self._events: MemoryObjectReceiveStream[BatchEvent] | None = None
        self._is_open = False
        self._iterated = False
        self._exit = contextlib.AsyncExitStack()

    @property
    @abstractmethod
    def report(self) -> BatchReport:
        """The numbers now; final once the block is left."""

    @abstractmethod
    def drain(self) -> None:
        """Stop sending; requests in flight end, and their events still come. A rerun resumes."""

    async def wait(self) -> BatchReport:
        """
        Run to the end without looking at events.

        Raises:
            ConfigurationError: Outside the batch's block.
        """
        async for _ in self:
            pass
        return self.report

    def _follow(
        self,
        events: MemoryObjectReceiveStream[BatchEvent],
        group: TaskGroup,
        exit_stack: contextlib.AsyncExitStack,
    ) -> None:
        """Begin: *group* does the work and sends *events*, *exit_stack* closes everything."""
        self._events = events
        self._is_open = True
        self._scope = group.cancel_scope
        self._exit = exit_stack

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            if error is not None and not isinstance(error, Exception):
                self._scope.cancel()
            elif error is None and not self._iterated:
                await self.wait()
            else:
                self.drain()
                # The work must not block on events that are no longer read.
                with contextlib.suppress(anyio.ClosedResourceError):
                    async for _ in self._open_events():
                        pass
        finally:
            self._is_open = False
            await self._exit.aclose()
        if error is None and self._failure is not None:
            raise self._failure

    def _open_events(self) -> MemoryObjectReceiveStream[BatchEvent]:
        if self._events is None or not self._is_open:
            state = "has not started" if self._events is None else "is over"
            raise ConfigurationError(
                f"this batch {state}: it runs inside its block. Use `async with client.batch(...) as run:` and iterate"
                " or wait in it, or `await client.run_batch(...)`, which needs no block.",
                says_charge=True,
            )
        return self._events

    def __await__(self) -> Generator[object, None, BatchReport]:
        return self.wait().__await__()

    def __aiter__(self) -> AsyncIterator[BatchEvent]:
        return self

    async def __anext__(self) -> BatchEvent:
        events = self._open_events()
        self._iterated = True
        try:
            return await events.receive()
        except anyio.EndOfStream:
            if self._failure is not None:
                raise self._failure from None
            raise StopAsyncIteration from None
