"""Strict pacing in a time that passes only by sleeping."""

from __future__ import annotations

import asyncio
import heapq
import itertools
import random

import pytest
from fakes import Clock
from hypothesis import given
from hypothesis import strategies as st

from nanogpt_images.transport.pacing.limiter import RateLimiter


def limiter(limit: float | None, clock: Clock, **more: float) -> RateLimiter:
    return RateLimiter(limit, clock=clock, sleep=clock.sleep, **more)


def most_in_any(window_s: float, moments: list[float]) -> int:
    return max(sum(start <= moment < start + window_s for moment in moments) for start in moments)


@given(
    limit=st.integers(1, 7),
    delays=st.lists(st.floats(0, 1.5), min_size=1, max_size=40),
    idle=st.lists(st.floats(0, 3), min_size=40, max_size=40),
)
def test_no_window_holds_more_starts_than_the_limit(
    limit: int, delays: list[float], idle: list[float]
) -> None:
    """However long each request takes to leave after its slot, and whatever the pauses, the limit holds."""
    clock = Clock()
    pace = limiter(limit, clock)

    async def run() -> list[float]:
        starts = []
        for delay, pause in zip(delays, idle, strict=False):
            slot = await pace.acquire()
            clock.now += delay
            slot.started()
            starts.append(clock.now)
            clock.now += pause if pause > 1 else 0
        return starts

    assert most_in_any(1.0, asyncio.run(run())) <= limit


async def test_a_burst_goes_out_at_once_and_the_rest_waits() -> None:
    """The first `limit` requests do not wait; each further one waits for the one *limit* before it."""
    clock = Clock()
    pace = limiter(3, clock)
    times = []
    for _ in range(8):
        (await pace.acquire()).started()
        times.append(clock.now)
    assert times == pytest.approx([0, 0, 0, 1.03, 1.03, 1.03, 2.06, 2.06])


async def test_a_slot_counts_from_its_start() -> None:
    """A request that has its slot and has not left holds up those that its start decides on."""
    clock = Clock()
    pace = limiter(2, clock)
    first, second = await pace.acquire(), await pace.acquire()
    second.started()
    third = asyncio.create_task(pace.acquire())
    for _ in range(5):
        await asyncio.sleep(0)
    assert not third.done()
    clock.now = 10
    first.started()
    await third
    assert clock.now == pytest.approx(11.03)
    assert first.at == 10
    clock.now = 99
    first.started()
    assert first.at == 10


@pytest.mark.parametrize(("limit", "gap"), [(0.5, 2.06), (0.1, 10.3), (1, 1.03), (2.9, 0)])
async def test_less_than_one_per_second(limit: float, gap: float) -> None:
    """A limit below one is one start per longer window; a fraction above one is cut off."""
    clock = Clock()
    pace = limiter(limit, clock)
    for _ in range(2):
        (await pace.acquire()).started()
    assert clock.now == pytest.approx(gap)


async def test_without_a_limit_nobody_waits() -> None:
    """None switches pacing off; a pause that the service asks for still holds."""
    clock = Clock()
    pace = limiter(None, clock)
    for _ in range(1000):
        await pace.acquire()
    assert clock.slept == []
    pace.pause(4)
    await pace.acquire()
    assert clock.now == 4


async def test_a_pause_holds_everybody() -> None:
    """Nobody starts during a pause; a shorter one does not end a longer one; a pause may grow meanwhile."""
    clock = Clock()
    pace = limiter(100, clock)
    pace.pause(5)
    pace.pause(2)
    await pace.acquire()
    assert clock.now == 5

    sleep = clock.sleep

    async def sleep_and_hear_of_another(seconds: float) -> None:
        await sleep(seconds)
        if clock.now == 6:
            pace.pause(3)

    pace._sleep = sleep_and_hear_of_another
    pace.pause(1)
    await pace.acquire()
    assert clock.now == 9


async def test_refusals_of_one_burst_are_one_pause() -> None:
    """What left before a pause began starts no further one, also after its end; what left later does."""
    clock = Clock()
    pace = limiter(100, clock)
    slots = [await pace.acquire() for _ in range(20)]
    for slot in slots:
        slot.started()
    clock.now = 0.5
    late = await pace.acquire()
    late.started()
    clock.now = 1
    assert [pace.pause(1, left_at=slot.at) for slot in slots] == [True, *[False] * 19]
    clock.now = 1.8
    assert not pace.pause(1, left_at=late.at)
    await pace.acquire()
    assert clock.now == 2
    clock.now = 5
    assert not pace.pause(1, left_at=late.at)
    after = await pace.acquire()
    after.started()
    assert clock.now == 5
    assert pace.pause(1, left_at=after.at)
    await pace.acquire()
    assert clock.now == pytest.approx(6.05)  # when the window is free


def test_half_of_all_refused_costs_little_more_than_the_requests_themselves() -> None:
    """400 requests of four attempts, every other POST refused for a second: at most 1.5 times what so many POSTs take at their pace."""
    now, timers, order = 0.0, list[tuple[float, int, asyncio.Future[None]]](), itertools.count()

    async def sleep(seconds: float) -> None:
        waiter = asyncio.get_running_loop().create_future()
        heapq.heappush(timers, (now + seconds, next(order), waiter))
        await waiter

    pace = RateLimiter(25, clock=lambda: now, sleep=sleep)
    luck = random.Random(1)
    starts: list[float] = []

    async def request() -> None:
        for attempt in range(4):
            slot = await pace.acquire()
            await sleep(luck.uniform(0, 0.03))
            slot.started()
            starts.append(now)
            await sleep(0.05)
            if luck.random() < 0.5:
                return
            pace.pause(1, left_at=slot.at)
            await sleep(max(1.0, 0.5 * 2**attempt))

    async def run() -> None:
        nonlocal now
        tasks = [asyncio.ensure_future(request()) for _ in range(400)]
        while not all(task.done() for task in tasks):
            for _ in range(60):
                await asyncio.sleep(0)
            if timers:
                now, _, waiter = heapq.heappop(timers)
                waiter.done() or waiter.set_result(None)

    asyncio.run(run())
    assert most_in_any(1.0, starts) <= 25
    assert now < 1.5 * len(starts) / 25


async def test_first_come_first_served() -> None:
    """Waiters start in the order in which they came."""
    clock = Clock()
    pace = limiter(1, clock)
    order: list[int] = []

    async def one(number: int) -> None:
        (await pace.acquire()).started()
        order.append(number)

    await asyncio.gather(*(one(number) for number in range(6)))
    assert order == list(range(6))


async def test_a_cancelled_waiter_leaves_nothing_behind() -> None:
    """Cancelling those who wait takes no place from those who come after."""
    clock = Clock()
    pace = limiter(1, clock)
    first = await pace.acquire()
    waiters = [asyncio.create_task(pace.acquire()) for _ in range(3)]
    for _ in range(5):
        await asyncio.sleep(0)
    for waiter in waiters:
        waiter.cancel()
    await asyncio.gather(*waiters, return_exceptions=True)
    first.started()
    await pace.acquire()
    assert clock.now == pytest.approx(1.03)


def test_one_loop_after_another() -> None:
    """On another loop what started still counts, and a slot that the first loop left unstarted holds nobody."""
    clock = Clock()
    pace = limiter(2, clock)

    async def first() -> None:
        (await pace.acquire()).started()
        await pace.acquire()

    async def second() -> None:
        async with asyncio.timeout(10):
            for _ in range(2):
                (await pace.acquire()).started()

    asyncio.run(first())
    asyncio.run(second())
    assert clock.now == pytest.approx(1.03)
