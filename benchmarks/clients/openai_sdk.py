"""openai-python: with its default backend, with aiohttp, and with a caller that decodes faster or keeps images in memory."""

from __future__ import annotations

import base64
import contextlib
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager
from pathlib import Path

import openai
import pybase64
from harness import Keep, Run, fan_out


def sdk(
    decode: Callable[[str], bytes], *, aiohttp_backend: bool = False, memory: bool = False
) -> Callable[[str, Path, Keep], AbstractAsyncContextManager[Run]]:
    @contextlib.asynccontextmanager
    async def opened(url: str, directory: Path, keep: Keep) -> AsyncIterator[Run]:
        http_client = openai.DefaultAioHttpClient() if aiohttp_backend else None
        async with openai.AsyncOpenAI(api_key="key", base_url=f"{url}/v1", http_client=http_client) as client:

            async def call(model: str, number: int) -> None:
                answer = await client.images.generate(prompt="a red fox", model=model)
                assert answer.data is not None
                text = answer.data[0].b64_json
                assert text is not None
                if memory:
                    keep(decode(text))
                else:
                    (directory / f"{number:06}.png").write_bytes(decode(text))

            yield fan_out(call)

    return opened


def _faster(text: str) -> bytes:
    return pybase64.b64decode(text, validate=True)


CLIENTS = {
    "openai": sdk(base64.b64decode),
    "openai-memory": sdk(base64.b64decode, memory=True),
    "openai-pybase64": sdk(_faster),
    "openai-pybase64-memory": sdk(_faster, memory=True),
    "openai-aiohttp": sdk(base64.b64decode, aiohttp_backend=True),
}
