"""Downloads that wait for another try: their order, their delays, and the end of the waiting."""

from __future__ import annotations

import asyncio

import attrs
import pytest
from fakes import Clock

from nanogpt_images import DownloadError, RetryPolicy
from nanogpt_images.batch.rows import BatchRow
from nanogpt_images.batch.run.later import Later, OpenDownload
from nanogpt_images.batch.run.settlement import Task
from nanogpt_images.batch.units import units_of
from nanogpt_images.types.parameters import ONE_IMAGE
from nanogpt_images.types.result import GenerationResult

ERROR = DownloadError("404")


def open_download(prompt: str, rounds: int = 0) -> OpenDownload:
    (unit,) = units_of(BatchRow(prompt=prompt, model="m"), ONE_IMAGE, [1])
    return OpenDownload(Task(unit=unit), GenerationResult(images=(), model="m", prompt=prompt), rounds)


def later(clock: Clock, capacity: int = 9, **policy: object) -> Later:
    return Later(capacity, attrs.evolve(RetryPolicy(jitter=0), **policy), clock=clock)


async def prompts(queue: Later) -> list[str]:
    """What is given out until nothing more will come."""
    given: list[str] = []
    while (item := await queue.next()) is not None:
        given.append(item.result.prompt)
        queue.done()
    return given


@pytest.mark.parametrize(("rounds", "delay_s"), [(0, 4), (1, 8), (2, 16), (9, 2048)])
async def test_delays_go_on_where_the_attempts_of_one_download_ended(rounds: int, delay_s: float) -> None:
    """Each round waits twice as long, so that ten of them fill the hour of a URL's life."""
    clock = Clock()
    queue = later(clock)
    queue.put(open_download("x", rounds), ERROR)
    waiting = asyncio.ensure_future(queue.next())
    clock.now = delay_s - 0.001
    queue._wake()
    assert not (await asyncio.wait([waiting], timeout=0))[0]
    clock.now = delay_s
    queue._wake()
    item = await waiting
    assert item is not None
    assert item.rounds == rounds + 1


async def test_the_one_that_is_due_first_comes_first() -> None:
    """Whatever was put off most often waits longest."""
    clock = Clock()
    queue = later(clock)
    for prompt, rounds in (("b", 1), ("c", 2), ("a", 0)):
        queue.put(open_download(prompt, rounds), ERROR)
    queue.close()
    clock.now = 100
    assert await prompts(queue) == ["a", "b", "c"]


async def test_nothing_is_waited_for_beyond_the_patience_after_the_last_request() -> None:
    """Each is tried once more within a minute; after that what fails is left to the next run."""
    clock = Clock()
    queue = later(clock)
    queue.put(open_download("long", 8), ERROR)
    queue.close()
    clock.now = 60
    item = await queue.next()
    assert item is not None
    queue.put(item, ERROR)
    queue.done()
    assert await queue.next() is None


async def test_the_end_waits_for_what_is_in_hand() -> None:
    """A download that is being tried may be put off again."""
    queue = later(Clock(), initial_delay_s=0)
    queue.put(open_download("x"), ERROR)
    queue.close()
    item = await queue.next()
    assert item is not None
    other = asyncio.ensure_future(queue.next())
    assert not (await asyncio.wait([other], timeout=0))[0]
    queue.put(item, ERROR)
    assert await other is not None
    queue.done()
    queue.done()
    assert await queue.next() is None


async def test_the_queue_is_bounded() -> None:
    """Memory grows neither with the rows nor with the rounds."""
    queue = later(Clock(), capacity=2, initial_delay_s=0)
    for prompt in "abc":
        queue.put(open_download(prompt), ERROR)
    queue.put(open_download("worn out", rounds=10), ERROR)
    queue.close()
    assert await prompts(queue) == ["a", "b"]


async def test_a_policy_that_repeats_nothing_is_heeded() -> None:
    """`RetryPolicy.none()` holds for whole rounds as well."""
    queue = Later(9, RetryPolicy.none(), clock=Clock())
    queue.put(open_download("x"), ERROR)
    queue.close()
    assert await queue.next() is None
