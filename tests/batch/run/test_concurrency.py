"""How many requests are under way at once."""

from __future__ import annotations

import asyncio
import heapq
import random
from collections.abc import Callable
from contextlib import AsyncExitStack

import pytest

from nanogpt_images.batch.run.concurrency import ConcurrencyLimit, Place


class Clock:
    """A clock that stands until it is set forward."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


async def settle() -> None:
    """Let every task run until it waits."""
    for _ in range(10):
        await asyncio.sleep(0)


class Crowd:
    """Tasks that pass through a gate and stay inside until they are let go."""

    def __init__(self, concurrency_limit: ConcurrencyLimit, size: int) -> None:
        self.concurrency_limit = concurrency_limit
        self.inside: list[int] = []
        self.most = 0
        self.leave = [asyncio.Event() for _ in range(size)]
        self.tasks = [asyncio.create_task(self._pass(number)) for number in range(size)]

    async def _pass(self, number: int) -> None:
        async with self.concurrency_limit.one():
            self.inside.append(number)
            self.most = max(self.most, self.concurrency_limit.active)
            await self.leave[number].wait()
            self.inside.remove(number)

    async def end(self) -> None:
        for event in self.leave:
            event.set()
        await asyncio.gather(*self.tasks, return_exceptions=True)


async def test_no_more_than_the_maximum_are_inside() -> None:
    """The fourth waits until one of three leaves, and comes in then."""
    crowd = Crowd(ConcurrencyLimit(3), 5)
    await settle()
    assert crowd.inside == [0, 1, 2]
    crowd.leave[1].set()
    await settle()
    assert crowd.inside == [0, 2, 3]
    await crowd.end()
    assert crowd.most == 3
    assert crowd.concurrency_limit.active == 0


def test_what_throttles_is_told() -> None:
    """Limit, pause and reason are told while they last, and nothing in good times."""
    clock = Clock()
    concurrency_limit = ConcurrencyLimit(10, clock=clock)
    assert concurrency_limit.throttle == ""
    concurrency_limit.pause(2.5)
    concurrency_limit.slower("429 rate_limit_exceeded")
    assert concurrency_limit.throttle == "paused for 3 s, 7 of 10 at once after 429 rate_limit_exceeded"
    clock.now = 3.0
    assert concurrency_limit.throttle == "7 of 10 at once after 429 rate_limit_exceeded"
    for _ in range(100):
        concurrency_limit.faster()
    assert concurrency_limit.throttle == ""


def test_pressure_lowers_the_limit_by_a_third_and_once_a_second() -> None:
    """A burst of refusals is one sign; another second's refusal is another."""
    clock = Clock()
    concurrency_limit = ConcurrencyLimit(10, clock=clock)
    for _ in range(50):
        concurrency_limit.slower("503")
    assert concurrency_limit.limit == 7
    clock.now = 1.0
    concurrency_limit.slower("503")
    assert concurrency_limit.limit == 4


def test_a_service_that_takes_every_other_request_keeps_its_places() -> None:
    """Only where it refuses more than three quarters of a second's requests, fewer go out at once."""
    clock = Clock()
    concurrency_limit = ConcurrencyLimit(10, clock=clock)
    concurrency_limit.faster()
    for second in range(100):
        clock.now = float(second)
        concurrency_limit.slower("429")
        concurrency_limit.faster()
    assert concurrency_limit.limit == 10
    clock.now = 100
    for _ in range(5):
        concurrency_limit.slower("429")
    clock.now = 101
    concurrency_limit.slower("429")
    assert concurrency_limit.limit == 7


def test_the_limit_never_falls_below_one() -> None:
    """However long the service pushes back, one request at a time goes on."""
    clock = Clock()
    concurrency_limit = ConcurrencyLimit(4, clock=clock)
    for second in range(100):
        clock.now = float(second)
        concurrency_limit.slower("503")
    assert concurrency_limit.limit == 1


@pytest.mark.parametrize("rounds", [1, 2, 5])
def test_a_round_of_successes_raises_the_limit_by_about_one(rounds: int) -> None:
    """Recovery is additive: as many successes as there are places win one place."""
    concurrency_limit = ConcurrencyLimit(100, clock=Clock())
    concurrency_limit._limit = 10.0
    for _ in range(rounds):
        for _ in range(concurrency_limit.limit + 1):
            concurrency_limit.faster()
    assert 10 + rounds <= concurrency_limit._limit <= 10 + rounds + 1


def test_the_limit_never_passes_the_maximum() -> None:
    """Success alone does not widen the gate beyond what was asked for."""
    concurrency_limit = ConcurrencyLimit(3, clock=Clock())
    for _ in range(1000):
        concurrency_limit.faster()
    assert concurrency_limit.limit == 3


async def test_a_lowered_limit_lets_nobody_in_until_enough_have_left() -> None:
    """Who is inside stays; who waits comes in only below the new limit."""
    concurrency_limit = ConcurrencyLimit(4, clock=Clock())
    crowd = Crowd(concurrency_limit, 6)
    await settle()
    concurrency_limit.slower("503")
    assert concurrency_limit.limit == 2
    crowd.leave[0].set()
    crowd.leave[1].set()
    await settle()
    assert crowd.inside == [2, 3]
    crowd.leave[2].set()
    await settle()
    assert crowd.inside == [3, 4]
    await crowd.end()


async def test_a_raised_limit_lets_waiters_in() -> None:
    """Nobody has to leave for a waiter to enter when the limit grows."""
    concurrency_limit = ConcurrencyLimit(2, clock=Clock())
    concurrency_limit.slower("503")
    crowd = Crowd(concurrency_limit, 2)
    await settle()
    assert crowd.inside == [0]
    concurrency_limit.faster()
    await settle()
    assert crowd.inside == [0, 1]
    await crowd.end()


@pytest.mark.parametrize("woken", [False, True])
async def test_a_cancelled_waiter_does_not_take_a_place_along(woken: bool) -> None:
    """Whether or not its turn had come, the next waiter gets in."""
    concurrency_limit = ConcurrencyLimit(1)
    async with concurrency_limit.one():
        crowd = Crowd(concurrency_limit, 2)
        await settle()
        if not woken:
            crowd.tasks[0].cancel()
            await settle()
    # Leaving has woken the first waiter, which has not run yet.
    crowd.tasks[0].cancel()
    await settle()
    assert crowd.inside == [1]
    await crowd.end()
    assert concurrency_limit.active == 0


async def test_a_failure_inside_gives_the_place_back() -> None:
    """An exception leaves through the gate as well."""
    concurrency_limit = ConcurrencyLimit(1)
    with pytest.raises(ZeroDivisionError):
        async with concurrency_limit.one():
            raise ZeroDivisionError
    assert concurrency_limit.active == 0
    async with concurrency_limit.one():
        assert concurrency_limit.active == 1


class Service:
    """Requests that start at a pace and end after their latencies, in simulated time; the limit decides how many there are."""

    STEP_S = 0.01

    def __init__(self, rate: float, maximum: int = 8192) -> None:
        self.clock = Clock()
        self.limit = ConcurrencyLimit(maximum, rate=rate, clock=self.clock)
        self.rate = rate
        self.waiting: list[tuple[Place, AsyncExitStack]] = []
        self.running: list[tuple[float, AsyncExitStack]] = []
        self.starts: list[float] = []
        self.most_waiting = self.most = 0

    async def run(self, seconds: float, draw: Callable[[], float]) -> None:
        """Let so much time pass, with a latency from *draw* for each request."""
        until = self.clock.now + seconds
        while self.clock.now < until:
            self.clock.now += self.STEP_S
            while self.running and self.running[0][0] <= self.clock.now:
                await heapq.heappop(self.running)[1].aclose()
            while self.limit.active < self.limit.limit:
                stack = AsyncExitStack()
                self.waiting.append((await stack.enter_async_context(self.limit.one()), stack))
            self.most_waiting = max(self.most_waiting, len(self.waiting))
            while self.waiting and len(self.starts) < self.rate * self.clock.now:
                place, stack = self.waiting.pop(0)
                place.left()
                self.starts.append(self.clock.now)
                # Ties are broken by the order of starts.
                heapq.heappush(self.running, (self.clock.now + draw() + 1e-9 * len(self.starts), stack))
            self.most = max(self.most, len(self.running))

    async def end(self) -> None:
        """Leave all places."""
        for _, stack in [*self.waiting, *self.running]:
            await stack.aclose()


@pytest.mark.parametrize("sigma", [0.0, 0.5, 1.0])
@pytest.mark.parametrize(("rate", "mean_s"), [(25, 12), (25, 1), (25, 60), (200, 3), (2, 12)])
async def test_the_pace_is_kept_at_any_latency(rate: float, mean_s: float, sigma: float) -> None:
    """From the first second on, with no more than a second's requests waiting for the pace."""
    service = Service(rate)
    chance = random.Random(1)

    def draw() -> float:
        return mean_s * chance.lognormvariate(-(sigma**2) / 2, sigma)

    await service.run(10 * mean_s + 10, draw)
    assert len(service.starts) >= 0.98 * rate * service.clock.now - 1
    assert service.most_waiting <= max(64, rate)
    assert service.most <= max(64, 1.6 * rate * mean_s)
    assert service.limit.throttle == ""
    await service.end()


async def test_a_service_that_falls_silent_is_sent_no_more_than_its_latency_asked_for() -> None:
    """What may be lost with it does not grow with the time for which it is silent."""
    service = Service(25)
    await service.run(60, lambda: 4.0)
    before = len(service.starts)
    await service.run(120, lambda: 1e6)
    assert len(service.starts) - before <= 25 * 4 * 1.3 + 1
    await service.end()


async def test_a_service_that_becomes_slower_is_followed() -> None:
    """Five times the latency needs five times the places, and has them once it was seen."""
    service = Service(25)
    await service.run(60, lambda: 4.0)
    await service.run(120, lambda: 20.0)
    before = len(service.starts)
    await service.run(60, lambda: 20.0)
    assert len(service.starts) - before >= 0.98 * 25 * 60
    await service.end()


async def test_the_cap_holds_and_is_told_where_it_holds_the_pace_back() -> None:
    """64 at once and 12 s each are 5.3 requests per second, whatever the key allows."""
    service = Service(25, maximum=64)
    await service.run(120, lambda: 12.0)
    assert service.most == 64
    assert service.limit.throttle == "64 at once allow 5.3 of 25 requests per second"
    await service.end()


async def test_pressure_lowers_what_is_under_way_and_not_a_cap_that_is_far_away() -> None:
    """A third fewer than the pace needs, and all of them again after enough successes."""
    service = Service(25)
    await service.run(60, lambda: 4.0)
    wanted = service.limit.limit
    for _ in range(10):
        service.limit.slower("503")
    assert service.limit.limit == int(wanted * 0.7)
    assert service.limit.throttle == f"{service.limit.limit} of {wanted} at once after 503"
    for _ in range(wanted * wanted):
        service.limit.faster()
    assert service.limit.limit == wanted
    await service.end()
