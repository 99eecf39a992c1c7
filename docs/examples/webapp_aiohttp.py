"""
An aiohttp.web application that makes images: one client, deadlines, visitors who leave, events for the page.

    pip install .      # in a checkout of nanogpt_images
    NANOGPT_API_KEY=… python webapp_aiohttp.py

docs/web-apps.md explains why it is written this way.
"""

from __future__ import annotations

import asyncio
import json
import logging
import os
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from pathlib import Path

from aiohttp import web

import nanogpt_images as ngi
from nanogpt_images.integrations.web import EVENT_STREAM_HEADERS, with_keep_alive

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


CLIENT = web.AppKey("CLIENT", ngi.AsyncClient)
# A real application keeps these two in its database.
ORDERS = web.AppKey("ORDERS", dict[str, asyncio.Task[ngi.GenerationResult]])
JOBS = web.AppKey("JOBS", dict[str, Job])


def note_lost_money(event: ngi.ClientEvent) -> None:
    """Log what may be on the bill without anyone having the image."""
    if isinstance(event, ngi.AttemptEnded) and event.charge is ngi.Charge.UNKNOWN:
        log.warning("may have been charged: %s, request %s, %r", event.model, event.request_id, event.error)


async def lifespan(app: web.Application) -> AsyncIterator[None]:
    """Open one client for the application; what is being paid for ends before it closes."""
    orders, jobs = app[ORDERS], app[JOBS] = {}, {}
    async with ngi.AsyncClient(on_event=note_lost_money) as app[CLIENT]:
        yield
        for job in jobs.values():
            job.drain()
        await asyncio.gather(*orders.values(), *(job.task for job in jobs.values()), return_exceptions=True)


@web.middleware
async def refuse(
    request: web.Request, handler: Callable[[web.Request], Awaitable[web.StreamResponse]]
) -> web.StreamResponse:
    """Answer 400 to the visitor's mistake and 502 to anything else; the texts contain no secret."""
    try:
        return await handler(request)
    except ngi.NanoGPTError as error:
        status = 400 if isinstance(error, ngi.ParameterError | ngi.BadRequestError) else 502
        return web.json_response({"error": str(error), "charge": error.charge.value}, status=status)


async def fields_of(request: web.Request) -> Mapping[str, object]:
    """Read the request's JSON object, or answer 422."""
    try:
        fields: object = await request.json()
    except ValueError:
        fields = None
    if not isinstance(fields, dict):
        raise web.HTTPUnprocessableEntity(text="The body must be a JSON object.")
    return fields


def prompt_of(fields: Mapping[str, object]) -> str:
    """Return the prompt of *fields*, or answer 422."""
    prompt = fields.get("prompt")
    if not isinstance(prompt, str) or not 1 <= len(prompt) <= 4000:
        raise web.HTTPUnprocessableEntity(text="prompt must be a text of 1 to 4000 characters.")
    return prompt


async def draw(request: web.Request) -> web.Response:
    """Abandon: the image is for this visitor alone, and its request is cancelled when the visitor leaves."""
    try:
        # With handler_cancellation (see below) a visitor who leaves cancels this handler.
        async with asyncio.timeout(DEADLINE_S):
            result = await request.app[CLIENT].images.generate(prompt_of(request.query), model=MODEL)
    except TimeoutError:
        raise web.HTTPGatewayTimeout(text="That took too long.") from None
    image = result.images[0]
    return web.Response(body=image.data, content_type=image.media_type or "application/octet-stream")


async def order(request: web.Request) -> web.Response:
    """Finish and store: what is ordered is made and kept, whether the visitor waits or not."""
    prompt, name = prompt_of(await fields_of(request)), uuid.uuid4().hex
    work = request.app[CLIENT].images.generate_to(OUT, prompt, model=MODEL, name=name, timeout_s=DEADLINE_S)
    request.app[ORDERS][name] = asyncio.create_task(work)
    return web.json_response({"order": name}, status=202)


async def ordered(request: web.Request) -> web.StreamResponse:
    """Answer 202 while it is being made, then the image."""
    task = request.app[ORDERS].get(request.match_info["name"])
    if task is None:
        raise web.HTTPNotFound
    if not task.done():
        return web.Response(status=202, headers={"Retry-After": "1"})
    image = task.result().images[0]
    assert image.path is not None
    return web.FileResponse(image.path)


async def batch(request: web.Request) -> web.Response:
    """Start a batch in a directory of its own."""
    prompts = (await fields_of(request)).get("prompts")
    if not isinstance(prompts, list) or not prompts:
        raise web.HTTPUnprocessableEntity(text="prompts must be a list of texts.")
    rows = [ngi.BatchRow(prompt_of({"prompt": prompt}), MODEL) for prompt in prompts]
    name = uuid.uuid4().hex
    request.app[JOBS][name] = Job(request.app[CLIENT].batch(rows, out=OUT / name, budget_usd=5))
    return web.json_response({"batch": name}, status=202)


async def events(request: web.Request) -> web.StreamResponse:
    """The batch as server-sent events; a page that comes back continues where it was."""
    job = request.app[JOBS].get(request.match_info["name"])
    if job is None:
        raise web.HTTPNotFound
    after = request.headers.get("Last-Event-ID", "0")
    response = web.StreamResponse(headers=EVENT_STREAM_HEADERS)
    await response.prepare(request)
    async for piece in with_keep_alive(job.follow(int(after) if after.isdecimal() else 0)):
        await response.write(piece.encode())
    return response


def make_app() -> web.Application:
    """The application."""
    app = web.Application(middlewares=[refuse])
    app.cleanup_ctx.append(lifespan)
    app.router.add_get("/draw", draw)
    app.router.add_post("/orders", order)
    app.router.add_get("/orders/{name}", ordered)
    app.router.add_post("/batches", batch)
    app.router.add_get("/batches/{name}/events", events)
    return app


if __name__ == "__main__":
    web.run_app(make_app(), handler_cancellation=True)
