"""A worker's connection to the coordinator, which may be lost for a while: then nothing is sent, and outcomes wait."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Callable, Coroutine
from typing import Any, Final, TypeVar

from ..batch.events import BatchEvent
from ..batch.outcomes import Outcome, Refused
from ..batch.run.settlement import Task
from ..batch.run.stop_signal import StopSignal
from ..errors import BatchError, Charge, NanoGPTError
from .leases import Stage
from .messages import ForWorkers, InFlight, Leased, UnreachableError

R = TypeVar("R")
_BEAT_S: Final = 1.0
_AGAIN_S: Final = 0.5
_ANSWER_S: Final = 10.0
_PATIENCE_S: Final = 300.0


class CoordinatorClient:
    """
    The calls of one worker. As a context manager it introduces the worker and sends signs of life.

    Args:
        coordinator: The other side.
        worker: Name of the worker.
        key: Number of its key.
        stop_signal: Stopped when the coordinator says so, or is lost for good.
    """

    def __init__(
        self,
        coordinator: ForWorkers,
        *,
        worker: str,
        key: int,
        stop_signal: StopSignal,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._coordinator = coordinator
        self._worker = worker
        self._key = key
        self._stop_signal = stop_signal
        self._gone: BatchError | None = None
        self._clock = clock
        self._in_hand: dict[str, InFlight] = {}
        self._events: list[BatchEvent] = []
        self._starts = 0
        self._telling: set[asyncio.Task[None]] = set()
        self._meeting = asyncio.Lock()
        self._beats: asyncio.Task[None] | None = None
        self.epoch = ""

    async def __aenter__(self) -> CoordinatorClient:
        await self._meet("")
        self._beats = asyncio.create_task(self._beat())
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        for task in (self._beats, *self._telling):
            if task is not None:
                task.cancel()

    def note(self, event: BatchEvent) -> None:
        """Keep an event for the driver; it goes with the next sign of life."""
        self._events.append(event)

    async def lease(self, count: int) -> Leased:
        """Lease up to *count* tasks; none when a while has passed without any."""
        return await self._persistent(lambda: self._coordinator.lease(self._worker, count))

    async def send(self, task: Task) -> bool:
        """
        Ask to send a task.

        Returns:
            Whether it may be sent now; False also where the coordinator could not be asked.

        Raises:
            NanoGPTError: It must not be sent, for reasons of money or of the journal.
        """
        unit_id = task.unit.id
        epoch = self.epoch
        self._in_hand[unit_id] = InFlight(task=task, stage=Stage.SENT)
        try:
            granted = await self._coordinator.send(self._worker, unit_id, task.price_nano)
        except UnreachableError:
            # Nothing is sent without a grant. A journal that took it for sent is corrected below.
            await self._meet(epoch)
            await self.report(task, Refused())
            granted = False
        except BaseException:
            self._in_hand.pop(unit_id, None)
            raise
        if not granted:
            self._in_hand.pop(unit_id, None)
        return granted

    async def report(self, task: Task, outcome: Outcome) -> None:
        """
        Report what became of a task, as soon as a coordinator answers.

        Raises:
            NanoGPTError: The outcome could not be recorded.
        """
        await self._persistent(lambda: self._coordinator.report(self._worker, task, outcome))
        if (left := task.left_by(outcome)) is not None:
            self._in_hand[task.unit.id] = InFlight(task=left, stage=Stage.LINKED)
        else:
            self._in_hand.pop(task.unit.id, None)

    async def give_back(self, task: Task) -> None:
        """Return a leased task that is not sent."""
        await self._persistent(lambda: self._coordinator.give_back(self._worker, task.unit.id))

    async def leave(self, reason: NanoGPTError | None) -> None:
        """Leave: the worker holds nothing more."""
        events, self._events = self._events, []
        with contextlib.suppress(UnreachableError):
            await self._coordinator.leave(self._worker, reason, events)

    def started(self) -> None:
        """Note that a granted request has left, or will not leave."""
        self._starts += 1
        if self._starts == 1:
            self._tell(self._tell_starts())

    def pause(self, seconds: float) -> None:
        """Report that the service keeps the key from starting for so long."""
        self._tell(self._coordinator.paused(self._worker, seconds))

    async def _tell_starts(self) -> None:
        # Starts of one turn of the loop share a message.
        await asyncio.sleep(0)
        count, self._starts = self._starts, 0
        await self._coordinator.started(self._worker, count)

    def _tell(self, message: Coroutine[Any, Any, None]) -> None:
        async def tell() -> None:
            # A start that is not reported ends by itself after its time.
            with contextlib.suppress(UnreachableError, NanoGPTError):
                await message

        task = asyncio.create_task(tell())
        self._telling.add(task)
        task.add_done_callback(self._telling.discard)

    async def _persistent(self, call: Callable[[], Coroutine[Any, Any, R]]) -> R:
        """Make a call that may be executed twice, as soon as the coordinator answers."""
        while True:
            epoch = self.epoch
            try:
                return await call()
            except UnreachableError:
                await self._meet(epoch)

    async def _meet(self, epoch: str) -> None:
        """Introduce the worker to the coordinator that follows the one of *epoch*; concurrent calls wait for the first one."""
        async with self._meeting:
            if self.epoch != epoch:
                return
            if self._gone is not None:
                raise self._gone
            began = self._clock()
            while True:
                try:
                    async with asyncio.timeout(_ANSWER_S):
                        self.epoch = await self._coordinator.hello(
                            self._worker, self._key, list(self._in_hand.values())
                        )
                        return
                except (UnreachableError, TimeoutError) as error:
                    patience_s = getattr(error, "patience_s", _PATIENCE_S)
                    if (absent_s := self._clock() - began) > patience_s:
                        self._gone = _absent(absent_s)
                        self._stop_signal.stop(self._gone)
                        raise self._gone from None
                await asyncio.sleep(_AGAIN_S)

    async def _beat(self) -> None:
        while True:
            await asyncio.sleep(_BEAT_S)
            events, self._events = self._events, []
            epoch = self.epoch
            try:
                async with asyncio.timeout(_ANSWER_S):
                    beat = await self._coordinator.beat(self._worker, events)
            except (UnreachableError, TimeoutError):
                self._events = events + self._events
                beat = None
            except NanoGPTError as error:
                self._stop_signal.stop(error)
                return
            if beat is not None and beat.stop:
                self._stop_signal.stop()
            if beat is None or not beat.known:
                with contextlib.suppress(BatchError):
                    await self._meet(epoch)


def _absent(seconds: float) -> BatchError:
    return BatchError(
        f"the coordinator has not answered for {seconds:.0f} s. The next run counts what is on the"
        " disk by now; other requests in flight are unknown.",
        charge=Charge.UNKNOWN,
    )
