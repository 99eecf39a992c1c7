"""
A FastAPI application that makes images: one client, deadlines, visitors who leave, events for the page.

    pip install . fastapi uvicorn      # in a checkout of nanogpt_images
    NANOGPT_API_KEY=… uvicorn webapp_fastapi:app

docs/web-apps.md explains why it is written this way.
"""

from __future__ import annotations

import asyncio
import json
import logging
import os
import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Annotated

from fastapi import FastAPI, Header, HTTPException, Query, Request
from fastapi.responses import FileResponse, JSONResponse, Response, StreamingResponse
from pydantic import BaseModel, Field

import nanogpt_images as ngi
from nanogpt_images.integrations.web import EVENT_STREAM_HEADERS, while_connected, with_keep_alive

MODEL = os.environ.get("IMAGE_MODEL", "gpt-image-2")
OUT = Path(os.environ.get("IMAGE_DIR", "images"))
DEADLINE_S = 120.0

log = logging.getLogger("webapp")


class Job:
    """A batch that runs whether or not a page follows it, and its events so far."""

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
        """Send nothing more; the same rows into the same directory resume it."""
        self._batch.drain()

    async def follow(self, after: int) -> AsyncIterator[str]:
        """Server-sent events from the one after number *after*, to the end of the batch."""
        while True:
            while after < len(self._lines):
                after += 1
                yield f"id: {after}\ndata: {self._lines[after - 1]}\n\n"
            if self.task.done():
                yield f"event: end\ndata: {json.dumps(self._batch.report.to_dict())}\n\n"
                return
            await self._changed.wait()


Prompt = Annotated[str, Field(min_length=1, max_length=4000)]
"""FastAPI answers 422 to anything else, before a request is made."""


class Order(BaseModel):
    """What a visitor orders."""

    prompt: Prompt


class Ordered(BaseModel):
    """Where to ask for it."""

    order: str


class Prompts(BaseModel):
    """What a visitor wants a batch of."""

    prompts: Annotated[list[Prompt], Field(min_length=1, max_length=1000)]


class Started(BaseModel):
    """Where to follow it."""

    batch: str


# A real application keeps these two in its database.
orders: dict[str, asyncio.Task[ngi.GenerationResult]] = {}
jobs: dict[str, Job] = {}


def note_lost_money(event: ngi.ClientEvent) -> None:
    """Log what may be on the bill without anyone having the image."""
    if isinstance(event, ngi.AttemptEnded) and event.charge is ngi.Charge.UNKNOWN:
        log.warning("may have been charged: %s, request %s, %r", event.model, event.request_id, event.error)


@asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncIterator[None]:
    """Open one client for the application; what is being paid for ends before it closes."""
    async with ngi.AsyncClient(on_event=note_lost_money) as client:
        app.state.client = client
        yield
        for job in jobs.values():
            job.drain()
        await asyncio.gather(*orders.values(), *(job.task for job in jobs.values()), return_exceptions=True)


app = FastAPI(lifespan=lifespan)


@app.exception_handler(ngi.NanoGPTError)
async def refuse(_: Request, error: ngi.NanoGPTError) -> JSONResponse:
    """Answer 400 to the visitor's mistake and 502 to anything else; the texts contain no secret."""
    status = 400 if isinstance(error, ngi.ParameterError | ngi.BadRequestError) else 502
    return JSONResponse({"error": str(error), "charge": error.charge.value}, status)


@app.get("/draw")
async def draw(request: Request, prompt: Annotated[str, Query(min_length=1, max_length=4000)]) -> Response:
    """Abandon: the image is for this visitor alone, and its request is cancelled when the visitor leaves."""
    client: ngi.AsyncClient = request.app.state.client
    try:
        work = client.images.generate(prompt, model=MODEL)
        result = await while_connected(request.receive, work, timeout_s=DEADLINE_S)
    except TimeoutError:
        raise HTTPException(504, "That took too long.") from None
    except ConnectionAbortedError:
        return Response(status_code=499)  # no one reads it
    image = result.images[0]
    return Response(image.data, media_type=image.media_type)


@app.post("/orders", status_code=202)
async def order(request: Request, wanted: Order) -> Ordered:
    """Finish and store: what is ordered is made and kept, whether the visitor waits or not."""
    name = uuid.uuid4().hex
    client: ngi.AsyncClient = request.app.state.client
    work = client.images.generate_to(OUT, wanted.prompt, model=MODEL, name=name, timeout_s=DEADLINE_S)
    orders[name] = asyncio.create_task(work)
    return Ordered(order=name)


@app.get("/orders/{name}")
async def ordered(name: str) -> Response:
    """Answer 202 while it is being made, then the image."""
    if name not in orders:
        raise HTTPException(404)
    if not orders[name].done():
        return Response(status_code=202, headers={"Retry-After": "1"})
    image = orders[name].result().images[0]
    assert image.path is not None
    return FileResponse(image.path, media_type=image.media_type)


@app.post("/batches", status_code=202)
async def batch(request: Request, wanted: Prompts) -> Started:
    """Start a batch in a directory of its own."""
    rows = [ngi.BatchRow(prompt, MODEL) for prompt in wanted.prompts]
    name = uuid.uuid4().hex
    client: ngi.AsyncClient = request.app.state.client
    jobs[name] = Job(client.batch(rows, out=OUT / name, budget_usd=5))
    return Started(batch=name)


@app.get("/batches/{name}/events")
async def events(name: str, last_event_id: Annotated[int, Header()] = 0) -> StreamingResponse:
    """The batch as server-sent events; a page that comes back continues where it was."""
    if name not in jobs:
        raise HTTPException(404)
    return StreamingResponse(
        with_keep_alive(jobs[name].follow(last_event_id)), headers=dict(EVENT_STREAM_HEADERS)
    )
