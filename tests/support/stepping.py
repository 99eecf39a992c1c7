"""Cancel an operation at each of its suspensions in turn: its own, and those of every task that it starts."""

from __future__ import annotations

import asyncio
import enum
import itertools
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any

import anyio
import attrs

_MOST_STEPS = 2_000


class Way(enum.Enum):
    """How an operation is cancelled."""

    EARLY = "task.cancel() while it waits"
    LATE = "task.cancel() when what it waited for has just come about"
    SCOPE = "an anyio cancel scope around it"


@attrs.define
class Ending:
    """
    How an operation ended.

    Attributes:
        steps: Suspensions that were counted.
        struck: Whether the cancellation was asked for; otherwise the operation was over before.
        cancelled: Whether it ended by it.
    """

    steps: int = 0
    struck: bool = False
    cancelled: bool = False


async def at_each_step(
    attempt: Callable[[int], Awaitable[Ending]], *, first: int = 1, stride: int = 1
) -> int:
    """Call *attempt* with *first*, then every *stride* on, until the operation ends before it is cancelled; the last step."""
    for step in itertools.count(first, stride):
        ending = await attempt(step)
        if not ending.struck:
            assert not ending.cancelled
            return step - 1
        assert step < _MOST_STEPS
    raise AssertionError("unreachable: itertools.count does not end")


async def cancelled_at(step: int, way: Way, operation: Callable[[], Coroutine[Any, Any, object]]) -> Ending:
    """
    Run *operation* in a task of its own and cancel it at suspension number *step*.

    An error of the operation is raised, and so is an AssertionError where it goes on after its cancellation.
    """
    watch = _Watch(step, way)
    loop = asyncio.get_running_loop()
    scope = anyio.CancelScope()

    async def scoped() -> None:
        with scope:
            await operation()

    def make_task(
        loop: asyncio.AbstractEventLoop, coroutine: Coroutine[Any, Any, Any], **options: Any
    ) -> asyncio.Task[Any]:
        return asyncio.Task(_Stepped(coroutine, watch), loop=loop, **options)

    before = loop.get_task_factory()
    loop.set_task_factory(make_task)
    try:
        task = loop.create_task(scoped() if way is Way.SCOPE else operation())
        watch.strike = scope.cancel if way is Way.SCOPE else task.cancel
        await asyncio.wait([task])
    finally:
        loop.set_task_factory(before)
    ending = Ending(watch.count, watch.struck, task.cancelled() or scope.cancelled_caught)
    if not task.cancelled():
        task.result()
    return ending


class _Watch:
    """Counts suspensions, and strikes at one of them."""

    def __init__(self, step: int, way: Way) -> None:
        self.count = 0
        self.struck = False
        self.strike: Callable[[], object] = lambda: None
        self._step = step
        self._way = way

    def suspended(self, awaited: object) -> None:
        self.count += 1
        if self.count != self._step:
            return
        self.struck = True
        if self._way is Way.LATE and isinstance(awaited, asyncio.Future):
            # This callback comes before the task's own: the task is cancelled with its result in its hands.
            awaited.add_done_callback(lambda _: self.strike())
        else:
            self.strike()


class _Stepped(Coroutine[Any, Any, Any]):
    """A coroutine whose suspensions are watched."""

    def __init__(self, coroutine: Coroutine[Any, Any, Any], watch: _Watch) -> None:
        self._coroutine = coroutine
        self._watch = watch

    def send(self, value: Any) -> Any:
        awaited = self._coroutine.send(value)
        self._watch.suspended(awaited)
        return awaited

    def throw(self, *error: Any) -> Any:
        awaited = self._coroutine.throw(*error)
        self._watch.suspended(awaited)
        return awaited

    def close(self) -> None:
        self._coroutine.close()

    def __await__(self) -> Any:
        return self._coroutine.__await__()

    def __getattr__(self, name: str) -> Any:
        # inspect and anyio look at `cr_frame`, `cr_running` and the like.
        return getattr(self._coroutine, name)
