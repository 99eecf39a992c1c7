"""The coordinator behind the handle of its actor: typed calls, errors as they were raised, and lost answers told apart."""

from __future__ import annotations

import importlib
from collections.abc import Sequence
from typing import Any, Final, cast

import attrs

from ..._base.display import install_hint
from ...batch.events import BatchEvent
from ...batch.journal import Totals
from ...batch.outcomes import Outcome
from ...batch.rows import BatchRow
from ...batch.run.settlement import Task
from ...distributed.messages import Beat, InFlight, Leased, Opened, Status, UnreachableError
from ...errors import ConfigurationError, NanoGPTError

# Ray says that it does not restart the actor. It is asked once or twice more nevertheless.
_DEAD_S: Final = 3.0


def load_ray() -> Any:
    """
    Import the module `ray`.

    Raises:
        ConfigurationError: Ray is not installed.
    """
    try:
        return importlib.import_module("ray")
    except ImportError as error:
        raise ConfigurationError(f"Ray is not installed: {install_hint('ray')}.", says_charge=True) from error


@attrs.frozen
class CallFailure:
    """An expected error on its way: as a value it stays what it is, where Ray would wrap it."""

    error: NanoGPTError


class RayCoordinator:
    """A coordinator behind its handle; see `messages.ForWorkers` and `messages.ForDriver`."""

    def __init__(self, handle: Any) -> None:
        self.handle = handle

    async def _call(self, method: str, *args: object, **kwargs: object) -> Any:
        return opened(await answer(self.handle.call.remote(method, args, kwargs)))

    async def begin(self, *, retry: bool, unknown: bool) -> Opened:
        return cast("Opened", await self._call("begin", retry=retry, unknown=unknown))

    async def offer(self, epoch: str, rows: Sequence[BatchRow]) -> bool:
        return bool(await self._call("offer", epoch, rows))

    async def complete(self, epoch: str, *, from_journal: bool) -> bool:
        return bool(await self._call("complete", epoch, from_journal=from_journal))

    async def status(self) -> Status:
        return cast("Status", await self._call("status"))

    async def drain(self, reason: NanoGPTError | None) -> None:
        await self._call("drain", reason)

    async def lost(self, worker: str) -> None:
        await self._call("lost", worker)

    async def finish(self) -> Totals:
        return cast("Totals", await self._call("finish"))

    async def hello(self, worker: str, key: int, in_flight: Sequence[InFlight]) -> str:
        return str(await self._call("hello", worker, key, in_flight))

    async def beat(self, worker: str, events: Sequence[BatchEvent]) -> Beat:
        return cast("Beat", await self._call("beat", worker, events))

    async def lease(self, worker: str, count: int) -> Leased:
        return cast("Leased", await self._call("lease", worker, count))

    async def send(self, worker: str, unit_id: str, reserved_nano: int) -> bool:
        return bool(await self._call("send", worker, unit_id, reserved_nano))

    async def started(self, worker: str, count: int) -> None:
        await self._call("started", worker, count)

    async def paused(self, worker: str, seconds: float) -> None:
        await self._call("paused", worker, seconds)

    async def report(self, worker: str, task: Task, outcome: Outcome) -> None:
        await self._call("report", worker, task, outcome)

    async def give_back(self, worker: str, unit_id: str) -> None:
        await self._call("give_back", worker, unit_id)

    async def leave(self, worker: str, reason: NanoGPTError | None, events: Sequence[BatchEvent]) -> None:
        await self._call("leave", worker, reason, events)


async def answer(reference: Any) -> object:
    """
    Wait for the answer to a call.

    Raises:
        UnreachableError: No answer came: the actor, or the connection to it, is lost.
    """
    exceptions = importlib.import_module("ray.exceptions")
    try:
        return await reference
    except exceptions.ActorDiedError as error:
        raise UnreachableError(str(error), patience_s=_DEAD_S) from error
    except exceptions.RayActorError as error:
        raise UnreachableError(str(error)) from error


def opened(answer: object) -> object:
    """Return the answer itself; raise the error that it is."""
    if isinstance(answer, CallFailure):
        raise answer.error
    return answer
