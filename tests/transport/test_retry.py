"""The retry policy: what is repeated, and after how long."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nanogpt_images import (
    AuthenticationError,
    BadRequestError,
    Charge,
    ConfigurationError,
    ConnectError,
    DailyLimitError,
    InsufficientBalanceError,
    NotFoundError,
    OutcomeUnknownError,
    OutputError,
    ParameterError,
    PayloadTooLargeError,
    PermissionDeniedError,
    RateLimitError,
    RequestTimeoutError,
    ResponseDecodeError,
    RetryPolicy,
    ServerError,
)
from nanogpt_images.errors import NanoGPTError

NEVER = (False, False)
ALWAYS = (True, True)
LOOSELY = (False, True)
UNKNOWN, CHARGED, NOT_SENT = Charge.UNKNOWN, Charge.CHARGED, Charge.NOT_SENT

PAID = [
    # never left, or refused with "later"
    (ConnectError("refused"), ALWAYS),
    (RequestTimeoutError("slot"), ALWAYS),
    (RateLimitError("slow down", status=429), ALWAYS),
    (ServerError("busy", status=503), ALWAYS),
    (ServerError("timeout", status=408), ALWAYS),
    (ServerError("you have not been charged", status=500), ALWAYS),
    # may have been charged
    (RequestTimeoutError("no answer", charge=UNKNOWN), LOOSELY),
    (OutcomeUnknownError("broke", charge=UNKNOWN), LOOSELY),
    (OutcomeUnknownError("broke behind an image", charge=UNKNOWN, partial="what came"), NEVER),
    *((ServerError("oops", status=s, charge=UNKNOWN), LOOSELY) for s in (500, 502, 504, 520, 522, 524)),
    (ServerError("not implemented", status=501, charge=UNKNOWN), NEVER),
    (ResponseDecodeError("a page of HTML", charge=UNKNOWN), NEVER),
    # was charged
    (ServerError("it has been billed", status=500, charge=CHARGED), NEVER),
    (OutcomeUnknownError("broke", charge=CHARGED), NEVER),
    (ResponseDecodeError("no image"), NEVER),
    # would fail again
    (DailyLimitError("tomorrow", status=429, retry_after_s=1), NEVER),
    (BadRequestError("no", status=400), NEVER),
    (BadRequestError("conflict", status=409), NEVER),
    (AuthenticationError("who", status=401), NEVER),
    (InsufficientBalanceError("poor", status=402), NEVER),
    (PermissionDeniedError("no", status=403), NEVER),
    (NotFoundError("what", status=404), NEVER),
    (PayloadTooLargeError("large", status=413), NEVER),
    (ParameterError("wrong"), NEVER),
    (ConfigurationError("wrong"), NEVER),
    (OutputError("full"), NEVER),
]


def repeats(policy: RetryPolicy, error: NanoGPTError, *, paid: bool, attempt: int = 1) -> bool:
    return policy.delay_s(error, attempt, paid=paid) is not None


@pytest.mark.parametrize(("error", "expected"), PAID, ids=lambda v: type(v).__name__)
def test_a_paid_request_is_repeated_only_where_it_was_not_charged(
    error: NanoGPTError, expected: tuple[bool, bool]
) -> None:
    """By default nothing that may have been charged is repeated; the documented advice repeats more."""
    got = tuple(repeats(policy, error, paid=True) for policy in (RetryPolicy(), RetryPolicy.documented()))
    assert got == expected
    assert not repeats(RetryPolicy.none(), error, paid=True)


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (ConnectError("refused"), True),
        (OutcomeUnknownError("broke"), True),
        (RequestTimeoutError("late"), True),
        (ServerError("oops", status=500, charge=NOT_SENT), True),
        (RateLimitError("slow down", status=429, charge=NOT_SENT), True),
        (DailyLimitError("tomorrow", status=429, charge=NOT_SENT), False),
        (NotFoundError("what", status=404, charge=NOT_SENT), False),
        (ResponseDecodeError("a page of HTML", charge=NOT_SENT), False),
    ],
    ids=lambda v: type(v).__name__,
)
def test_a_free_request_is_repeated_on_every_passing_fault(error: NanoGPTError, expected: bool) -> None:
    """GETs cost nothing, so that lost answers and any 5xx are repeated; what would fail again is not."""
    assert repeats(RetryPolicy(), error, paid=False) is expected


def test_attempts_end() -> None:
    """`max_attempts` counts the first attempt as well."""
    policy = RetryPolicy(max_attempts=3)
    assert [repeats(policy, ConnectError("x"), paid=True, attempt=n) for n in (1, 2, 3)] == [
        True,
        True,
        False,
    ]


def test_the_wait_doubles_up_to_its_limit() -> None:
    """The delay doubles with each attempt, up to `max_delay_s`, and jitter only lengthens it."""
    policy = RetryPolicy(max_attempts=99, initial_delay_s=1, max_delay_s=6, jitter=0.5)
    error = ConnectError("x")

    def delays(uniform: float) -> list[float | None]:
        return [policy.delay_s(error, n, paid=True, uniform=lambda: uniform) for n in (1, 2, 3, 4, 50)]

    assert delays(0.0) == [1, 2, 4, 6, 6]
    assert delays(1.0) == [1.5, 3, 6, 9, 9]


@pytest.mark.parametrize(("asked", "delay"), [(0.0, 1.0), (7.0, 7.0), (60.0, 60.0), (60.5, None)])
def test_retry_after_is_a_lower_bound(asked: float, delay: float | None) -> None:
    """The service's `Retry-After` is waited for in full, and one above the limit raises at once."""
    policy = RetryPolicy(initial_delay_s=1, jitter=0)
    assert policy.delay_s(RateLimitError("x", status=429, retry_after_s=asked), 1, paid=True) == delay


@given(
    attempt=st.integers(1, 2000),
    uniform=st.floats(0, 1),
    asked=st.none() | st.floats(0, 60),
    initial=st.floats(0, 10),
)
def test_a_delay_has_bounds(attempt: int, uniform: float, asked: float | None, initial: float) -> None:
    """Any delay is at least what was asked for and at most the greater of the two limits."""
    policy = RetryPolicy(max_attempts=2001, initial_delay_s=initial, max_delay_s=30, jitter=0.25)
    error = RateLimitError("x", status=429, retry_after_s=asked)
    delay = policy.delay_s(error, attempt, paid=True, uniform=lambda: uniform)
    assert delay is not None
    assert (asked or 0) <= delay <= max(30 * 1.25, asked or 0)


@pytest.mark.parametrize("options", [{"max_attempts": 0}, {"initial_delay_s": -1}, {"jitter": -0.1}])
def test_impossible_policies_are_refused(options: dict) -> None:
    """A policy without attempts, or with negative waits, cannot be made."""
    with pytest.raises(ValueError, match=next(iter(options))):
        RetryPolicy(**options)
