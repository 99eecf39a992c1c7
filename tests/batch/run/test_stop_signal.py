"""When a whole batch stops."""

from __future__ import annotations

import anyio
import pytest

from nanogpt_images.batch.run.stop_signal import Halted, StopSignal
from nanogpt_images.errors import (
    AuthenticationError,
    BadRequestError,
    BudgetExceededError,
    ConfigurationError,
    ConnectError,
    ContentPolicyError,
    DailyLimitError,
    DownloadError,
    InsufficientBalanceError,
    JournalError,
    NanoGPTError,
    OutcomeUnknownError,
    OutputError,
    ParameterError,
    PermissionDeniedError,
    RateLimitError,
    RequestTimeoutError,
    ResponseDecodeError,
    ServerError,
)


def status(kind: type, code: int) -> NanoGPTError:
    return kind("no", status=code)


@pytest.mark.parametrize(
    "error",
    [
        status(AuthenticationError, 401),
        status(InsufficientBalanceError, 402),
        status(DailyLimitError, 429),
        BudgetExceededError("no"),
        ConfigurationError("no"),
        JournalError("no"),
        OutputError("no"),
    ],
    ids=lambda error: type(error).__name__,
)
def test_what_concerns_every_request_stops_at_once(error: NanoGPTError) -> None:
    """A key, a balance, a full disk: the next request would fare the same."""
    stop_signal = StopSignal(patience=8)
    assert stop_signal.failed(error)
    assert stop_signal.requested
    assert stop_signal.reason is error


@pytest.mark.parametrize(
    "error",
    [
        status(BadRequestError, 400),
        status(RateLimitError, 429),
        ParameterError("no"),
        RequestTimeoutError("no"),
        OutcomeUnknownError("no"),
        ResponseDecodeError("no"),
        DownloadError("no"),
    ],
    ids=lambda error: type(error).__name__,
)
def test_a_failure_of_one_request_never_stops_the_batch(error: NanoGPTError) -> None:
    """However often it happens, it is the request's own."""
    stop_signal = StopSignal(patience=2)
    assert not any(stop_signal.failed(error) for _ in range(100))
    assert not stop_signal.requested


@pytest.mark.parametrize(
    "error",
    [ConnectError("no"), status(PermissionDeniedError, 403), status(ServerError, 500)],
    ids=lambda error: type(error).__name__,
)
def test_a_fault_of_the_service_stops_when_nothing_else_happens(error: NanoGPTError) -> None:
    """As many in a row as patience allows, and the last of them is the reason."""
    stop_signal = StopSignal(patience=3)
    assert [stop_signal.failed(error) for _ in range(3)] == [False, False, True]
    assert stop_signal.reason is error


def test_when_the_first_requests_are_all_refused_for_content_the_batch_stops() -> None:
    """After 20 of them; the text says how many, what the service said, and how to go on all the same."""
    stop_signal = StopSignal(patience=2)
    error = ContentPolicyError("refused: gore.", status=400)
    assert not any(stop_signal.failed(error) for _ in range(19))
    assert not stop_signal.requested
    assert not stop_signal.failed(error)  # it is over for this request all the same
    assert stop_signal.requested
    assert isinstance(stop_signal.reason, ContentPolicyError)
    assert "first 20 requests" in str(stop_signal.reason)
    assert "refused: gore. Nothing was charged. The batch stops" in str(stop_signal.reason)
    assert "keep_going=True (--keep-going)" in str(stop_signal.reason)


@pytest.mark.parametrize("keep_going", [False, True])
def test_content_refusals_do_not_stop_what_has_had_a_success_or_is_to_keep_going(keep_going: bool) -> None:
    """A manifest with bad rows among good ones runs through."""
    stop_signal = StopSignal(patience=2, keep_going=keep_going)
    if not keep_going:
        stop_signal.succeeded()
    assert not any(stop_signal.failed(status(ContentPolicyError, 400)) for _ in range(100))
    assert not stop_signal.requested


def test_a_success_renews_the_patience() -> None:
    """Faults that are scattered among successes never add up."""
    stop_signal = StopSignal(patience=2)
    for _ in range(10):
        assert not stop_signal.failed(ConnectError("no"))
        stop_signal.succeeded()
    assert not stop_signal.requested


def test_the_first_reason_stays() -> None:
    """What fails while the batch drains does not replace what stopped it."""
    stop_signal = StopSignal(patience=2)
    first = BudgetExceededError("first")
    stop_signal.stop(first)
    stop_signal.stop(JournalError("second"))
    assert stop_signal.reason is first


def test_a_stop_on_request_has_no_reason_and_gets_none_later() -> None:
    """A drained batch did not fail."""
    stop_signal = StopSignal(patience=2)
    stop_signal.stop()
    stop_signal.stop(JournalError("later"))
    assert stop_signal.reason is None
    with pytest.raises(Halted):
        stop_signal.check()


async def test_stopping_cancels_what_is_idle_and_leaves_what_is_paid_for() -> None:
    """A wait for money or for the pace ends; a request under way does not."""
    stop_signal = StopSignal(patience=2)
    idle, busy, late = (anyio.CancelScope() for _ in range(3))
    stop_signal.cancel_on_stop(idle)
    stop_signal.cancel_on_stop(busy)
    stop_signal.shield(busy)
    stop_signal.stop()
    stop_signal.cancel_on_stop(late)
    assert (idle.cancel_called, busy.cancel_called, late.cancel_called) == (True, False, True)
