"""The right to send: pace, then money, then the commit of the intent, in this order and in one place."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from ..batch.run.settlement import Task
from ..errors import BudgetExceededError
from ..transport.pacing.pacer import Pacer
from .job_resources import JobResources
from .leases import Leases, Stage
from .members import Member
from .notifier import Notifier

_SETTLE_S: Final = 2.0


class SendPermits:
    """
    Args:
        resources: Journal, accounts and pacing windows.
        leases: Which worker holds what.
        notifier: Wakes those who wait for money when something was settled.
        cap_nano: Budget of the whole job.
        entitled: The member for a worker that may send now; None for one that may not.
    """

    def __init__(
        self,
        resources: JobResources,
        leases: Leases[str, Task],
        notifier: Notifier,
        *,
        cap_nano: int | None,
        entitled: Callable[[str], Member | None],
    ) -> None:
        self._resources = resources
        self._leases = leases
        self._notifier = notifier
        self._cap_nano = cap_nano
        self._entitled = entitled

    async def grant(self, worker: str, unit_id: str, reserved_nano: int) -> bool:
        """
        Wait for a place and for money, and commit that the unit is sent.

        Returns:
            Whether *worker* may send it now. Where not, it no longer holds the unit, or nothing more is sent.

        Raises:
            BudgetExceededError: A budget could be passed, and no request in flight may turn out cheaper.
        """
        while (member := self._holder(worker, unit_id)) is not None:
            pacer = self._resources.pacers[member.key]
            if pacer is not None:
                await pacer.take()
            if self._holder(worker, unit_id) is not member:
                _end_start(pacer)
                return False
            # From here a loss of the worker leaves the unit unknown, with or without the commit.
            self._leases.advance(worker, unit_id, Stage.SENT)
            member.open_starts += 1
            try:
                account = self._resources.accounts[member.key]
                await account.sent(unit_id, reserved_nano, cap_nano=self._cap_nano)
            except BaseException as error:
                self._leases.advance(worker, unit_id, Stage.HELD)
                self.started(member, 1)
                if not isinstance(error, BudgetExceededError) or not self._leases.sent:
                    raise
                await self._notifier.wait(_SETTLE_S)
                continue
            return self._leases.stage(worker, unit_id) is Stage.SENT
        return False

    def started(self, member: Member, count: int) -> None:
        """Note that so many granted requests have left, or will not leave."""
        for _ in range(min(count, member.open_starts)):
            member.open_starts -= 1
            _end_start(self._resources.pacers[member.key])

    def _holder(self, worker: str, unit_id: str) -> Member | None:
        return self._entitled(worker) if self._leases.stage(worker, unit_id) is Stage.HELD else None


def _end_start(pacer: Pacer | None) -> None:
    if pacer is not None:
        pacer.started()
