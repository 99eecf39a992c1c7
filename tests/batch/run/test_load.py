"""Whether the service takes anything at all."""

from __future__ import annotations

import asyncio

import pytest

from nanogpt_images.batch.run.load import Load, Post


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


async def sent(load: Load) -> Post:
    assert load.wait_s() == 0.0
    post = await load.permit()
    load.left(post)
    return post


async def burst(load: Load) -> list[Post]:
    """As many as may leave at once."""
    posts = []
    while load.wait_s() == 0.0 and len(posts) < 100:
        posts.append(await sent(load))
    return posts


async def test_a_service_that_refuses_everything_is_found_out_after_twenty_posts() -> None:
    """Twelve leave at first, then one after each pause; nothing more once the twentieth is refused."""
    clock = Clock()
    load = Load(clock=clock)
    posts = await burst(load)
    assert len(posts) == 12
    for post in posts:
        load.answered(post, refused=True)
    load.pause(1)
    for number in range(12, 20):
        assert not load.hopeless
        assert load.wait_s() == pytest.approx(1)
        clock.now += 1
        (post,) = await burst(load)
        load.answered(post, refused=True)
        load.answered(post, refused=True)
        load.pause(1)
        assert load.in_a_row == number + 1
    assert load.hopeless


async def test_a_taken_request_ends_the_care() -> None:
    """After one success, or a second without an answer, as many leave as others allow."""
    clock = Clock()
    load = Load(clock=clock)
    first, *_ = await burst(load)
    load.answered(first, refused=False)
    assert len(await burst(load)) == 100

    load = Load(clock=clock)
    await burst(load)
    assert load.wait_s() == 1
    clock.now += 1
    assert len(await burst(load)) == 100


async def test_refusals_among_successes_never_add_up() -> None:
    """Every other request refused is no reason to stop, nor to be careful."""
    load = Load(clock=Clock())
    for _ in range(100):
        for refused in (True, False):
            load.answered(await sent(load), refused=refused)
    assert (load.in_a_row, load.hopeless) == (0, False)


async def test_an_answer_to_what_left_long_before_the_refusals_does_not_excuse_them() -> None:
    """Images that were begun before the service turned away still arrive for a while."""
    clock = Clock()
    load = Load(clock=clock)
    old = await burst(load)
    clock.now = 30
    for post in old:
        load.answered(await sent(load), refused=True)
        load.answered(post, refused=False)
        clock.now += 1
        if load.in_a_row >= 8:
            break
    assert load.in_a_row == 8
    load.answered(await sent(load), refused=False)
    assert load.in_a_row == 0


async def test_a_burst_of_refusals_is_no_reason_to_stop_by_itself() -> None:
    """A service that has taken requests and refuses a whole burst gets eight single probes."""
    clock = Clock()
    load = Load(clock=clock)
    load.answered(await sent(load), refused=False)
    posts = (await burst(load))[:40]
    for post in posts:
        load.answered(post, refused=True)
    clock.now += 1
    for _ in range(8):
        assert not load.hopeless
        load.answered(await sent(load), refused=True)
    assert load.hopeless


async def test_a_post_that_never_left_holds_nobody() -> None:
    """A cancelled attempt gives its place back, and says nothing about the service."""
    load = Load(clock=Clock())
    posts = [await load.permit() for _ in range(12)]
    waiting = asyncio.ensure_future(load.permit())
    await asyncio.sleep(0)
    assert not waiting.done()
    load.answered(posts[0], refused=None)
    await waiting
    assert load.in_a_row == 0
