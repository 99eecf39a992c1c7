"""Clients with a ledger, and the sandbox that they pay to."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack
from pathlib import Path

import pytest
from fakes import QUICK

import nanogpt_images as ngi
from nanogpt_images.sandbox import Sandbox


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """The ledger's file, not made yet."""
    return tmp_path / "paid.db"


@pytest.fixture
async def sandbox() -> AsyncIterator[Sandbox]:
    async with Sandbox(requests_per_second=None) as running:
        yield running


OpenClient = Callable[..., ngi.AsyncClient]


@pytest.fixture
async def open_client(sandbox: Sandbox, file: Path) -> AsyncIterator[OpenClient]:
    """Makes clients of one ledger, as processes of one application would."""
    async with AsyncExitStack() as stack:
        made: list[ngi.AsyncClient] = []

        def make(**options: object) -> ngi.AsyncClient:
            options = {
                "requests_per_second": None,
                "retry": QUICK,
                "ledger": file,
                "timeout_s": 20,
                **options,
            }
            made.append(ngi.AsyncClient(sandbox.api_key, sandbox.url, **options))
            return made[-1]

        yield make
        for client in made:
            stack.push_async_callback(client.aclose)


@pytest.fixture
def client(open_client: OpenClient) -> ngi.AsyncClient:
    return open_client()
