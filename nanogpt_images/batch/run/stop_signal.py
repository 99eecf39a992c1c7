"""When a whole batch stops: on request, or because every further request would fail like the last one."""

from __future__ import annotations

import anyio

from ..._base.logs import get_logger
from ...errors import (
    AuthenticationError,
    BudgetExceededError,
    ConfigurationError,
    ConnectError,
    ContentPolicyError,
    DailyLimitError,
    InsufficientBalanceError,
    JournalError,
    NanoGPTError,
    NotFoundError,
    OutputError,
    PermissionDeniedError,
    RateLimitError,
    ServerError,
    StatusError,
)

_log = get_logger("nanogpt_images.batch")

_AT_ONCE = (
    AuthenticationError,
    BudgetExceededError,
    ConfigurationError,
    DailyLimitError,
    InsufficientBalanceError,
    JournalError,
    OutputError,
)
_FIRST_REFUSED = 20
_WHEN_REPEATED = (ConnectError, PermissionDeniedError, ServerError)


class Halted(Exception):  # noqa: N818 - control flow, never seen outside the batch
    """The batch stops: this request is not sent, and stays pending."""


class StopSignal:
    """
    Whether a batch continues.

    Args:
        patience: How many requests in a row may fail for a reason that is not their own.
        keep_going: Continue although the first requests were all refused for their content.

    Attributes:
        patience: See above; it grows with the number of requests in flight, which may all meet one short fault.
        reason: The error that stopped the batch; None while it runs, or when it was asked to stop.
    """

    def __init__(self, *, patience: int, keep_going: bool = False) -> None:
        self.reason: NanoGPTError | None = None
        self.patience = patience
        self._in_a_row = 0
        # Content refusals before the first success; None once they no longer matter.
        self._first_refused: int | None = None if keep_going else 0
        self._requested = False
        self._to_cancel: set[anyio.CancelScope] = set()

    @property
    def requested(self) -> bool:
        """Whether no further request may be sent."""
        return self._requested

    def cancel_on_stop(self, scope: anyio.CancelScope) -> None:
        """Cancel *scope* when the batch stops, or now when it has: nothing that is paid for happens in it."""
        self._to_cancel.add(scope)
        if self._requested:
            scope.cancel()

    def shield(self, scope: anyio.CancelScope) -> None:
        """Let *scope* end in its own time from now on: what happens in it is paid for."""
        self._to_cancel.discard(scope)

    def stop(self, reason: NanoGPTError | None = None) -> None:
        """Stop sending; requests in flight end in their own time."""
        if self._requested:
            return
        self._requested = True
        self.reason = reason
        if reason is not None:
            _log.info("the batch stops: %s", reason)
        for scope in self._to_cancel:
            scope.cancel()

    def check(self) -> None:
        """Raise Halted when stopped."""
        if self.requested:
            raise Halted

    def succeeded(self) -> None:
        """Note that a request went through."""
        self._in_a_row = 0
        self._first_refused = None

    def failed(self, error: NanoGPTError) -> bool:
        """Take note of a failure; True when its cause concerns all requests and stops the batch."""
        if isinstance(error, _WHEN_REPEATED):
            self._in_a_row += 1
        if isinstance(error, ContentPolicyError) and self._first_refused is not None:
            self._first_refused += 1
            if self._first_refused >= _FIRST_REFUSED:
                self.stop(_all_refused(error, self._first_refused))
        # A 404 that does not name a model: the address is wrong, for every row.
        nowhere = (
            isinstance(error, StatusError) and error.status == 404 and not isinstance(error, NotFoundError)
        )
        if nowhere or isinstance(error, _AT_ONCE) or self._in_a_row >= self.patience:
            self.stop(error)
            return True
        return False

    def overloaded(self, error: RateLimitError | ServerError, in_a_row: int) -> None:
        """Stop because the service refuses everything for load, the last request with *error*."""
        kind = RateLimitError if isinstance(error, RateLimitError) else ServerError
        self.stop(
            kind(
                f"the service refused {in_a_row} requests in a row for load, the last one with: {error.message}",
                advice="All of them stay pending. Run the batch again later, or with a lower requests_per_second"
                " (--requests-per-second); nothing is paid for twice.",
                status=error.status,
                charge=error.charge,
                request_id=error.request_id,
                code=error.code,
                retry_after_s=error.retry_after_s,
            )
        )


def _all_refused(error: ContentPolicyError, count: int) -> ContentPolicyError:
    return ContentPolicyError(
        f"the first {count} requests were all refused for their content, the last one with: {error.message}",
        advice="The batch stops before it sends the rest: change the prompts, or continue anyway with"
        " keep_going=True (--keep-going).",
        status=error.status,
        charge=error.charge,
        request_id=error.request_id,
        code=error.code,
    )
