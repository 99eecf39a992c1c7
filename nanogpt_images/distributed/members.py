"""The workers that a coordinator knows: their keys, and when they were last heard from."""

from __future__ import annotations

from collections.abc import Callable

import attrs


@attrs.define(kw_only=True, eq=False)
class Member:
    """
    A worker.

    Attributes:
        key: Number of its key.
        heard_at: When it was last heard from.
        open_starts: Granted starts that it has not reported yet.
    """

    key: int
    heard_at: float
    open_starts: int = 0


class Members:
    """
    Workers by name.

    Args:
        silence_s: Seconds of silence after which a worker is taken for dead. No money depends on it: a worker sends
            nothing without a grant.
        clock: Monotonic seconds.
    """

    def __init__(self, *, silence_s: float, clock: Callable[[], float]) -> None:
        self._silence_s = silence_s
        self._clock = clock
        self._members: dict[str, Member] = {}

    def enter(self, worker: str, key: int) -> Member:
        """Note a worker that introduces itself, perhaps not for the first time."""
        return self.heard(worker) or self._members.setdefault(worker, Member(key=key, heard_at=self._clock()))

    def heard(self, worker: str) -> Member | None:
        """Note a sign of life; None for a worker that is not known, or no longer."""
        member = self._members.get(worker)
        if member is not None:
            member.heard_at = self._clock()
        return member

    def drop(self, worker: str) -> Member | None:
        """Remove a worker that is lost."""
        return self._members.pop(worker, None)

    def silent(self) -> list[str]:
        """List the workers that have not been heard from for too long."""
        latest = self._clock() - self._silence_s
        return [worker for worker, member in self._members.items() if member.heard_at < latest]
