"""When a failed request is sent again: a pure decision over the error and the number of the attempt."""

from __future__ import annotations

import random
from collections.abc import Callable

import attrs

from ..errors import (
    Charge,
    DailyLimitError,
    NanoGPTError,
    RateLimitError,
    ServerError,
    StatusError,
    TransportError,
)

_DOCUMENTED_STATUSES = frozenset({408, 429, 500, 502, 503, 504, 520, 521, 522, 523, 524})


@attrs.frozen(kw_only=True)
class RetryPolicy:
    """
    What is repeated, how often and after how long.

    By default a paid request is repeated only when it certainly was not charged: it never left, or the
    service refused it and says "later" (429 of the per-second kind, 503, 408, a 5xx that says it was not
    charged). Free requests (the catalogue, the account) are repeated on every passing fault.

    Attributes:
        max_attempts: Greatest number of attempts, the first one included.
        initial_delay_s: Wait before the second attempt; it doubles with each further one.
        max_delay_s: Greatest wait that is chosen here.
        max_retry_after_s: Greatest `Retry-After` that is slept through; a longer one raises at once.
        jitter: Share of the delay that is added at random; a delay is never shortened.
        repeat_unknown: Also repeat paid requests whose outcome is unknown, unless images or URLs came before the
            answer broke off: these are in the error's `partial`. This can pay twice.
    """

    max_attempts: int = attrs.field(default=4, validator=attrs.validators.ge(1))
    initial_delay_s: float = attrs.field(default=0.5, validator=attrs.validators.ge(0))
    max_delay_s: float = attrs.field(default=30.0, validator=attrs.validators.ge(0))
    max_retry_after_s: float = attrs.field(default=60.0, validator=attrs.validators.ge(0))
    jitter: float = attrs.field(default=0.25, validator=attrs.validators.ge(0))
    repeat_unknown: bool = False

    @classmethod
    def none(cls) -> RetryPolicy:
        """Never repeat anything."""
        return cls(max_attempts=1)

    @classmethod
    def documented(cls) -> RetryPolicy:
        """
        Follow the service's own, looser advice: back off and repeat 408, 429 and every 5xx, and lost connections.

        A lost response may have been charged, and no idempotency key exists: this can pay twice.
        """
        return cls(repeat_unknown=True)

    def delay_s(
        self,
        error: NanoGPTError,
        attempt: int,
        *,
        paid: bool,
        passing: bool = False,
        uniform: Callable[[], float] = random.random,
    ) -> float | None:
        """
        Return the seconds to wait before the next attempt; None means "raise *error*".

        Args:
            error: How the last attempt failed.
            attempt: Number of the last attempt, from 1.
            paid: Whether the request costs money when it succeeds.
            passing: Repeat a free request whatever *error* is: the caller knows that it can pass.
            uniform: Source of the jitter, from 0 to 1.
        """
        if attempt >= self.max_attempts or not (passing or self._repeatable(error, paid=paid)):
            return None
        # The exponent is bounded: past it any delay is at its limit, and a float ends at 2**1023.
        backoff = min(self.initial_delay_s * 2.0 ** min(attempt - 1, 64), self.max_delay_s)
        delay = backoff * (1 + self.jitter * uniform())
        asked = error.retry_after_s if isinstance(error, StatusError) else None
        if asked is None:
            return delay
        # Jitter goes upward only: coming back before the service asked would be refused again.
        return None if asked > self.max_retry_after_s else max(delay, asked)

    def _repeatable(self, error: NanoGPTError, *, paid: bool) -> bool:
        if isinstance(error, DailyLimitError) or error.charge is Charge.CHARGED:
            return False
        passing = isinstance(error, TransportError | RateLimitError | ServerError)
        if not paid:
            return passing
        if error.charge is Charge.UNKNOWN:
            # An answer that brought images or links was charged: they are kept, and not bought a second time.
            return (self.repeat_unknown and error.partial is None) and (
                isinstance(error, TransportError)
                or (isinstance(error, StatusError) and error.status in _DOCUMENTED_STATUSES)
            )
        return passing
