"""The way of one paid request: reserve → pace → journal → post → disk; `endings` has what follows."""

from __future__ import annotations

import anyio
import attrs

from .._sender import AttemptHooks
from ..errors import BudgetExceededError, Charge, NanoGPTError, RateLimitError, ServerError
from ..images import Images
from ..request import ImageRequest
from .endings import Endings, Phase, Task
from .events import BatchEvent, Tally
from .funds import Funds
from .gate import Gate
from .halt import Halt, Halted
from .keeping import Keeping
from .pacer import Pacer


@attrs.frozen(kw_only=True)
class Work:
    """
    Carries out tasks. Everything that is shared by the workers of a batch.

    Attributes:
        endings: Writes down what becomes of them.
        pacer: Paces the POSTs of all processes of the job; None where there is no limit or no directory.
    """

    images: Images
    keeping: Keeping
    funds: Funds
    gate: Gate
    halt: Halt
    tally: Tally
    endings: Endings
    pacer: Pacer | None = None

    async def carry_out(self, task: Task) -> BatchEvent | None:
        """The outcome of *task*; None when it was not sent because the batch stops."""
        if task.problem is not None:
            return await self.endings.failed(task, task.problem, journalled=False)
        if task.request is None:
            return await self.endings.download(task, self.endings.placeholder(task), cost=0)
        # Waiting for a place, for money, for the pace or for the next attempt ends when the batch stops.
        with anyio.CancelScope() as waiting:
            self.halt.idle(waiting)
            try:
                async with self.gate.one():
                    await self.funds.reserve(task.price_nano)
                    return await self._generate(task, task.request, waiting)
            except BudgetExceededError as error:
                self.halt.stop(error)
            finally:
                self.halt.busy(waiting)
        return None

    async def _generate(
        self, task: Task, request: ImageRequest, waiting: anyio.CancelScope
    ) -> BatchEvent | None:
        phase = Phase.WAITING
        unit_id = task.unit.id
        has_place = False

        async def before() -> None:
            nonlocal phase, has_place
            if self.pacer is not None:
                await self.pacer.take()
                has_place = True
            self.halt.check()
            self.halt.busy(waiting)
            # Commit before the POST: a crash may strand a paid request, never repeat one.
            phase = Phase.RECORDING
            try:
                await self.keeping.sent(unit_id, task.price_nano, cap_nano=self.funds.cap_nano)
            except NanoGPTError:
                phase = Phase.WAITING
                raise
            phase = Phase.SENT

        def started() -> None:
            nonlocal has_place
            if self.pacer is not None and has_place:
                has_place = False
                self.pacer.started()

        async def refused(error: NanoGPTError) -> None:
            nonlocal phase
            self._pressure(error)
            phase = Phase.RECORDING
            if error.charge in (Charge.NOT_SENT, Charge.REJECTED):
                await self.keeping.refused(unit_id)
            else:
                await self._repeat(task, error)
            phase = Phase.WAITING
            self.halt.idle(waiting)

        store = self.endings.store(task.unit)
        hooks = AttemptHooks(before=before, refused=refused, started=started, paused=self._paused)
        try:
            result = await self.images.run(request, store, validate=False, hooks=hooks)
        except Halted:
            self.funds.release(task.price_nano)
            return None
        except NanoGPTError as error:
            self.halt.busy(waiting)
            self._pressure(error)
            return await self.endings.failed(task, error, journalled=phase is not Phase.WAITING)
        except BaseException:
            with anyio.CancelScope(shield=True):
                await self.endings.cancelled(task, phase)
            raise
        self.halt.succeeded()
        self.gate.faster()
        return await self.endings.succeeded(task, result)

    async def _repeat(self, task: Task, error: NanoGPTError) -> None:
        """Count an attempt that may have been charged, for a policy that sends it again; *error* where money is short."""
        if not self.funds.reserve_now(task.price_nano):
            raise error
        await self.keeping.repeated(task.unit.id)
        self.funds.hold(task.price_nano)
        self.tally.unknown_nano += task.price_nano

    def _paused(self, seconds: float) -> None:
        self.gate.pause(seconds)
        if self.pacer is not None:
            self.pacer.pause(seconds)

    def _pressure(self, error: NanoGPTError) -> None:
        if isinstance(error, RateLimitError) or (isinstance(error, ServerError) and error.status == 503):
            self.gate.slower(f"{error.status} {error.code or ''}".strip())
