"""What each kind of fault has to come to, wherever it strikes: the outcome, the money, and how often it may be sent."""

from __future__ import annotations

from collections.abc import Mapping

import attrs

from nanogpt_images import Charge, RetryPolicy

ATTEMPTS = 3
# Repeats come at once, and what asks for a rest is not waited for: a `Retry-After` ends the call.
POLICY = RetryPolicy(max_attempts=ATTEMPTS, initial_delay_s=0, max_retry_after_s=0)


@attrs.frozen(kw_only=True)
class Expectation:
    """
    What a call comes to while a fault strikes every request that it can.

    Attributes:
        error: Name of the class of the error; None for a success.
        charge: The error's charge.
        posts: How often the paid request is sent.
        times: How often the fault strikes at most; None for always.
        hangs: The client's limit of time is what ends it.
        images: Of two that are asked for, how many come.
        stored: Images that a failure leaves on disk, because they came whole and may have been paid for.
    """

    error: str | None = None
    charge: Charge | None = None
    posts: int = 1
    times: int | None = None
    hangs: bool = False
    images: int = 0
    stored: int = 0


def success(*, images: int = 2, times: int | None = None, hangs: bool = False) -> Expectation:
    """The images come."""
    return Expectation(images=images, times=times, hangs=hangs)


def not_sent(error: str) -> Expectation:
    """Nothing leaves."""
    return Expectation(error=error, charge=Charge.NOT_SENT, posts=0)


def refused(error: str, *, posts: int = 1) -> Expectation:
    """The service says no, or that nothing was charged; it is asked again where that can help."""
    return Expectation(error=error, charge=Charge.REJECTED, posts=posts)


def charged(error: str, *, stored: int = 0) -> Expectation:
    """The work was done and is of no use. It is never sent again."""
    return Expectation(error=error, charge=Charge.CHARGED, stored=stored)


def unknown(error: str, *, stored: int = 0, hangs: bool = False) -> Expectation:
    """Nothing tells what became of it. It is never sent again."""
    return Expectation(error=error, charge=Charge.UNKNOWN, stored=stored, hangs=hangs)


EXPECTED: Mapping[str, Expectation] = {
    # The connection breaks. The body was on its way, so nobody knows.
    "refuse": unknown("OutcomeUnknownError"),
    "reset_before_body": unknown("OutcomeUnknownError"),
    "reset_in_body": unknown("OutcomeUnknownError"),
    "reset_after_body": unknown("OutcomeUnknownError"),
    "close_after_body": unknown("OutcomeUnknownError"),
    "reset_after_body_unbilled": unknown("OutcomeUnknownError"),
    "reset_in_headers": unknown("OutcomeUnknownError"),
    "reset_in_response_body": unknown("OutcomeUnknownError", stored=1),
    "close_in_response_body": unknown("OutcomeUnknownError", stored=1),
    # All images came before: they are the result, and what is odd about it is a problem.
    "reset_before_last_byte": success(),
    "reset_at_end": success(),
    "not_http": unknown("OutcomeUnknownError"),
    # Nothing more comes, or no end does.
    "stall_before_body": unknown("RequestTimeoutError", hangs=True),
    "stall_before_headers": unknown("RequestTimeoutError", hangs=True),
    "stall_in_headers": unknown("RequestTimeoutError", hangs=True),
    "stall_in_body": unknown("RequestTimeoutError", hangs=True, stored=1),
    "stall_before_last_byte": success(hangs=True),
    "slow_drip": success(),
    "endless_headers": unknown("OutcomeUnknownError"),
    "endless_body": charged("ResponseDecodeError"),
    "endless_5xx": unknown("ServerError"),
    # The service says no.
    "400": refused("BadRequestError"),
    "content_policy": refused("ContentPolicyError"),
    "401": refused("AuthenticationError"),
    "402": refused("InsufficientBalanceError"),
    "402_quote": refused("InsufficientBalanceError"),
    "403": refused("PermissionDeniedError"),
    "404": refused("NotFoundError"),
    "409": refused("BadRequestError"),
    "413": refused("PayloadTooLargeError"),
    "integer_code": refused("BadRequestError"),
    "unknown_error_shape": refused("BadRequestError"),
    "429_daily": refused("DailyLimitError"),
    "429_daily_usd": refused("DailyLimitError"),
    "redirect": refused("StatusError"),
    # It says no, and to try again; these two ask for no rest first.
    "408": refused("ServerError", posts=ATTEMPTS),
    "500_not_billed": refused("ServerError", posts=ATTEMPTS),
    "429": refused("RateLimitError"),
    "429_date": refused("RateLimitError"),
    "503": refused("ServerError"),
    "503_limiter": refused("ServerError"),
    # It fails, and may have done the work.
    "500": unknown("ServerError"),
    "500_billed": charged("ServerError"),
    "500_perhaps_billed": unknown("ServerError"),
    "500_billed_once": unknown("ServerError"),
    "500_not_yet_billed": unknown("ServerError"),
    "503_deducted": unknown("ServerError"),
    "502": unknown("ServerError"),
    "504": unknown("ServerError"),
    "524": unknown("ServerError"),
    "html_5xx": unknown("ServerError"),
    "empty_5xx": unknown("ServerError"),
    "html_200": unknown("ResponseDecodeError"),
    # A success that is of no use.
    "truncated_json": charged("ResponseDecodeError", stored=1),
    "garbage_base64": charged("ResponseDecodeError"),
    "truncated_base64": charged("ResponseDecodeError"),
    "zero_images": charged("ResponseDecodeError"),
    "task_id": unknown("TaskPendingError"),
    "event_stream": unknown("ResponseDecodeError"),
    "missing_data": charged("ResponseDecodeError"),
    # A success that is odd.
    "wrong_content_type": success(),
    "fewer_images": success(images=1),
    "more_images": success(images=3),
    "broken_image": success(images=1),
    "empty_image": success(images=1),
    "unpadded_base64": success(),
    "urlsafe_base64": success(),
    "data_url": success(),
    "not_an_image": success(),
    "undeclared_jpeg": success(),
    "huge_dimensions": success(),
    "null_entries": success(),
    "null_fields": success(),
    "unknown_fields": success(),
    "data_last": success(),
    "millisecond_created": success(),
    "decimal_string_money": success(),
    "header_money": success(),
    "other_currency": success(),
    "nano_money": success(),
    "no_money": success(),
    # The images wait behind URLs; to ask for them again is free.
    "b64_fallback": success(),
    "data_url_in_url": success(),
    "url_404": charged("DownloadError"),
    "url_html": charged("DownloadError"),
    "url_expired": charged("DownloadError"),
    "url_cut": success(times=ATTEMPTS - 1),
    "url_reset": success(times=ATTEMPTS - 1),
    "url_stall": success(times=ATTEMPTS - 1, hangs=True),
    "url_endless": charged("DownloadError"),
    "url_503": charged("DownloadError"),
    "url_no_range": success(),
    # The catalogue is not what it was.
    "catalog_shrinks": not_sent("NotFoundError"),
    "catalog_renames": not_sent("NotFoundError"),
    "catalog_grows": success(),
    "catalog_unknown_kinds": success(),
    # One of the two listings: decoding 10,000 models takes most of this table's time.
    "catalog_huge": success(times=1),
}
"""Each kind that the sandbox knows. A kind that is new there needs a line here."""
