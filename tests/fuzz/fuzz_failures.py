"""Any answer of failure: one error of the tree, of bounded size, that says what is known about money."""

from __future__ import annotations

from _target import fuzz, instrumented

with instrumented():
    from nanogpt_images import Charge, RetryPolicy, StatusError
    from nanogpt_images.wire.failures import decode_failure

STATUSES = (300, 307, 400, 401, 402, 404, 408, 413, 429, 500, 502, 503, 524, 999)


def check(data: bytes) -> None:
    """A byte for the status, a line for each of two headers, and the body."""
    status = STATUSES[data[0] % len(STATUSES)] if data else 500
    paid = bool(data and data[0] & 128)
    retry_after, _, rest = data[1:].partition(b"\n")
    location, _, body = rest.partition(b"\n")
    headers = {"Retry-After": retry_after.decode("latin-1"), "Location": location.decode("latin-1")}
    error = decode_failure(status, headers, body, target="m", paid=paid)
    assert isinstance(error, StatusError)
    assert (error.charge is Charge.NOT_SENT) == (not paid)
    assert len(error.excerpt) <= 200
    assert error.excerpt.isprintable()
    assert error.retry_after_s is None or 0 <= error.retry_after_s < float("inf")
    RetryPolicy.documented().delay_s(error, 1, paid=paid)


BODIES = (
    b'{"error":{"message":"bad n","type":"invalid_request_error","code":"invalid_n","param":"n"}}',
    b'{"error":"Insufficient balance","requiredBalance":0.0035,"status":402}',
    b'{"error":{"message":"pay"},"payment":{"amountUsd":"0.07","accepted":[]},"requestId":"r"}',
    b'{"error":"You have not been charged. sk-nano-0f8fad5b","code":500}',
    b"Request Entity Too Large\nFUNCTION_PAYLOAD_TOO_LARGE",
    b"<!DOCTYPE html><style>a{}</style><script>1<2</script><p>has been billed</p>",
    b"[1]",
)
HEADERS = (b"3\n\n", b"Wed, 21 Oct 2099 07:28:00 GMT\n/v2?x=1\n", b"nan\nhttps://other.example/a\n")
SEEDS = [
    bytes([number]) + HEADERS[number % len(HEADERS)] + body for number, body in enumerate(BODIES, start=120)
]
WORDS = [
    *('{"error":', '"message":', '"code":', '"type":', '"param":', '"requestId":', '"status":'),
    *("has been billed", "have not been charged", "may have been charged", "daily_rpd_limit_exceeded"),
    *("<script>", "</script>", "<style ", "content_policy_violation", "sk-nano-", "GMT"),
]

if __name__ == "__main__":
    fuzz(check, SEEDS, WORDS)
