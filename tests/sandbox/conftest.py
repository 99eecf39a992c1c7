"""A sandbox on a real socket and a plain HTTP client to question it with."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager

import aiohttp
import attrs
import pytest

from nanogpt_images.sandbox import Sandbox


@attrs.frozen
class Reply:
    """An answer as it came over the wire."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def json(self) -> dict:
        """The body as JSON."""
        return json.loads(self.body)

    @property
    def code(self) -> object:
        """The error code, wherever this body has it."""
        error = self.json.get("error")
        return error.get("code") if isinstance(error, dict) else self.json.get("code", error)


async def until(condition: Callable[[], object]) -> None:
    """Let other tasks run until *condition* holds; half a minute at most."""
    async with asyncio.timeout(30):
        while not condition():
            await asyncio.sleep(0)


@attrs.frozen
class Api:
    """Requests to one sandbox."""

    sandbox: Sandbox
    session: aiohttp.ClientSession

    async def send(self, method: str, path: str, **keywords) -> Reply:
        """Any request; *path* may be a whole URL."""
        url = path if path.startswith("http") else self.sandbox.url + path
        async with self.session.request(method, url, allow_redirects=False, **keywords) as response:
            return Reply(response.status, response.headers, await response.read())

    async def until_posted(self) -> None:
        """Return when a generation has arrived."""
        await until(lambda: self.sandbox.ledger.posts)

    async def until_idle(self) -> None:
        """Wait until a generation has arrived and none is at work."""
        await until(lambda: self.sandbox.ledger.posts and not self.sandbox.ledger.in_flight)

    async def until_billed(self) -> None:
        """Wait until a generation is billed."""
        await until(lambda: self.sandbox.ledger.billed)

    async def get(self, path: str, **keywords) -> Reply:
        """A GET."""
        return await self.send("GET", path, **keywords)

    async def post(self, path: str, **keywords) -> Reply:
        """A POST with the key."""
        keywords.setdefault("headers", {"Authorization": f"Bearer {self.sandbox.api_key}"})
        return await self.send("POST", path, **keywords)

    async def images(
        self, prompt: str | None = "a red fox", model: str | None = "tiny-and-fast", **fields
    ) -> Reply:
        """A generation on the normalized route; None leaves a field out."""
        return await self.post("/api/v1/images", json=_without_none(prompt=prompt, model=model, **fields))

    async def openai(
        self, prompt: str | None = "a red fox", model: str | None = "tiny-and-fast", **fields
    ) -> Reply:
        """A generation on the OpenAI-compatible route; None leaves a field out."""
        return await self.post(
            "/v1/images/generations", json=_without_none(prompt=prompt, model=model, **fields)
        )


def _without_none(**fields) -> dict:
    return {name: value for name, value in fields.items() if value is not None}


OpenApi = Callable[..., AbstractAsyncContextManager[Api]]


@pytest.fixture
def open_api() -> OpenApi:
    """Opens a sandbox with the options given, without a rate limit unless one is asked for."""

    @asynccontextmanager
    async def opened(**options) -> AsyncIterator[Api]:
        options.setdefault("requests_per_second", None)
        timeout = aiohttp.ClientTimeout(total=20)
        async with Sandbox(**options) as sandbox, aiohttp.ClientSession(timeout=timeout) as session:
            yield Api(sandbox, session)

    return opened
