"""aiohttp and the standard json and base64, as one writes it by hand."""

from __future__ import annotations

import base64
import contextlib
from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
from harness import Keep, Run, fan_out


@contextlib.asynccontextmanager
async def opened(url: str, directory: Path, keep: Keep) -> AsyncIterator[Run]:
    del keep
    async with aiohttp.ClientSession() as session:

        async def call(model: str, number: int) -> None:
            body = {"model": model, "prompt": "a red fox"}
            async with session.post(f"{url}/v1/images/generations", json=body) as response:
                response.raise_for_status()
                answer = await response.json()
            data = base64.b64decode(answer["data"][0]["b64_json"])
            (directory / f"{number:06}.png").write_bytes(data)

        yield fan_out(call)


CLIENTS = {"aiohttp-json": opened}
