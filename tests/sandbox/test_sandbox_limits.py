"""The rate limit, the daily caps and the concurrency limit, on an injected clock."""

from __future__ import annotations

import asyncio

import pytest

from nanogpt_images.sandbox import SandboxOptions
from nanogpt_images.sandbox.billing.quotas import Limiter
from nanogpt_images.sandbox.http.refusals import Refusal


def limiter(**options):
    """A limiter and the hands of its clocks."""
    hands = {"wall": 1_760_000_000.0, "monotonic": 50.0}
    clocks = {"clock": lambda: hands["wall"], "monotonic": lambda: hands["monotonic"]}
    return Limiter(SandboxOptions(**clocks, **options)), hands


def refused(limit, key="k"):
    """The refusal of the next start, None when it is let through."""
    try:
        limit.start(key)
    except Refusal as refusal:
        return refusal.answer
    return None


def test_a_second_takes_so_many_starts():
    """The 26th start within one second is refused, and one second after the first there is room for one."""
    limit, hands = limiter()
    assert [refused(limit) for _ in range(25)] == [None] * 25
    answer = refused(limit)
    assert (answer.status, answer.headers["Retry-After"]) == (429, "1")
    assert b'"rate_limit_exceeded"' in answer.body[0]
    hands["monotonic"] += 0.999
    assert refused(limit) is not None
    hands["monotonic"] += 0.001
    assert refused(limit) is None


def test_refused_starts_do_not_count():
    """A refused start does not push the limit further away."""
    limit, hands = limiter(requests_per_second=1)
    assert refused(limit) is None
    hands["monotonic"] += 0.9
    assert refused(limit) is not None
    hands["monotonic"] += 0.1
    assert refused(limit) is None


def test_keys_have_limits_of_their_own():
    """One key's starts do not count for another."""
    limit, _ = limiter(requests_per_second=1)
    assert refused(limit, "a") is None
    assert refused(limit, "b") is None
    assert refused(limit, "a") is not None


def test_slow_rates():
    """A rate below one per second spaces the starts."""
    limit, hands = limiter(requests_per_second=0.5)
    assert refused(limit) is None
    hands["monotonic"] += 1.9
    assert refused(limit) is not None
    hands["monotonic"] += 0.1
    assert refused(limit) is None


@pytest.mark.parametrize(
    ("options", "code"),
    [({"daily_requests": 1}, b"daily_rpd_limit_exceeded"), ({"daily_usd": 0.5}, b"daily_usd_limit_exceeded")],
)
def test_daily_caps(options, code):
    """A daily cap refuses until 00:00 UTC and says how long that is."""
    limit, hands = limiter(requests_per_second=None, **options)
    limit.start("k")
    limit.finish("k", 0.5)
    answer = refused(limit)
    assert answer.status == 429
    assert code in answer.body[0]
    wait_s = int(answer.headers["Retry-After"])
    assert wait_s == 86_400 - 1_760_000_000 % 86_400
    hands["wall"] += wait_s
    assert refused(limit) is None


async def test_rate_limit_over_the_wire(open_api):
    """Of 30 posts at one instant 25 are served; the others get 429 and are not billed."""
    async with open_api(requests_per_second=25, monotonic=lambda: 1.0) as api:
        replies = await asyncio.gather(*(api.images(str(i)) for i in range(30)))
        assert sorted(reply.status for reply in replies) == [200] * 25 + [429] * 5
        assert next(reply for reply in replies if reply.status == 429).headers["Retry-After"] == "1"
        assert len(api.sandbox.ledger.billed) == 25
        assert api.sandbox.ledger.max_starts_in_any_second() == 30


async def test_concurrency(open_api):
    """Requests above the concurrency limit get 429."""
    async with open_api(concurrency=2, latency_s=0.1) as api:
        replies = await asyncio.gather(*(api.images(str(i)) for i in range(5)))
        assert sorted(reply.status for reply in replies) == [200, 200, 429, 429, 429]
        assert (await api.images()).status == 200
