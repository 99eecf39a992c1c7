"""
A FastAPI application that makes images: one client, deadlines, visitors who leave, events for the page.

    pip install nanogpt_images fastapi uvicorn
    NANOGPT_API_KEY=… uvicorn webapp_fastapi:app

Why it is as it is: docs/web-apps.md.
"""

from __future__ import annotations

import asyncio
import json
import logging
import os
import uuid
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Annotated, Any

from fastapi import FastAPI, Header, HTTPException, Request
from fastapi.responses import FileResponse, JSONResponse, Response, StreamingResponse

import nanogpt_images as ngi

MODEL = os.environ.get("IMAGE_MODEL", "gpt-image-2")
OUT = Path(os.environ.get("IMAGE_DIR", "images"))
DEADLINE_S = 120.0

log = logging.getLogger("webapp")


class Job:
    """A batch that runs whoever is watching, and what it has told so far."""

    def __init__(self, batch: ngi.Batch) -> None:
        self._lines: list[str] = []
        self._changed = asyncio.Event()
        self._batch = batch
        self.task = asyncio.create_task(self._work())
        self.task.add_done_callback(lambda _: self._wake())

    async def _work(self) -> None:
        async with self._batch as run:
            async for event in run:
                names = [image.path.name for image in event.images if image.path is not None]
                self._lines.append(json.dumps({"key": event.key, "state": event.state.value, "files": names}))
                self._wake()

    def _wake(self) -> None:
        self._changed.set()
        self._changed = asyncio.Event()

    def drain(self) -> None:
        """Send nothing more; the same rows into the same directory go on from there."""
        self._batch.drain()

    async def follow(self, after: int) -> AsyncIterator[str]:
        """Server-sent events from the one after number *after*, to the end of the batch."""
        while True:
            while after < len(self._lines):
                after += 1
                yield f"id: {after}\ndata: {self._lines[after - 1]}\n\n"
            if self.task.done():
                yield f"event: end\ndata: {json.dumps(self._batch.report.to_json())}\n\n"
                return
            await self._changed.wait()


# A real application keeps these two in its database.
orders: dict[str, asyncio.Task[ngi.GenerationResult]] = {}
jobs: dict[str, Job] = {}


def note_lost_money(event: ngi.ClientEvent) -> None:
    """Somebody should look at these: they may be on the bill, and no one has the image."""
    if isinstance(event, ngi.AttemptEnded) and event.charge is ngi.Charge.UNKNOWN:
        log.warning("may have been charged: %s, request %s, %r", event.model, event.request_id, event.error)


@asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncIterator[None]:
    """One client for the application; what is being paid for ends before it closes."""
    async with ngi.AsyncClient(on_event=note_lost_money) as client:
        app.state.client = client
        yield
        for job in jobs.values():
            job.drain()
        await asyncio.gather(*orders.values(), *(job.task for job in jobs.values()), return_exceptions=True)


app = FastAPI(lifespan=lifespan)


@app.exception_handler(ngi.NanoGPTError)
async def refuse(_: Request, error: ngi.NanoGPTError) -> JSONResponse:
    """The visitor's mistake is a 400, anything else a 502; the texts hold no secret."""
    status = 400 if isinstance(error, ngi.ParameterError | ngi.BadRequestError) else 502
    return JSONResponse({"error": str(error), "charge": error.charge.value}, status)


async def while_wanted(
    request: Request, work: Coroutine[Any, Any, ngi.GenerationResult]
) -> ngi.GenerationResult:
    """The outcome of *work*, which is cancelled when the visitor leaves or the deadline passes."""
    task, gone = asyncio.create_task(work), asyncio.create_task(_left(request))
    try:
        await asyncio.wait({task, gone}, timeout=DEADLINE_S, return_when=asyncio.FIRST_COMPLETED)
        if not task.done():
            raise HTTPException(504, "That took too long.")
        return task.result()
    finally:
        task.cancel()
        gone.cancel()
        await asyncio.gather(task, gone, return_exceptions=True)


async def _left(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass


@app.get("/draw")
async def draw(request: Request, prompt: str) -> Response:
    """Abandon: the image is for this visitor alone, and a request that nobody waits for is broken off."""
    client: ngi.AsyncClient = request.app.state.client
    result = await while_wanted(request, client.images.generate(prompt, model=MODEL))
    image = result.images[0]
    return Response(image.data, media_type=image.media_type)


@app.post("/orders", status_code=202)
async def order(request: Request) -> dict[str, str]:
    """Finish and store: what is ordered is made and kept, whether the visitor waits or not."""
    prompt, name = str((await request.json())["prompt"]), uuid.uuid4().hex
    client: ngi.AsyncClient = request.app.state.client
    work = client.images.generate_to(OUT, prompt, model=MODEL, name=name, timeout_s=DEADLINE_S)
    orders[name] = asyncio.create_task(work)
    return {"order": name}


@app.get("/orders/{name}")
async def ordered(name: str) -> Response:
    """202 while it is being made, then the image."""
    if name not in orders:
        raise HTTPException(404)
    if not orders[name].done():
        return Response(status_code=202, headers={"Retry-After": "1"})
    image = orders[name].result().images[0]
    assert image.path is not None
    return FileResponse(image.path, media_type=image.media_type)


@app.post("/batches", status_code=202)
async def batch(request: Request) -> dict[str, str]:
    """Start a batch in a directory of its own."""
    rows = [ngi.BatchRow(str(prompt), MODEL) for prompt in (await request.json())["prompts"]]
    name = uuid.uuid4().hex
    client: ngi.AsyncClient = request.app.state.client
    jobs[name] = Job(client.batch(rows, out=OUT / name, budget_usd=5))
    return {"batch": name}


@app.get("/batches/{name}/events")
async def events(name: str, last_event_id: Annotated[int, Header()] = 0) -> StreamingResponse:
    """The batch as server-sent events; a page that comes back goes on where it was."""
    if name not in jobs:
        raise HTTPException(404)
    return StreamingResponse(jobs[name].follow(last_event_id), media_type="text/event-stream")
