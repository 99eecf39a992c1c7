"""The workers that a coordinator knows: their keys, and when they were heard of."""

from __future__ import annotations

from collections.abc import Callable

import attrs


@attrs.define(kw_only=True, eq=False)
class Member:
    """
    A worker.

    Attributes:
        key: Number of its key.
        heard_at: When it was heard of at last.
        open_starts: Starts that were granted, and of which it has not told yet that they happened.
    """

    key: int
    heard_at: float
    open_starts: int = 0


class Members:
    """
    Workers by name.

    Args:
        silence_s: After how long a worker that says nothing is taken for dead. No money depends on it: a worker
            sends nothing without having asked.
        clock: Monotonic seconds.
    """

    def __init__(self, *, silence_s: float, clock: Callable[[], float]) -> None:
        self._silence_s = silence_s
        self._clock = clock
        self._members: dict[str, Member] = {}

    def enter(self, worker: str, key: int) -> Member:
        """A worker introduces itself, perhaps not for the first time."""
        return self.heard(worker) or self._members.setdefault(worker, Member(key=key, heard_at=self._clock()))

    def heard(self, worker: str) -> Member | None:
        """The worker gives a sign of life; None for one that is not known, or not any more."""
        member = self._members.get(worker)
        if member is not None:
            member.heard_at = self._clock()
        return member

    def drop(self, worker: str) -> Member | None:
        """The worker is gone."""
        return self._members.pop(worker, None)

    def silent(self) -> list[str]:
        """Who has not been heard of for too long."""
        latest = self._clock() - self._silence_s
        return [worker for worker, member in self._members.items() if member.heard_at < latest]
