"""The blocking side: one event loop in a thread, and an adapter that keeps every signature."""

from __future__ import annotations

import functools
import threading
from collections.abc import Callable, Coroutine
from concurrent.futures import Future
from contextlib import AbstractAsyncContextManager, AbstractContextManager
from typing import Any, Concatenate, Generic, ParamSpec, TypeVar

from anyio.from_thread import BlockingPortal, start_blocking_portal

from .errors import ConfigurationError

P = ParamSpec("P")
R = TypeVar("R")
S = TypeVar("S")
AsyncT = TypeVar("AsyncT")


class Portal:
    """
    An event loop in a thread of its own, started on first use; it serves one blocking client.

    That thread is why a blocking call also works where a loop is running already, as in a notebook.
    """

    def __init__(self) -> None:
        self._context: AbstractContextManager[BlockingPortal] | None = None
        self._portal: BlockingPortal | None = None
        self._closed = False
        # The first calls of several threads must not start a loop each.
        self._starting = threading.Lock()

    def __reduce__(self) -> tuple[type[Portal], tuple[()]]:
        # A loop stays in its process; what is unpickled may open one of its own.
        return Portal, ()

    def run(self, call: Callable[[], Coroutine[Any, Any, R]]) -> R:
        """Run *call* on the loop and wait. An interrupt of the waiting thread cancels it there."""
        future: Future[R] = self._started().start_task_soon(call)
        try:
            return future.result()
        except BaseException:
            if not future.done():
                future.cancel()
            raise

    def enter(self, context: AbstractAsyncContextManager[R]) -> AbstractContextManager[R]:
        """*context* as a blocking context manager."""
        return self._started().wrap_async_context_manager(context)

    def close(self) -> None:
        """Stop the loop and its thread."""
        with self._starting:
            self._closed = True
            context, self._context, self._portal = self._context, None, None
        if context is not None:
            context.__exit__(None, None, None)

    @property
    def started(self) -> bool:
        """Whether there is a loop to clean up on."""
        return self._portal is not None

    def _started(self) -> BlockingPortal:
        with self._starting:
            if self._closed:
                raise ConfigurationError("this client is closed; make a new one.")
            if self._portal is None:
                self._context = start_blocking_portal("asyncio")
                self._portal = self._context.__enter__()
            return self._portal


class Reach(Generic[AsyncT]):
    """Something blocking: the async object that does the work, and the portal to reach it."""

    _portal: Portal
    _target: AsyncT

    def _invoke(self, call: Callable[[], Coroutine[Any, Any, R]]) -> R:
        return self._portal.run(call)


class Resource(Reach[AsyncT]):
    """A blocking resource of a client."""

    def __init__(self, portal: Portal, target: AsyncT) -> None:
        self._portal = portal
        self._target = target


def blocking(
    method: Callable[Concatenate[AsyncT, P], Coroutine[Any, Any, R]],
) -> Callable[Concatenate[Reach[AsyncT], P], R]:
    """
    The blocking form of an async *method*: its parameters exist once and cannot drift.

    Type checkers see the full signature through the ParamSpec; help() and inspect see it as well.
    """

    def call(self: Reach[AsyncT], /, *args: P.args, **kwargs: P.kwargs) -> R:
        return self._invoke(functools.partial(method, self._target, *args, **kwargs))  # pyright: ignore[reportPrivateUsage]

    functools.update_wrapper(call, method)
    return call
