"""Several keys: which of them a worker has, and which errors end the work of one key rather than of the job."""

from __future__ import annotations

from ..errors import (
    AuthenticationError,
    BudgetExceededError,
    DailyLimitError,
    InsufficientBalanceError,
    NanoGPTError,
    PermissionDeniedError,
)

# These concern the key alone, and another one may succeed. A budget of the whole job ends one key after another.
_OF_THE_KEY = (
    AuthenticationError,
    BudgetExceededError,
    DailyLimitError,
    InsufficientBalanceError,
    PermissionDeniedError,
)


class Keys:
    """
    The keys of a job by number, and which of them are retired.

    Args:
        count: How many there are.
    """

    def __init__(self, count: int) -> None:
        self._count = count
        self._retired: dict[int, NanoGPTError] = {}

    def of_worker(self, number: int) -> int:
        """Return the key of worker *number*: all keys have as many workers, give or take one."""
        return number % self._count

    @property
    def retired(self) -> frozenset[int]:
        """The keys that send nothing more."""
        return frozenset(self._retired)

    def is_retired(self, key: int) -> bool:
        """Return whether *key* sends nothing more."""
        return key in self._retired

    def fail(self, key: int, error: NanoGPTError) -> NanoGPTError | None:
        """
        Note that a worker with *key* stopped for *error*.

        Returns:
            The error that stops the job; None where other keys continue.
        """
        if not isinstance(error, _OF_THE_KEY):
            return error
        self._retired.setdefault(key, error)
        return error if len(self._retired) == self._count else None


def pace_name(base: str, key: int) -> str:
    """Name the file of a key's pacing window; the first key shares that of local batches."""
    return base if key == 0 else f"{base}-{key}"
