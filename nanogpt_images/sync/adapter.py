"""The blocking side: an adapter that keeps every signature."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Coroutine
from typing import Any, Concatenate, Generic, ParamSpec, TypeVar

from ..errors import NanoGPTError
from .portal import Portal

P = ParamSpec("P")
R = TypeVar("R")
AsyncT = TypeVar("AsyncT")


class BlockingProxy(Generic[AsyncT]):
    """Something blocking: the async object that does the work, and the portal to reach it."""

    _portal: Portal
    _target: AsyncT

    def _invoke(self, call: Callable[[], Coroutine[Any, Any, R]]) -> R:
        return self._portal.run(call)


class Resource(BlockingProxy[AsyncT]):
    """A blocking resource of a client."""

    def __init__(self, portal: Portal, target: AsyncT) -> None:
        self._portal = portal
        self._target = target


def parts_of(proxy: BlockingProxy[AsyncT]) -> tuple[Portal, AsyncT]:
    """Return the portal of *proxy* and the async object behind it, for the modules of this folder."""
    return proxy._portal, proxy._target  # pyright: ignore[reportPrivateUsage]


def blocking(
    method: Callable[Concatenate[AsyncT, P], Coroutine[Any, Any, R]],
) -> Callable[Concatenate[BlockingProxy[AsyncT], P], R]:
    """
    Return the blocking form of an async *method*: its parameters exist once and cannot drift.

    Type checkers see the full signature through the ParamSpec; help() and inspect see it as well.
    """

    def call(self: BlockingProxy[AsyncT], /, *args: P.args, **kwargs: P.kwargs) -> R:
        try:
            return self._invoke(functools.partial(method, self._target, *args, **kwargs))  # pyright: ignore[reportPrivateUsage]
        except NanoGPTError as error:
            # The frames of the portal and of the loop say nothing to the caller; the text and the cause do.
            error.__traceback__ = None
            raise
        except TypeError as error:
            if not _fits(method, self, *args, **kwargs):
                error.__traceback__ = None
            raise

    functools.update_wrapper(call, method)
    return call


def _fits(method: Callable[..., object], *args: object, **kwargs: object) -> bool:
    """Return whether *method* takes these arguments, so that a TypeError is a fault of the package."""
    try:
        inspect.signature(method).bind(*args, **kwargs)
    except TypeError:
        return False
    return True
