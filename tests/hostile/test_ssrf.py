"""Reference URLs that a stranger chose, through the whole flow: no private address is met, nothing is paid."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import aiohttp
import pytest
from aiohttp import web
from fakes import PNG, connected

from nanogpt_images import Charge, DownloadError, ReferenceImageError

MODEL = "tiny-and-fast"


@asynccontextmanager
async def victim() -> AsyncIterator[tuple[int, list[str]]]:
    """A server on loopback that should not be met: its port, and the paths that were asked for."""
    paths: list[str] = []

    async def answer(request: web.BaseRequest) -> web.Response:
        paths.append(request.path)
        return web.Response(body=PNG, content_type="image/png")

    runner = web.ServerRunner(web.Server(answer))
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        yield runner.addresses[0][1], paths
    finally:
        await runner.cleanup()


@pytest.mark.parametrize("field", ["image_data_url", "image_data_urls", "mask_data_url"])
@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "2130706433", "[::ffff:127.0.0.1]"])
async def test_a_private_reference_is_refused_before_anything_is_paid(field: str, host: str) -> None:
    """By default no field of the OpenAI-compatible route makes this process fetch from its own network."""
    async with victim() as (port, paths), connected() as (client, sandbox):
        url = f"http://{host}:{port}/secret.png"
        images = {"image_data_url": PNG} if field == "mask_data_url" else {}
        given = images | {field: [url] if field == "image_data_urls" else url}
        with pytest.raises(ReferenceImageError, match="Nothing was sent") as caught:
            await client.images.generate_openai("a fox", model=MODEL, validate=False, **given)
        assert not sandbox.ledger.posts
    assert caught.value.charge is Charge.NOT_SENT
    assert not paths


@pytest.mark.parametrize(
    "host",
    ["10.0.0.1", "169.254.169.254", "192.168.1.1", "[fd00:ec2::254]", "[64:ff9b::a00:1]", "0xa9fea9fe"],
)
async def test_no_socket_is_made_for_a_private_address(host: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Addresses of other machines are refused before there is a socket to connect."""

    def no_socket(*args: object, **options: object) -> None:
        raise AssertionError("a socket was made")

    async with connected() as (client, sandbox):
        await client.catalog.list()
        monkeypatch.setattr("nanogpt_images._base.addresses.socket.socket", no_socket)
        with pytest.raises(ReferenceImageError, match="which is not public"):
            await client.images.generate_openai(
                "a fox", model=MODEL, validate=False, image_data_url=f"http://{host}/a.png"
            )
        monkeypatch.undo()
        assert not sandbox.ledger.posts


@asynccontextmanager
async def redirecting(target: str) -> AsyncIterator[str]:
    """The URL of a server whose every answer is a redirect to *target*."""

    async def answer(request: web.BaseRequest) -> web.Response:
        return web.Response(status=302, headers={"Location": target})

    runner = web.ServerRunner(web.Server(answer))
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        yield f"http://127.0.0.1:{runner.addresses[0][1]}/a.png?sig=secret"
    finally:
        await runner.cleanup()


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "[::ffff:127.0.0.1]", "2130706433"])
async def test_a_redirect_of_a_signed_url_does_not_reach_a_private_address(host: str) -> None:
    """Where the host of a file sends a download is a stranger's word, unless the caller names it."""
    async with victim() as (port, paths), redirecting(f"http://{host}:{port}/secret") as link:
        async with connected() as (client, _):
            with pytest.raises(DownloadError) as caught:
                await client._downloads.read(link)
        assert not caught.value.expired
        assert "secret" not in str(caught.value).replace("/secret", "")
        assert not paths


async def test_a_redirect_of_a_signed_url_reaches_the_hosts_that_the_caller_names() -> None:
    """Storage of one's own network is allowed by its name, also with a session of the caller's."""
    async with victim() as (port, paths), redirecting(f"http://localhost:{port}/mine") as link:
        async with connected(allow_private_references=["localhost"]) as (client, _):
            assert await client._downloads.read(link) == PNG
        assert paths == ["/mine"]
        async with aiohttp.ClientSession() as session, connected(session=session) as (client, _):
            with pytest.raises(DownloadError, match="not a public address"):
                await client._downloads.read(link)
        assert paths == ["/mine"]


async def test_rows_of_a_batch_fail_alone_and_uncharged(tmp_path: Path) -> None:
    """A hostile reference in one row fails that row; the others are made."""
    async with victim() as (port, paths), connected() as (client, sandbox):
        bad = {"image_data_url": f"http://localhost:{port}/a.png", "key": "bad"}
        rows = [{"prompt": "a fox", "model": MODEL, "route": "openai", **more} for more in ({}, bad)]
        async with client.batch(rows, out=tmp_path, validate=False) as run:
            events = {event.key: event async for event in run}
        assert len(sandbox.ledger.posts) == 1
    assert isinstance(events["bad"].error, ReferenceImageError)
    assert (run.report.images, run.report.failed, run.report.unknown) == (1, 1, 0)
    assert not paths


async def test_a_name_that_rebinds_is_connected_to_where_it_was_checked(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The system's look-up is asked once; an address that it would give the second time is never connected to."""
    looked_up: list[str] = []
    loop = asyncio.get_running_loop()
    ask = loop.getaddrinfo

    async def rebinding(host: str, port: int, **options: int) -> list[tuple[object, ...]]:
        if host != "rebind.test":
            return await ask(host, port, **options)
        looked_up.append(host)
        # 198.51.100.7 is for documentation: were it allowed, nothing would answer there.
        address = "198.51.100.7" if len(looked_up) == 1 else "127.0.0.1"
        return [(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP, "", (address, port))]

    async with victim() as (port, paths), connected() as (client, sandbox):
        await client.catalog.list()
        monkeypatch.setattr(loop, "getaddrinfo", rebinding)
        with pytest.raises(ReferenceImageError, match=r"rebind\.test has the address 198\.51\.100\.7"):
            await client.images.generate_openai(
                "a fox", model=MODEL, validate=False, image_data_url=f"http://rebind.test:{port}/a.png"
            )
        monkeypatch.undo()
        assert not sandbox.ledger.posts
    assert looked_up == ["rebind.test"]
    assert not paths


async def test_a_link_of_the_normalized_route_is_not_fetched_here() -> None:
    """The normalized route takes links: the service follows them, and this process never does."""
    async with victim() as (port, paths), connected() as (client, sandbox):
        url = f"http://localhost:{port}/a.png"
        await client.images.generate("a fox", model="gpt-image-2", input_references=url)
        assert len(sandbox.ledger.posts) == 1
    assert not paths
