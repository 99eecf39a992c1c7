"""What a web application takes from the package: work that ends with its visitor, and streams that stay open."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, MutableMapping
from typing import Any

import pytest

from nanogpt_images.integrations.web import while_connected, with_keep_alive


class Browser:
    """The receiving end of an ASGI request without a body."""

    def __init__(self) -> None:
        self.gone = asyncio.Event()
        self._read = False

    async def receive(self) -> MutableMapping[str, Any]:
        if not self._read:
            self._read = True
            return {"type": "http.request", "body": b"", "more_body": False}
        await self.gone.wait()
        return {"type": "http.disconnect"}


class Work:
    """Something that is paid for: it waits until it is released, and notes how it ended."""

    def __init__(self) -> None:
        self.begun, self.release = asyncio.Event(), asyncio.Event()
        self.ending = "never begun"

    async def run(self) -> str:
        self.ending = "cancelled"
        self.begun.set()
        await self.release.wait()
        self.ending = "done"
        return "an image"


async def test_what_is_done_is_returned() -> None:
    """The work's result comes while the browser waits."""
    work = Work()
    work.release.set()
    assert await while_connected(Browser().receive, work.run()) == "an image"
    assert work.ending == "done"


async def test_what_fails_raises_its_own_error() -> None:
    """An error of the work is the caller's, unwrapped."""

    async def fail() -> str:
        raise KeyError("x")

    with pytest.raises(KeyError):
        await while_connected(Browser().receive, fail())


async def test_a_browser_that_goes_away_ends_the_work() -> None:
    """The work is cancelled, and has ended when the helper raises."""
    browser, work = Browser(), Work()

    async def leave() -> None:
        await work.begun.wait()
        browser.gone.set()

    leaving = asyncio.create_task(leave())
    with pytest.raises(ConnectionAbortedError):
        await while_connected(browser.receive, work.run())
    await leaving
    assert work.ending == "cancelled"


async def test_work_that_is_done_as_the_browser_leaves_is_returned() -> None:
    """Of both at once the result counts: it was paid for."""
    browser, work = Browser(), Work()
    browser.gone.set()
    work.release.set()
    assert await while_connected(browser.receive, work.run()) == "an image"


async def test_a_deadline_ends_the_work() -> None:
    """No time at all is a deadline as well."""
    work = Work()
    with pytest.raises(TimeoutError, match="within 0 s"):
        await while_connected(Browser().receive, work.run(), timeout_s=0)
    assert work.ending in ("cancelled", "never begun")


async def test_a_handler_that_is_cancelled_ends_the_work() -> None:
    """Cancelling the handler (a server that shuts down) cancels the work and waits for its end."""
    work = Work()
    handler = asyncio.create_task(while_connected(Browser().receive, work.run()))
    await work.begun.wait()
    handler.cancel()
    with pytest.raises(asyncio.CancelledError):
        await handler
    assert work.ending == "cancelled"


async def test_a_silent_stream_gets_comments() -> None:
    """Comments come while no event does; every event comes once, and then the end."""
    silent = asyncio.Event()

    async def events() -> AsyncIterator[str]:
        yield "data: 1\n\n"
        await silent.wait()
        yield "data: 2\n\n"

    seen: list[str] = []
    async for piece in with_keep_alive(events(), every_s=0.001):
        seen.append(piece)
        if seen.count(": keep-alive\n\n") == 3:
            silent.set()
    assert [piece for piece in seen if not piece.startswith(":")] == ["data: 1\n\n", "data: 2\n\n"]
    assert seen.count(": keep-alive\n\n") >= 3


async def test_a_page_that_closes_ends_the_source() -> None:
    """A stream that nobody reads any more leaves no task, and its source is closed."""
    closed = asyncio.Event()

    async def events() -> AsyncIterator[str]:
        try:
            yield "data: 1\n\n"
            await asyncio.Event().wait()
        finally:
            closed.set()

    before = asyncio.all_tasks()
    stream = with_keep_alive(events(), every_s=0.001)
    assert await anext(stream) == "data: 1\n\n"
    assert await anext(stream) == ": keep-alive\n\n"
    await stream.aclose()
    assert closed.is_set()
    assert asyncio.all_tasks() == before


async def test_an_error_of_the_source_is_raised() -> None:
    """What goes wrong while events are made reaches the framework."""

    async def events() -> AsyncIterator[str]:
        yield "data: 1\n\n"
        raise KeyError("x")

    with pytest.raises(KeyError):
        assert [piece async for piece in with_keep_alive(events())]
