"""The web applications of docs/examples, each behind its real server, with many visitors."""

from __future__ import annotations

import asyncio
import json
import logging
import runpy
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from functools import partial
from pathlib import Path

import aiohttp
import pytest
import uvicorn
from aiohttp import web
from fakes import QUICK

import nanogpt_images as ngi
from nanogpt_images.sandbox import BlockingSandbox, Fault, Sandbox
from nanogpt_images.testing import assert_billed

EXAMPLES = Path(__file__).parents[1] / "docs" / "examples"
VISITORS = 200


@asynccontextmanager
async def uvicorn_server(names: dict[str, object]) -> AsyncIterator[str]:
    """The FastAPI application, under uvicorn."""
    server = uvicorn.Server(uvicorn.Config(names["app"], port=0, log_level="warning", ws="none"))
    serving = asyncio.create_task(server.serve())
    while not server.started and not serving.done():
        await asyncio.sleep(0.005)
    yield f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
    server.should_exit = True
    await serving


@asynccontextmanager
async def aiohttp_server(names: dict[str, Callable[[], web.Application]]) -> AsyncIterator[str]:
    """The aiohttp.web application, as `web.run_app` serves it."""
    runner = web.AppRunner(names["make_app"](), handler_cancellation=True)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0, backlog=1024).start()
    yield f"http://127.0.0.1:{runner.addresses[0][1]}"
    await runner.cleanup()


@pytest.fixture
def sandbox() -> Iterator[BlockingSandbox]:
    with Sandbox.in_thread(requests_per_second=None) as running:
        yield running


OpenApp = Callable[[], AbstractAsyncContextManager[aiohttp.ClientSession]]


@pytest.fixture(params=[("webapp_fastapi.py", uvicorn_server), ("webapp_aiohttp.py", aiohttp_server)])
def open_app(
    request: pytest.FixtureRequest,
    sandbox: BlockingSandbox,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> OpenApp:
    """Runs an application and gives a session of its visitors."""
    file, serve = request.param
    monkeypatch.setenv("NANOGPT_API_KEY", sandbox.api_key)
    monkeypatch.setenv("NANOGPT_BASE_URL", sandbox.url)
    monkeypatch.setenv("IMAGE_MODEL", "tiny-and-fast")
    monkeypatch.setenv("IMAGE_DIR", str(tmp_path))
    quick = partial(ngi.AsyncClient, requests_per_second=None, retry=QUICK, max_connections=VISITORS)
    monkeypatch.setattr(ngi, "AsyncClient", quick)

    @asynccontextmanager
    async def opened() -> AsyncIterator[aiohttp.ClientSession]:
        async with serve(runpy.run_path(str(EXAMPLES / file))) as url:
            async with aiohttp.ClientSession(url, connector=aiohttp.TCPConnector(limit=0)) as session:
                yield session

    return opened


@pytest.fixture
async def visitor(open_app: OpenApp) -> AsyncIterator[aiohttp.ClientSession]:
    """A session of an application's visitors."""
    async with open_app() as session:
        yield session


async def until(condition: Callable[[], bool]) -> None:
    """Wait for what another thread or the server does."""
    async with asyncio.timeout(20):
        while not condition():
            await asyncio.sleep(0.005)


async def told(visitor: aiohttp.ClientSession, name: str, after: int = 0) -> list[tuple[str, dict]]:
    """The server-sent events of a batch as (ID, data), to its end."""
    headers = {"Last-Event-ID": str(after)}
    async with visitor.get(f"/batches/{name}/events", headers=headers) as response:
        assert response.content_type == "text/event-stream"
        assert response.headers["Cache-Control"] == "no-cache"
        assert response.headers["X-Accel-Buffering"] == "no"
        blocks = (await response.text()).split("\n\n")
    assert json.loads(blocks[-2].removeprefix("event: end\ndata: "))["requests"] == 6
    lines = [block.removeprefix("id: ").partition("\ndata: ") for block in blocks[:-2]]
    return [(number, json.loads(data)) for number, _, data in lines]


async def test_many_visitors_at_once(visitor: aiohttp.ClientSession, sandbox: BlockingSandbox) -> None:
    """Each of 200 visitors gets an image, and each image is paid for once."""

    async def draw(number: int) -> bytes:
        async with visitor.get("/draw", params={"prompt": f"fox {number}"}) as response:
            assert (response.status, response.content_type) == (200, "image/png")
            return await response.read()

    images = await asyncio.gather(*(draw(number) for number in range(VISITORS)))
    assert len(set(images)) == VISITORS
    await until(lambda: sandbox.ledger.in_flight == 0)
    assert_billed(sandbox, requests=VISITORS, images=VISITORS)


async def test_a_visitor_who_leaves_abandons_a_drawing(
    visitor: aiohttp.ClientSession, sandbox: BlockingSandbox, caplog: pytest.LogCaptureFixture
) -> None:
    """The request is broken off, and its charge is noted as unknown; the next visitor is served."""
    sandbox.set_faults(Fault("stall_before_headers", times=1))
    call = asyncio.create_task(visitor.get("/draw", params={"prompt": "a fox"}))
    await until(lambda: bool(sandbox.ledger.billed))
    with caplog.at_level(logging.WARNING, "webapp"):
        call.cancel()
        await until(lambda: "may have been charged" in caplog.text)
    await until(lambda: sandbox.ledger.in_flight == 0)
    async with visitor.get("/draw", params={"prompt": "a hare"}) as response:
        assert response.status == 200


async def test_an_order_is_made_and_kept(visitor: aiohttp.ClientSession, sandbox: BlockingSandbox) -> None:
    """It is there when the visitor comes back, and stays; it was paid for once."""
    async with visitor.post("/orders", json={"prompt": "a fox"}) as response:
        assert response.status == 202
        name = (await response.json())["order"]
    for _ in range(2):
        async with asyncio.timeout(20):
            while (response := await visitor.get(f"/orders/{name}")).status == 202:
                await asyncio.sleep(0.01)
        assert (response.status, response.content_type) == (200, "image/png")
        assert (await response.read()).startswith(b"\x89PNG")
    assert_billed(sandbox, requests=1)


async def test_a_refused_order_says_why(visitor: aiohttp.ClientSession, sandbox: BlockingSandbox) -> None:
    """The visitor's mistake is a 400, the service's trouble a 502, each with what is known of the money."""
    sandbox.set_faults(Fault("content_policy", times=1), Fault("500"))
    for status, charge in ((400, "rejected"), (502, "unknown")):
        async with visitor.get("/draw", params={"prompt": "a fox"}) as response:
            assert (response.status, (await response.json())["charge"]) == (status, charge)


async def test_a_page_follows_a_batch_and_comes_back(
    visitor: aiohttp.ClientSession, sandbox: BlockingSandbox
) -> None:
    """The batch goes on while nobody watches; a page that comes back gets what it has missed."""
    sandbox.set_faults(Fault("stall_before_headers", after_s=0.3, skip=2))
    async with visitor.post("/batches", json={"prompts": [f"fox {n}" for n in range(6)]}) as response:
        name = (await response.json())["batch"]
    async with visitor.get(f"/batches/{name}/events") as response:
        assert await response.content.readline() == b"id: 1\n"
    rest = await told(visitor, name, after=1)
    assert [number for number, _ in rest] == ["2", "3", "4", "5", "6"]
    assert all(data["state"] == "done" and len(data["files"]) == 1 for _, data in rest)
    assert await told(visitor, name, after=6) == []
    assert_billed(sandbox, requests=6)


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("GET", "/draw", None),
        ("GET", "/draw?prompt=", None),
        ("POST", "/orders", b"{}"),
        ("POST", "/orders", b'{"prompt": 3}'),
        ("POST", "/orders", b'{"prompt": ""}'),
        ("POST", "/orders", b"not JSON"),
        ("POST", "/orders", b"[]"),
        ("POST", "/batches", b'{"prompts": []}'),
        ("POST", "/batches", b'{"prompts": "a fox"}'),
        ("POST", "/batches", b'{"prompts": [""]}'),
    ],
)
async def test_what_a_visitor_sends_is_checked(
    visitor: aiohttp.ClientSession, sandbox: BlockingSandbox, method: str, path: str, body: bytes | None
) -> None:
    """A request that is not what the application takes is a 422, not a 500, and pays for nothing."""
    headers = {"Content-Type": "application/json"} if body else {}
    async with visitor.request(method, path, data=body, headers=headers) as response:
        assert response.status == 422
    assert sandbox.ledger.posts == []


async def test_what_is_unknown_is_not_found(visitor: aiohttp.ClientSession) -> None:
    """A name that nobody was given is a 404."""
    for path in ("/orders/x", "/batches/x/events"):
        async with visitor.get(path) as response:
            assert response.status == 404


async def test_closing_waits_for_what_is_paid_for(
    open_app: OpenApp, sandbox: BlockingSandbox, tmp_path: Path
) -> None:
    """An order under way when the application closes is made and kept."""
    sandbox.set_faults(Fault("stall_before_headers", after_s=0.3))
    async with open_app() as visitor:
        async with visitor.post("/orders", json={"prompt": "a fox"}) as response:
            assert response.status == 202
        await until(lambda: bool(sandbox.ledger.billed))
    (file,) = tmp_path.iterdir()
    assert file.suffix == ".png"
