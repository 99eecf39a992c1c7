"""Several keys: each with a window of its own, and requests with whichever has a place."""

from __future__ import annotations

import asyncio
import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nanogpt_images.errors import BudgetExceededError
from nanogpt_images.transport.key_ring import KeyRing, Lane, key_name, window_name
from nanogpt_images.transport.pacing.limiter import RateLimiter
from nanogpt_images.transport.secrets import NO_SECRET


class Time:
    """A clock that its own sleeps set forward, the earliest first."""

    def __init__(self) -> None:
        self.now = 0.0
        self._sleepers: list[tuple[float, asyncio.Future[None]]] = []

    def __call__(self) -> float:
        return self.now

    async def sleep(self, seconds: float) -> None:
        future = asyncio.get_running_loop().create_future()
        self._sleepers.append((self.now + seconds, future))
        await future

    async def run(self, *tasks: asyncio.Task[None]) -> None:
        """Let time pass until *tasks* are done."""
        while not all(task.done() for task in tasks):
            for _ in range(20):
                await asyncio.sleep(0)
            if self._sleepers:
                at, future = min(self._sleepers, key=lambda sleeper: sleeper[0])
                self._sleepers.remove((at, future))
                self.now = max(self.now, at)
                if not future.done():
                    future.set_result(None)
        for task in tasks:
            if not task.cancelled():
                task.result()


def ring_of(time: Time, limits: list[int]) -> KeyRing:
    lanes = [
        Lane(number, key_name(str(number)), {}, RateLimiter(limit, clock=time, sleep=time.sleep), NO_SECRET)
        for number, limit in enumerate(limits)
    ]
    return KeyRing(lanes, clock=time)


@given(
    limits=st.lists(st.integers(1, 5), min_size=1, max_size=4),
    requests=st.integers(1, 40),
    events=st.lists(
        st.tuples(st.integers(0, 39), st.integers(0, 3), st.sampled_from(["pause", "drop", "cancel"])),
        max_size=6,
    ),
)
async def test_no_window_of_any_key_is_passed_and_no_request_is_lost(
    limits: list[int], requests: int, events: list[tuple[int, int, str]]
) -> None:
    """Whatever is paused, dropped or cancelled: each key keeps to its window, and all others are served."""
    time = Time()
    ring = ring_of(time, limits)
    starts: list[list[float]] = [[] for _ in limits]
    out: set[int] = set()
    tasks: list[asyncio.Task[None]] = []
    cancelled: set[int] = set()

    async def send(number: int) -> None:
        lane, slot = await ring.acquire()
        assert lane.number not in out or len(out) == len(limits)
        slot.started()
        starts[lane.number].append(time.now)
        for at, key, what in events:
            if at != number:
                continue
            if what == "pause":
                ring.lanes[key % len(limits)].limiter.pause(2.0)
            elif what == "drop" and ring.drop(ring.lanes[key % len(limits)], BudgetExceededError("no")):
                out.add(key % len(limits))
            elif what == "cancel" and number + 1 < requests and not tasks[number + 1].done():
                cancelled.add(number + 1)
                tasks[number + 1].cancel()

    async def quiet(number: int) -> None:
        with contextlib.suppress(asyncio.CancelledError):
            await send(number)

    tasks += [asyncio.create_task(quiet(number)) for number in range(requests)]
    await time.run(*tasks)
    assert requests - len(cancelled) <= sum(map(len, starts)) <= requests
    for limit, found in zip(limits, starts, strict=True):
        assert all(later - early >= 1.0 for early, later in zip(found, found[limit:], strict=False))
    if not events:
        # Nothing waits for one key while another one has a place.
        assert time.now <= 1.03 * ((requests - 1) // sum(limits)) + 1e-6


async def test_the_last_key_does_not_drop_out() -> None:
    """Its error is the caller's."""
    ring = ring_of(Time(), [1, 1])
    assert ring.drop(ring.lanes[0], BudgetExceededError("no"))
    assert not ring.drop(ring.lanes[1], BudgetExceededError("no"))
    assert (await ring.acquire())[0].number == 1


async def test_a_key_comes_back_after_its_day() -> None:
    """A daily limit ends at midnight, and the service says when that is."""
    time = Time()
    ring = ring_of(time, [9, 9])
    ring.drop(ring.lanes[0], BudgetExceededError("no"), for_s=60)
    assert {(await ring.acquire())[0].number for _ in range(4)} == {1}
    time.now = 61
    assert {(await ring.acquire())[0].number for _ in range(4)} == {0, 1}


@pytest.mark.parametrize("key", ["sk-nano-1", "sk-nano-2"])
def test_the_name_of_a_key_is_no_part_of_it(key: str) -> None:
    """Neither in a journal nor in the name of a file."""
    assert key not in key_name(key)
    assert window_name(key_name(key)).startswith(".pace-")
    assert window_name(key_name(None)) == ".pace"
