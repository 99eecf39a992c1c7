"""The way of one paid request: reserve → pace → journal → post → disk; `settlement` does what follows."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, TypeGuard

import anyio
import attrs

from ...errors import (
    BudgetExceededError,
    Charge,
    DailyLimitError,
    NanoGPTError,
    RateLimitError,
    ServerError,
)
from ...money.budget_gate import BudgetGate
from ...resources.pipeline import Pipeline
from ...transport.key_ring import KeyOut
from ...transport.pacing.pacer import Pacing
from ...transport.sender import AttemptHooks
from ...types.request import ImageRequest
from ..events import BatchEvent, Tally
from ..journal.key_budget import KeyBudget
from ..outcomes import Refused, Repeated
from ..recorder import Recorder
from .concurrency import ConcurrencyLimit, Place
from .load import Load, Post
from .settlement import Phase, Settlement, Task
from .stop_signal import Halted, StopSignal

# The time in which the images of a cancelled request are recorded. Those that take longer, such as uploads, are
# found on the disk by the next run.
_LAST_WORDS_S: Final = 5.0


@attrs.frozen(kw_only=True)
class Executor:
    """
    Executes tasks; shared by the workers of a batch.

    Attributes:
        settlement: Records what becomes of them.
        load: Whether the service takes anything at all.
        pacers: Pace the POSTs of all processes of the job, one for each key; none where there is no limit or no directory.
        accounts: Book each request on the key that it is sent with; none where there is one key, and the recorder does.
    """

    images: Pipeline
    recorder: Recorder
    budget_gate: BudgetGate
    concurrency_limit: ConcurrencyLimit
    stop_signal: StopSignal
    tally: Tally
    settlement: Settlement
    load: Load = attrs.field(factory=Load)
    pacers: Sequence[Pacing] = ()
    accounts: Sequence[KeyBudget] = ()

    async def execute(self, task: Task) -> BatchEvent | None:
        """Execute *task* and return its event; None when it was not sent because the batch stops."""
        if task.problem is not None:
            return await self.settlement.failed(task, task.problem, journalled=False)
        if task.request is None:
            return await self.settlement.follow_up(task)
        # Waiting for a place, for money, for the pace or for the next attempt ends when the batch stops.
        with anyio.CancelScope() as waiting:
            self.stop_signal.cancel_on_stop(waiting)
            try:
                async with self.concurrency_limit.one() as place:
                    await self.budget_gate.reserve(task.price_nano)
                    return await self._generate(task, task.request, waiting, place)
            except BudgetExceededError as error:
                self.stop_signal.stop(error)
            finally:
                self.stop_signal.shield(waiting)
        return None

    async def _generate(
        self, task: Task, request: ImageRequest, waiting: anyio.CancelScope, place: Place
    ) -> BatchEvent | None:
        attempts = _Attempts(self, task, waiting, place)
        store = self.settlement.store(task.unit)
        try:
            result = await self.images.run(request, store, validate=False, hooks=attempts)
            attempts.over(refused=False)
        except Halted:
            self.budget_gate.release(task.price_nano)
            return None
        except NanoGPTError as error:
            self.stop_signal.shield(waiting)
            attempts.answered(error)
            if _for_load(error):
                return await self.settlement.refused(
                    task, error, journalled=attempts.phase is not Phase.WAITING
                )
            return await self.settlement.failed(task, error, journalled=attempts.phase is not Phase.WAITING)
        except BaseException:
            with anyio.move_on_after(_LAST_WORDS_S, shield=True):
                await self.settlement.cancelled(task, attempts.phase, store)
            raise
        finally:
            attempts.over(refused=None)
        self.stop_signal.succeeded()
        self.concurrency_limit.faster()
        return await self.settlement.succeeded(task, result)

    async def repeat(self, task: Task, error: NanoGPTError) -> None:
        """Count an attempt that may have been charged, for a policy that sends it again; *error* where money is short."""
        if not self.budget_gate.reserve_now(task.price_nano):
            raise error
        await self.recorder.record(task.unit.id, Repeated())
        self.budget_gate.hold(task.price_nano)
        self.tally.unknown_nano += task.price_nano

    async def sent(self, task: Task, key: int) -> None:
        """
        Record that the POST of *task* is about to leave with *key*.

        Raises:
            KeyOut: The cap of the key is reached, for now.
            BudgetExceededError: The cap of the job is.
        """
        unit_id, price, cap_nano = task.unit.id, task.price_nano, self.budget_gate.cap_nano
        if not self.accounts:
            await self.recorder.sent(unit_id, price, cap_nano=cap_nano)
            return
        try:
            await self.accounts[key].sent(unit_id, price, cap_nano=cap_nano)
        except BudgetExceededError as error:
            if await self.accounts[key].has_room(price):
                raise
            raise KeyOut(error) from error

    def paused(self, seconds: float, key: int) -> None:
        """Let the other processes of the job wait too, and show the pause."""
        if len(self.pacers) <= 1:
            self.concurrency_limit.pause(seconds)
            self.load.pause(seconds)
        if self.pacers:
            self.pacers[key].pause(seconds)

    def pressure(self, error: NanoGPTError) -> None:
        """Send less at once where the service asks for it."""
        if isinstance(error, DailyLimitError):
            return
        if isinstance(error, RateLimitError) or _is_unavailable(error):
            self.concurrency_limit.slower(f"{error.status} {error.code or ''}".strip())


def _is_unavailable(error: NanoGPTError) -> TypeGuard[ServerError]:
    return isinstance(error, ServerError) and error.status == 503


def _for_load(error: NanoGPTError) -> TypeGuard[RateLimitError | ServerError]:
    """
    Return whether the service refused for load alone, and without a charge: the request may be sent at any later time.

    Source: docs/service.md, "Errors": 429 `rate_limit_exceeded` says "wait", 503 "retry with backoff".
    """
    is_limit = isinstance(error, RateLimitError) and not isinstance(error, DailyLimitError)
    is_free = error.charge in (Charge.NOT_SENT, Charge.REJECTED)
    return is_free and (is_limit or _is_unavailable(error))


@attrs.define
class _Attempts(AttemptHooks):
    """The attempts of one request: what they leave in the journal, and how far the last one has come."""

    executor: Executor
    task: Task
    waiting: anyio.CancelScope
    place: Place
    phase: Phase = Phase.WAITING
    paced: Pacing | None = None
    post: Post | None = None

    async def before(self, key: int) -> None:
        executor = self.executor
        self.post = await executor.load.permit()
        if executor.pacers:
            await executor.pacers[key].take()
            self.paced = executor.pacers[key]
        executor.stop_signal.check()
        executor.stop_signal.shield(self.waiting)
        # Commit before the POST: a crash may strand a paid request, never repeat one.
        self.phase = Phase.RECORDING
        try:
            await executor.sent(self.task, key)
        except NanoGPTError:
            self.phase = Phase.WAITING
            raise
        except KeyOut:
            self.phase = Phase.WAITING
            self.over(refused=None)
            executor.stop_signal.cancel_on_stop(self.waiting)
            raise
        self.phase = Phase.SENT

    def answered(self, error: NanoGPTError) -> None:
        """Apply the *error* of the last attempt to the whole batch."""
        self.executor.pressure(error)
        refused = _for_load(error)
        self.over(refused=None if error.charge is Charge.NOT_SENT and not refused else refused)
        if _for_load(error) and self.executor.load.hopeless:
            self.executor.stop_signal.overloaded(error, self.executor.load.in_a_row)

    def over(self, *, refused: bool | None) -> None:
        """End the last attempt: its answer is known, or will not come."""
        if self.post is not None:
            self.executor.load.answered(self.post, refused=refused)

    def started(self) -> None:
        self.place.left()
        if self.post is not None:
            self.executor.load.left(self.post)
        if self.paced is not None:
            paced, self.paced = self.paced, None
            paced.started()

    def paused(self, seconds: float, key: int) -> None:
        self.executor.paused(seconds, key)

    def withheld(self) -> None:
        # The intent is in the journal, and nothing came of it.
        self.phase = Phase.RECORDING

    async def refused(self, error: NanoGPTError) -> None:
        executor = self.executor
        self.answered(error)
        self.phase = Phase.RECORDING
        if error.charge in (Charge.NOT_SENT, Charge.REJECTED):
            await executor.recorder.record(self.task.unit.id, Refused())
        else:
            await executor.repeat(self.task, error)
        self.phase = Phase.WAITING
        executor.stop_signal.cancel_on_stop(self.waiting)
