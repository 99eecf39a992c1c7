"""Expiry, single flight and the last known answer."""

from __future__ import annotations

import asyncio
import gc
import logging
import traceback
from collections.abc import Callable

import pytest

from nanogpt_images.errors import ConnectError, TransportError
from nanogpt_images.resources.cache import FlightCache

_log = logging.getLogger("test")


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


class Source:
    """Counts its loads; each waits until the test lets it go."""

    def __init__(self, *, held: bool = False) -> None:
        self.loads = 0
        self.cancelled = 0
        self.error: Exception | None = None
        self.gate = asyncio.Event()
        if not held:
            self.gate.set()

    async def __call__(self) -> str:
        self.loads += 1
        mine = self.loads
        try:
            await self.gate.wait()
        except asyncio.CancelledError:
            self.cancelled += 1
            raise
        if self.error is not None:
            raise self.error
        return f"answer {mine}"


def cache(
    *, ttl_s: float = 10, max_items: int = 4, clock: Callable[[], float] | None = None
) -> FlightCache[str]:
    return FlightCache(
        "a thing",
        ttl_s=ttl_s,
        max_items=max_items,
        mark_stale=lambda text: f"{text}, stale",
        clock=clock or Clock(),
        log=_log,
    )


async def until_waiting(source: Source, loads: int = 1) -> None:
    for _ in range(20):
        await asyncio.sleep(0)
    assert source.loads == loads


async def test_an_answer_is_kept_until_it_expires() -> None:
    """Within the lifetime nothing is loaded; after it, once."""
    clock, source = Clock(), Source()
    kept = cache(clock=clock)
    assert [await kept.get("k", source) for _ in range(3)] == ["answer 1"] * 3
    clock.now = 9.9
    assert kept.fresh("k") == "answer 1"
    clock.now = 10
    assert (kept.fresh("k"), kept.known("k")) == (None, "answer 1")
    assert await kept.get("k", source) == "answer 2"


async def test_refresh_loads_anew() -> None:
    """`refresh=True` does not take a fresh answer."""
    kept, source = cache(), Source()
    await kept.get("k", source)
    assert await kept.get("k", source, refresh=True) == "answer 2"
    assert kept.fresh("k") == "answer 2"


async def test_keys_are_apart() -> None:
    """Different keys are loaded and kept separately, the least recently used go first."""
    kept, source = cache(max_items=2), Source()
    for key in "abc":
        await kept.get(key, source)
    assert [kept.known(key) for key in "abc"] == [None, "answer 2", "answer 3"]


@pytest.mark.parametrize("ttl_s", [10, 0])
async def test_a_thousand_callers_share_one_load(ttl_s: float) -> None:
    """Callers at the same time cause one load, with a lifetime of zero too."""
    kept, source = cache(ttl_s=ttl_s), Source(held=True)
    callers = [asyncio.create_task(kept.get("k", source)) for _ in range(1000)]
    await until_waiting(source)
    source.gate.set()
    assert set(await asyncio.gather(*callers)) == {"answer 1"}
    assert source.loads == 1


async def test_a_lifetime_of_zero_keeps_nothing() -> None:
    """With `ttl_s=0` each call that comes later loads again."""
    kept, source = cache(ttl_s=0), Source()
    assert [await kept.get("k", source) for _ in range(2)] == ["answer 1", "answer 2"]
    assert kept.fresh("k") is None


async def test_a_failure_reaches_every_caller_and_is_remembered_for_a_while() -> None:
    """All who waited get the same error, and so do those who come within 30 seconds; then it is loaded again."""
    clock, source = Clock(), Source(held=True)
    kept = cache(ttl_s=300, clock=clock)
    source.error = ConnectError("refused")
    callers = [asyncio.create_task(kept.get("k", source)) for _ in range(3)]
    await until_waiting(source)
    source.gate.set()
    assert await asyncio.gather(*callers, return_exceptions=True) == [source.error] * 3
    clock.now = 29
    for _ in range(20):
        with pytest.raises(ConnectError) as caught:
            await kept.get("k", source)
    assert caught.value is source.error
    assert caught.value.__traceback__ is not None
    assert len(traceback.extract_tb(caught.value.__traceback__)) < 5
    assert (source.loads, kept.settled("k")) == (1, source.error)
    clock.now = 30
    source.error = None
    assert await kept.get("k", source) == "answer 2"


async def test_a_remembered_failure_does_not_outlive_the_lifetime_of_answers() -> None:
    """A lifetime below 30 seconds is that of failures too; `refresh` asks at any time."""
    clock, source = Clock(), Source()
    kept = cache(ttl_s=2, clock=clock)
    source.error = ConnectError("refused")
    for clock.now in (0, 1, 2):
        with pytest.raises(ConnectError):
            await kept.get("k", source)
    assert source.loads == 2
    source.error = None
    assert await kept.get("k", source, refresh=True) == "answer 3"
    assert await kept.get("k", source) == "answer 3"


async def test_an_error_outside_the_tree_is_not_hidden_by_an_older_answer() -> None:
    """A programming error is never served as a stale answer."""
    kept, source = cache(), Source()
    await kept.get("k", source)
    source.error = KeyError("bug")
    with pytest.raises(KeyError):
        await kept.get("k", source, refresh=True)


async def test_a_failed_refresh_serves_the_last_known_answer(caplog: pytest.LogCaptureFixture) -> None:
    """The older answer, even expired, is served marked and logged; after a while a call tries again."""
    clock, source = Clock(), Source()
    kept = cache(clock=clock)
    await kept.get("k", source)
    source.error = ConnectError("refused")
    assert await kept.get("k", source, refresh=True) == "answer 1, stale"
    assert "a thing could not be refreshed (refused)" in caplog.text
    assert kept.fresh("k") is None
    assert await kept.get("k", source) == "answer 1, stale"
    assert source.loads == 2
    clock.now = 1000
    assert await kept.get("k", source) == "answer 1, stale"
    source.error = None
    clock.now = 1010
    assert await kept.get("k", source) == "answer 4"


@pytest.mark.parametrize("leaving", [[0], [0, 1], [1, 2], [2]])
async def test_cancelled_callers_leave_the_others_alone(leaving: list[int]) -> None:
    """Whoever is cancelled, the first caller too, the rest get the answer of the one load."""
    kept, source = cache(), Source(held=True)
    callers = [asyncio.create_task(kept.get("k", source)) for _ in range(3)]
    await until_waiting(source)
    for index in leaving:
        callers[index].cancel()
    await until_waiting(source)
    source.gate.set()
    outcomes = await asyncio.gather(*callers, return_exceptions=True)
    for index, outcome in enumerate(outcomes):
        assert isinstance(outcome, asyncio.CancelledError) if index in leaving else outcome == "answer 1"
    assert (source.loads, source.cancelled) == (1, 0)


async def test_the_load_ends_with_its_last_caller() -> None:
    """When all callers are cancelled the load is cancelled, no task is left, and a new call starts afresh."""
    kept, source = cache(), Source(held=True)
    before = asyncio.all_tasks()
    callers = [asyncio.create_task(kept.get("k", source)) for _ in range(3)]
    await until_waiting(source)
    for caller in callers:
        caller.cancel()
    await asyncio.gather(*callers, return_exceptions=True)
    assert source.cancelled == 1
    assert asyncio.all_tasks() == before
    source.gate.set()
    assert await kept.get("k", source) == "answer 2"


async def test_a_caller_may_come_while_a_cancelled_load_winds_down() -> None:
    """A call made while the old load still closes its connection gets a load of its own, which others join."""
    kept = cache()
    closing, closed, started = asyncio.Event(), asyncio.Event(), asyncio.Event()

    async def slow_to_close() -> str:
        started.set()
        try:
            await asyncio.Event().wait()
        finally:
            closing.set()
            await closed.wait()
        return "never"

    first = asyncio.create_task(kept.get("k", slow_to_close))
    await started.wait()
    first.cancel()
    await closing.wait()
    assert not first.done()
    source = Source(held=True)
    second = asyncio.create_task(kept.get("k", source))
    await until_waiting(source)
    closed.set()
    with pytest.raises(asyncio.CancelledError):
        await first
    third = asyncio.create_task(kept.get("k", source))
    await until_waiting(source)
    source.gate.set()
    assert await asyncio.gather(second, third) == ["answer 1"] * 2


async def test_a_failure_after_the_last_caller_left_is_silent() -> None:
    """A load that fails while being cancelled is not reported as lost by asyncio."""
    reports: list[object] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: reports.append(context))
    kept, started = cache(), asyncio.Event()

    async def fails_when_cancelled() -> str:
        started.set()
        try:
            await asyncio.Event().wait()
        finally:
            raise ConnectError("broken while closing")

    caller = asyncio.create_task(kept.get("k", fails_when_cancelled))
    await started.wait()
    caller.cancel()
    with pytest.raises(asyncio.CancelledError):
        await caller
    del caller
    gc.collect()
    await asyncio.sleep(0)
    assert reports == []


async def test_aclose_ends_loads_and_tells_their_callers() -> None:
    """Closing cancels what is under way; who waits gets an error of the tree, not a cancellation."""
    kept, source = cache(), Source(held=True)
    caller = asyncio.create_task(kept.get("k", source))
    await until_waiting(source)
    await kept.aclose()
    with pytest.raises(TransportError, match="closed while a thing was being fetched"):
        await caller
    assert source.cancelled == 1


@pytest.mark.parametrize("close_first", [False, True])
def test_one_cache_serves_event_loops_one_after_another(close_first: bool) -> None:
    """A load that an ended loop left behind stands in the way neither of the next loop nor of closing."""
    kept = cache()

    async def leave_a_load_behind() -> None:
        source = Source(held=True)
        asyncio.get_running_loop().create_task(kept.get("k", source))
        await until_waiting(source)

    async def use() -> str:
        if close_first:
            async with asyncio.timeout(5):
                await kept.aclose()
        return await kept.get("k", Source())

    loop = asyncio.new_event_loop()
    loop.run_until_complete(leave_a_load_behind())
    abandoned = asyncio.all_tasks(loop)
    try:
        assert asyncio.run(use()) == "answer 1"
    finally:
        for task in abandoned:
            task.cancel()
        loop.run_until_complete(asyncio.gather(*abandoned, return_exceptions=True))
        loop.close()
    assert asyncio.run(use()) == "answer 1"
