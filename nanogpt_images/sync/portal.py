"""The event loop of a blocking client: started on first use, ended with the client or the process, left behind by a fork."""

from __future__ import annotations

import atexit
import os
import threading
import warnings
import weakref
from collections.abc import Callable, Coroutine
from concurrent.futures import CancelledError, Future
from contextlib import AbstractAsyncContextManager, AbstractContextManager
from types import TracebackType
from typing import Any, Final, Generic, TypeVar

from ..errors import Charge, ConfigurationError, NanoGPTError, OutcomeUnknownError
from .loop_thread import Close, LoopThread

R = TypeVar("R")

_EXIT_S: Final = 5.0


async def _nothing() -> None:
    """Close nothing: the default."""


class Portal:
    """
    The event loop of one blocking client, in a thread of its own.

    That thread is why a blocking call also works where a loop is running already, as in a notebook. A forked
    child starts a loop of its own.

    Args:
        aclose: Awaited on the loop before it ends.
    """

    def __init__(self, aclose: Close = _nothing) -> None:
        self._aclose = aclose
        self._loop: LoopThread | None = None
        self._finalizer: weakref.finalize[[LoopThread], Portal] | None = None
        self._closed = False
        # The first calls of several threads must not start a loop each.
        self._starting = threading.Lock()

    def __reduce__(self) -> tuple[type[Portal], tuple[()]]:
        # A loop stays in its process; what is unpickled may open one of its own.
        return Portal, ()

    @property
    def loop(self) -> LoopThread | None:
        """What runs now; None before the first call and after the end."""
        return self._loop

    def run(self, call: Callable[[], Coroutine[Any, Any, R]]) -> R:
        """
        Run *call* on the loop and wait. An interrupt of the waiting thread cancels it there.

        Raises:
            ConfigurationError: The client is closed, or the interpreter is exiting.
            OutcomeUnknownError: The client was closed during the call.
        """
        portal = self._started().portal
        try:
            future: Future[R] = portal.start_task_soon(call)
        except RuntimeError as error:
            # Another thread has closed the client since.
            raise ConfigurationError("this client is closed; make a new one.") from error
        try:
            return future.result()
        except CancelledError:
            if _Exit.begun:
                # Only daemon threads still wait now; the interpreter is about to freeze them.
                threading.Event().wait()
            raise OutcomeUnknownError(
                "the client was closed while this call was in progress.",
                charge=Charge.UNKNOWN,
            ) from None
        except BaseException:
            if not future.done():
                future.cancel()
            raise

    def enter(self, context: AbstractAsyncContextManager[R]) -> PortalContext[R]:
        """Wrap *context* as a blocking context manager."""
        loop = self._started()
        return PortalContext(self, loop, loop.portal.wrap_async_context_manager(context))

    def close(self) -> None:
        """Cancel what runs, close what the client opened, and end the thread."""
        with self._starting:
            self._closed = True
            loop = self._forget()
        if loop is not None:
            loop.end()

    def end_at_exit(self) -> None:
        """Close a loop that its client left open, in bounded time."""
        if (loop := self._forget()) is not None:
            loop.end(_EXIT_S)
            _warn()

    def forget_at_fork(self) -> None:
        """Forget the loop in a forked child: its thread does not exist there, and its sockets are the parent's."""
        self._starting = threading.Lock()
        self._forget()

    def _forget(self) -> LoopThread | None:
        loop, self._loop = self._loop, None
        if self._finalizer is not None:
            self._finalizer.detach()
        return loop

    def _started(self) -> LoopThread:
        with self._starting:
            if self._closed:
                raise ConfigurationError("this client is closed; make a new one.")
            if self._loop is None:
                self._loop = _start(self._aclose)
                self._finalizer = weakref.finalize(self, _abandoned, self._loop)
                self._finalizer.atexit = False
                _portals.add(self)
            return self._loop


class PortalContext(Generic[R]):
    """A context manager that is open on a portal's loop, and has no meaning without it."""

    def __init__(self, portal: Portal, loop: LoopThread, context: AbstractContextManager[R]) -> None:
        self._portal = portal
        self._loop = loop
        self._context = context

    def check(self) -> None:
        """Raise ConfigurationError where its loop is gone: closed, or left behind in the parent process."""
        if self._portal.loop is not self._loop:
            raise ConfigurationError("this batch ended with its client, or belongs to the parent process.")

    def __enter__(self) -> R:
        try:
            return self._context.__enter__()
        except NanoGPTError as error:
            error.__traceback__ = None
            raise

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> bool | None:
        if self._portal.loop is self._loop:
            return self._context.__exit__(kind, error, trace)
        return None


class _Exit:
    begun = False


_portals: weakref.WeakSet[Portal] = weakref.WeakSet()


def _start(aclose: Close) -> LoopThread:
    try:
        if not _Exit.begun:
            return LoopThread(aclose)
    except (OSError, RuntimeError) as error:
        # Too many open files; or the main thread has ended, after which Python 3.12 and later start no thread.
        raise ConfigurationError(
            f"the client's event loop cannot start: {error}.", says_charge=True
        ) from error
    raise ConfigurationError("the interpreter is exiting.", says_charge=True)


def _abandoned(loop: LoopThread) -> None:
    # Collection can happen in any thread, the loop's own among them, so nothing is waited for here.
    threading.Thread(target=loop.end, name="nanogpt-images-closing").start()
    _warn()


def _warn() -> None:
    warnings.warn(
        "a nanogpt_images.Client was not closed; use `with Client() as client:` or call close().",
        ResourceWarning,
        stacklevel=2,
    )


def _at_exit() -> None:
    _Exit.begun = True
    for portal in list(_portals):
        portal.end_at_exit()


def _after_fork() -> None:
    for portal in list(_portals):
        portal.forget_at_fork()


atexit.register(_at_exit)
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
