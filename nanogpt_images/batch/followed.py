"""A batch as its user holds it: events while it runs, and an end that depends on how it is left."""

from __future__ import annotations

import contextlib
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator
from types import TracebackType

import anyio
from anyio.abc import TaskGroup
from anyio.streams.memory import MemoryObjectReceiveStream

from .events import BatchEvent, BatchReport


class Followed(ABC):
    """
    Leaving the block runs the batch to its end where nobody looked at events, lets end what is under way where
    somebody stopped looking, and breaks it off where the task is cancelled.
    """

    def __init__(self) -> None:
        self._failure: Exception | None = None
        self._iterated = False
        self._exit = contextlib.AsyncExitStack()

    @property
    @abstractmethod
    def report(self) -> BatchReport:
        """The numbers now; final once the block is left."""

    @abstractmethod
    def drain(self) -> None:
        """Send nothing more; what is under way ends, and its events still come. A rerun resumes."""

    async def wait(self) -> BatchReport:
        """Run to the end without looking at events."""
        async for _ in self:
            pass
        return self.report

    def _follow(
        self,
        events: MemoryObjectReceiveStream[BatchEvent],
        group: TaskGroup,
        exit_stack: contextlib.AsyncExitStack,
    ) -> None:
        """Begin: *group* does the work and tells *events*, *exit_stack* closes everything."""
        self._events = events
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
                # The work must not block on events that nobody takes any more.
                with contextlib.suppress(anyio.ClosedResourceError):
                    async for _ in self._events:
                        pass
        finally:
            await self._exit.aclose()
        if error is None and self._failure is not None:
            raise self._failure

    def __aiter__(self) -> AsyncIterator[BatchEvent]:
        return self

    async def __anext__(self) -> BatchEvent:
        self._iterated = True
        try:
            return await self._events.receive()
        except anyio.EndOfStream:
            if self._failure is not None:
                raise self._failure from None
            raise StopAsyncIteration from None
