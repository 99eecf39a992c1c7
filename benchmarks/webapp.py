"""
Claim: many visitors at once do not stall the loop of a web application.

    python benchmarks/webapp.py [--json] [--visitors N] [--rounds N] [--sizes …]

The applications of docs/examples (the FastAPI one under uvicorn, and aiohttp.web) run in this process, their
visitors and the service (`clients/stub.py`) in processes of their own. All visitors ask for `/draw` at once.
Printed are medians over the rounds: images per second, and how late the loop was at worst for a timer of 2 ms.
Beside them stands an application that answers the same bytes from memory: what the server itself costs.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import runpy
import statistics
import sys
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path

import aiohttp
import uvicorn
from aiohttp import web
from clients.harness import Ticker
from clients.stub import picture
from compare import KIB, SIZES, stub

import nanogpt_images as ngi

EXAMPLES = Path(__file__).parent.parent / "docs" / "examples"


@asynccontextmanager
async def fastapi_app(_: int) -> AsyncIterator[str]:
    app = runpy.run_path(str(EXAMPLES / "webapp_fastapi.py"))["app"]
    server = uvicorn.Server(uvicorn.Config(app, port=0, log_level="warning", ws="none"))
    serving = asyncio.create_task(server.serve())
    while not server.started and not serving.done():  # noqa: ASYNC110 - uvicorn offers nothing to wait for
        await asyncio.sleep(0.01)
    yield f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
    server.should_exit = True
    await serving


@asynccontextmanager
async def served(app: web.Application) -> AsyncIterator[str]:
    runner = web.AppRunner(app, handler_cancellation=True, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0, backlog=1024).start()
    yield f"http://127.0.0.1:{runner.addresses[0][1]}"
    await runner.cleanup()


@asynccontextmanager
async def aiohttp_app(_: int) -> AsyncIterator[str]:
    async with served(runpy.run_path(str(EXAMPLES / "webapp_aiohttp.py"))["make_app"]()) as url:
        yield url


@asynccontextmanager
async def memory_app(size: int) -> AsyncIterator[str]:
    body, app = picture(size), web.Application()

    async def draw(_: web.Request) -> web.Response:
        return web.Response(body=body, content_type="image/png")

    app.router.add_get("/draw", draw)
    async with served(app) as url:
        yield url


APPS = {"fastapi": fastapi_app, "aiohttp.web": aiohttp_app, "aiohttp.web, from memory": memory_app}


async def visit(url: str, visitors: int, size: int) -> None:
    """All *visitors* at once, in a process of their own, when a line arrives; prints the seconds that it took."""
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as session:

        async def one(number: int) -> None:
            async with session.get(f"{url}/draw", params={"prompt": f"fox {number}"}) as response:
                if response.status != 200 or len(await response.read()) != size:
                    raise SystemExit(f"visitor {number} got {response.status}")

        await one(-1)
        print("ready", flush=True)
        await asyncio.to_thread(sys.stdin.readline)
        started = time.perf_counter()
        await asyncio.gather(*(one(number) for number in range(visitors)))
        print(time.perf_counter() - started, flush=True)


async def measure(app: Callable, visitors: int, size: int) -> dict[str, float]:
    async with app(size) as url:
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, __file__, "--visit", url, str(visitors), str(size)),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
        )
        assert process.stdin is not None
        assert process.stdout is not None
        await process.stdout.readline()
        ticker = Ticker()
        process.stdin.write(b"\n")
        seconds = float(await process.stdout.readline() or "nan")
        ticker.stop()
        if await process.wait():
            raise SystemExit("a visitor was turned away")
    return {"images_per_s": visitors / seconds, "stall_ms": ticker.worst_s * 1e3}


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--json", action="store_true", help="print one JSON document")
    parser.add_argument("--visitors", type=int, default=200)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--sizes", nargs="+", choices=SIZES, default=["1K", "64K", "1.5M"])
    parser.add_argument("--visit", nargs=3, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.visit:
        url, visitors, size = options.visit
        asyncio.run(visit(url, int(visitors), int(size)))
        return
    rows: list[dict[str, object]] = []
    ngi.AsyncClient = partial(ngi.AsyncClient, requests_per_second=None, max_connections=options.visitors)  # type: ignore[misc]
    with stub(sorted({KIB, *(SIZES[name] for name in options.sizes)})) as (url, _):
        os.environ.update(NANOGPT_API_KEY="key", NANOGPT_BASE_URL=url)
        for name in options.sizes:
            os.environ["IMAGE_MODEL"] = f"bench-{SIZES[name]}"
            found: dict[str, list[dict[str, float]]] = {app: [] for app in APPS}
            for _ in range(options.rounds):
                for app, runs in found.items():
                    runs.append(asyncio.run(measure(APPS[app], options.visitors, SIZES[name])))
            for app, runs in found.items():
                medians = {key: round(statistics.median(run[key] for run in runs), 1) for key in runs[0]}
                rows.append({"app": app, "size": name, **medians})
    if options.json:
        print(json.dumps(rows))
        return
    print(f"{options.visitors} visitors at once, {options.rounds} rounds")
    for row in rows:
        print(
            f"{row['app']:<26}{row['size']:>6}{row['images_per_s']:>9} images/s{row['stall_ms']:>9} ms worst stall"
        )


if __name__ == "__main__":
    main()
