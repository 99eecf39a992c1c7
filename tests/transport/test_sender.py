"""The way of one request over a scripted transport: order, pacing, slots, repeats."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable

import pytest
from fakes import Clock, Reply, ScriptedTransport

from nanogpt_images import (
    BadRequestError,
    Charge,
    ConnectError,
    DailyLimitError,
    HttpResponse,
    OutcomeUnknownError,
    RateLimitError,
    RequestTimeoutError,
    ResponseDecodeError,
    RetryPolicy,
    ServerError,
)
from nanogpt_images.errors import NanoGPTError
from nanogpt_images.transport.pacing.limiter import RateLimiter
from nanogpt_images.transport.sender import AttemptHooks, Sender, Slots

POLICY = RetryPolicy(max_attempts=5, initial_delay_s=1, jitter=0)
BUSY = Reply(503, b'{"error":"busy"}')
LOST = OutcomeUnknownError("broke", charge=Charge.UNKNOWN)


class Bench:
    """A sender of a scripted transport, in time that passes only by sleeping."""

    def __init__(
        self,
        *script: Reply | Exception,
        retry: RetryPolicy = POLICY,
        limit: float | None = None,
        max_connections: int = 10,
    ) -> None:
        self.clock = Clock()
        self.transport = ScriptedTransport(*script)
        self.sender = Sender(
            base_url="http://localhost/gateway",
            headers={"Authorization": "Bearer k"},
            transport=self.transport,
            retry=retry,
            limiter=RateLimiter(limit, clock=self.clock, sleep=self.clock.sleep),
            max_connections=max_connections,
            sleep=self.clock.sleep,
        )

    async def post(self, **more: object) -> bytes:
        return await self.sender.post_paid("/paid", b"{}", whole, target="gpt-image-2", timeout_s=7, **more)


async def whole(response: HttpResponse) -> bytes:
    return b"".join([chunk async for chunk in response.chunks()])


async def test_a_free_request_is_json() -> None:
    """GET and free POST go below the base URL with its headers, and decode JSON in pieces."""
    bench = Bench(Reply(200, [b'{"a"', b":1}"]), Reply(200, b"[2]"))
    assert await bench.sender.get_json("/a/b:c@1", params={"detailed": "true", "q": "x y&z"}) == {"a": 1}
    assert await bench.sender.post_json("/free", b'{"k":1}') == [2]
    get, post = bench.transport.requests
    assert (get.method, get.url) == ("GET", "http://localhost/gateway/a/b:c@1?detailed=true&q=x+y%26z")
    assert (post.method, post.url, post.body) == ("POST", "http://localhost/gateway/free", b'{"k":1}')
    assert {get.paid, post.paid} == {False}
    assert get.headers["Authorization"] == "Bearer k"
    assert (get.body, bench.transport.open) == (None, 0)


@pytest.mark.parametrize("body", [b"<html>", b"", b"{", b"\xff", b"[" * 100_000])
async def test_a_free_answer_that_is_not_json(body: bytes) -> None:
    """The error names the path and the beginning of the body, and is not repeated."""
    bench = Bench(Reply(200, body, {"X-Request-ID": "r"}))
    with pytest.raises(ResponseDecodeError, match=r"/models: the answer is not JSON.*Is base_url") as caught:
        await bench.sender.get_json("/models")
    assert (caught.value.charge, caught.value.request_id) == (Charge.NOT_SENT, "r")
    assert len(caught.value.excerpt) <= 200


async def test_a_free_answer_without_end_is_given_up() -> None:
    """A listing is read up to a bound and not into all of memory."""
    bench = Bench(Reply(200, [b"x" * 2**20] * 70))
    with pytest.raises(ResponseDecodeError, match="larger than 64 MiB"):
        await bench.sender.get_json("/models")


async def test_a_refused_request_is_repeated() -> None:
    """What may be repeated is, after the policy's waits; each attempt is a request of its own."""
    bench = Bench(BUSY, ConnectError("refused"), Reply(200, b"image"))
    assert await bench.post() == b"image"
    first, second, third = bench.transport.requests
    assert bench.clock.slept == [1, 2]
    assert first.body_begun
    assert not second.body_begun
    assert third.timeout_s == 7


@pytest.mark.parametrize(
    ("last", "error_type", "attempts"),
    [
        (LOST, OutcomeUnknownError, 1),
        (RequestTimeoutError("late", charge=Charge.UNKNOWN), RequestTimeoutError, 1),
        (Reply(500, b""), ServerError, 1),
        (Reply(400, b'{"error":"no"}'), BadRequestError, 1),
        (BUSY, ServerError, 5),
        (ConnectError("refused"), ConnectError, 5),
    ],
)
async def test_the_last_error_is_raised(last: Reply | Exception, error_type: type, attempts: int) -> None:
    """What may not be repeated, or fails to the end, raises the error of its last attempt."""
    bench = Bench(*[last] * 5)
    with pytest.raises(error_type):
        await bench.post()
    assert len(bench.transport.requests) == attempts


async def test_the_documented_policy_is_one_option_away() -> None:
    """With `RetryPolicy.documented()` a lost answer is asked for again."""
    bench = Bench(LOST, Reply(500, b""), Reply(200, b"image"), retry=RetryPolicy.documented())
    assert await bench.post() == b"image"


async def test_a_free_request_survives_lost_answers() -> None:
    """GETs are repeated after lost answers and any 5xx."""
    lost = OutcomeUnknownError("broke")
    bench = Bench(lost, Reply(500, b""), Reply(502, b"<html>"), Reply(200, b"{}"))
    assert await bench.sender.get_json("/models") == {}


async def test_a_broken_body_of_failure_still_has_its_status() -> None:
    """A 500 whose body breaks off is the 500, not the broken connection; a long one is read in part."""

    async def too_far() -> None:
        raise AssertionError("nobody needs so much of a failure")

    bench = Bench(
        Reply(500, [b"Internal "], breaks=OutcomeUnknownError("broke", charge=Charge.UNKNOWN)),
        Reply(400, [b"x" * 2**15, b"x" * 2**15, too_far]),
    )
    with pytest.raises(ServerError, match="Internal") as caught:
        await bench.post()
    assert caught.value.status == 500
    with pytest.raises(BadRequestError):
        await bench.post()


FREE = b"You have not been charged"


@pytest.mark.parametrize(
    ("reply", "charge"),
    [
        (Reply(500, [FREE]), Charge.REJECTED),
        (Reply(500, [FREE], breaks=OutcomeUnknownError("broke", charge=Charge.UNKNOWN)), Charge.UNKNOWN),
        (Reply(500, [FREE.ljust(2**16)]), Charge.UNKNOWN),
    ],
    ids=["whole", "broken off", "too long"],
)
async def test_half_a_text_frees_nothing(reply: Reply, charge: Charge) -> None:
    """The half that was not read may say that it was billed after all; only the whole text proves a free failure."""
    with pytest.raises(ServerError) as caught:
        await Bench(reply, retry=RetryPolicy.none()).post()
    assert caught.value.charge is charge


class Hooks(AttemptHooks):
    """Calls functions where a test gives them."""

    def __init__(self, **functions: Callable[..., Awaitable[None]]) -> None:
        vars(self).update(functions)


async def test_a_per_second_429_pauses_everybody() -> None:
    """After a 429 no other request starts before the service's `Retry-After` is over."""
    bench = Bench(Reply(429, b"", {"Retry-After": "5"}), Reply(200, b"other"), Reply(200, b"first"))
    refused = asyncio.Event()

    async def note(_: NanoGPTError) -> None:
        refused.set()

    async def other() -> float:
        await refused.wait()
        await bench.post()
        return bench.clock.now

    task = asyncio.create_task(other())
    await bench.post(hooks=Hooks(refused=note))
    assert await task >= 5


async def test_a_429_above_the_limit_raises_at_once() -> None:
    """A `Retry-After` that is not slept through raises, and pauses the others no longer than the limit."""
    bench = Bench(Reply(429, b"", {"Retry-After": "900"}), Reply(200, b"next"))
    with pytest.raises(RateLimitError) as caught:
        await bench.post()
    assert (caught.value.retry_after_s, bench.clock.now) == (900, 0)
    await bench.post()
    assert bench.clock.now == 60


async def test_a_daily_limit_stops_nobody_else() -> None:
    """A daily-limit 429 is raised at once, even with retries left, and no other request waits for it."""
    body = json.dumps({"error": {"message": "x", "code": "daily_rpd_limit_exceeded"}}).encode()
    bench = Bench(Reply(429, body, {"Retry-After": "3"}), Reply(200, b"image"))
    with pytest.raises(DailyLimitError):
        await bench.post()
    assert await bench.post() == b"image"
    assert bench.clock.slept == []


async def test_a_transport_that_tells_nothing_holds_nobody_up() -> None:
    """Where a transport does not report its body, a request counts as started with its answer's head."""

    async def another(response: HttpResponse) -> bytes:
        return await bench.post() if len(bench.transport.requests) == 1 else b"second"

    bench = Bench(Reply(200), Reply(200), limit=1)
    bench.transport.silent = True
    async with asyncio.timeout(10):
        sent = bench.sender.post_paid("/p", b"{}", another, target="m", timeout_s=1)
        assert await sent == b"{}"
    assert bench.clock.now == pytest.approx(1.03)


async def test_hooks_run_in_order() -> None:
    """Before each attempt, its start, and each refusal that is followed by another attempt are told."""
    told: list[str] = []
    bench = Bench(BUSY, Reply(200, b"image"), limit=1)

    async def before(key: int) -> None:
        del key
        told.append(f"before at {bench.clock.now:.2f}, {len(bench.transport.requests)} sent")

    async def refused(error: NanoGPTError) -> None:
        told.append(f"refused {error.charge.value}")

    await bench.post(hooks=Hooks(before=before, refused=refused))
    assert told == ["before at 0.00, 0 sent", "refused rejected", "before at 1.03, 1 sent"]


async def test_a_hook_can_keep_an_attempt_from_being_made() -> None:
    """What `before` raises is raised, nothing is sent, and slot and pace are free again."""

    async def before(key: int) -> None:
        del key
        raise ValueError("disk full")

    bench = Bench(Reply(200, b"image"), limit=1, max_connections=1)
    with pytest.raises(ValueError, match="disk full"):
        await bench.post(hooks=Hooks(before=before))
    assert bench.transport.requests == []
    assert await bench.post() == b"image"


async def test_the_last_refusal_is_not_told_as_one_to_be_repeated() -> None:
    """`refused` is for attempts that are followed by another."""
    told: list[NanoGPTError] = []

    async def refused(error: NanoGPTError) -> None:
        told.append(error)

    bench = Bench(*[BUSY] * 5)
    with pytest.raises(ServerError):
        await bench.post(hooks=Hooks(refused=refused))
    assert len(told) == 4


async def test_connections_are_bounded() -> None:
    """At most `max_connections` requests are in flight, and a wait between attempts holds no place."""
    gate = asyncio.Event()
    most = 0

    async def read(response: HttpResponse) -> bytes:
        nonlocal most
        most = max(most, bench.transport.open)
        await gate.wait()
        return b""

    bench = Bench(*[Reply(200, b"")] * 5, max_connections=2)
    send = [bench.sender.post_paid("/p", b"", read, target="m", timeout_s=1) for _ in range(5)]
    tasks = [asyncio.create_task(each) for each in send]
    for _ in range(20):
        await asyncio.sleep(0)
    assert (bench.transport.open, len(bench.transport.requests)) == (2, 2)
    gate.set()
    await asyncio.gather(*tasks)
    assert most == 2


async def test_a_wait_between_attempts_holds_no_place() -> None:
    """While one request waits for its next attempt another can use its connection."""
    bench = Bench(BUSY, Reply(200, b"other"), Reply(200, b"first"), max_connections=1)
    order: list[bytes] = []

    async def refused(_: NanoGPTError) -> None:
        order.append(await bench.post())

    order.append(await bench.post(hooks=Hooks(refused=refused)))
    assert order == [b"other", b"first"]


async def test_waiting_for_a_place_does_not_count_against_the_timeout() -> None:
    """The limit of time is the transport's, and it is asked only once there is a place and a start."""
    bench = Bench(*[Reply(200, b"")] * 30, limit=10, max_connections=1)
    await asyncio.gather(*(bench.post() for _ in range(30)))
    # The last one waited for 2 windows, and every attempt had its whole time.
    assert bench.clock.now >= 2
    assert {request.timeout_s for request in bench.transport.requests} == {7}


async def test_slots_grow_while_they_are_in_use() -> None:
    """The bound can be raised for those who wait already, and never falls."""
    slots = Slots(1)
    held = 0

    async def hold() -> None:
        nonlocal held
        async with slots.one():
            held += 1
            await asyncio.Event().wait()

    tasks = [asyncio.create_task(hold()) for _ in range(5)]
    for bound, expected in ((1, 1), (3, 3), (2, 3), (4, 4)):
        slots.at_least(bound)
        for _ in range(5):
            await asyncio.sleep(0)
        assert held == expected
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


def test_a_sender_outlives_its_loop() -> None:
    """Slots and pacing work on one event loop after another."""
    bench = Bench(*[Reply(200, b"x")] * 4, limit=2, max_connections=1)

    async def two() -> list[bytes]:
        return await asyncio.gather(bench.post(), bench.post())

    for _ in range(2):
        assert asyncio.run(two()) == [b"x", b"x"]
    assert bench.clock.now >= 1
