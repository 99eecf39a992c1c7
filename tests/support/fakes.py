"""Stand-ins that several tests share: time, a transport that follows a script, and a client of a sandbox."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager

import attrs
from multidict import CIMultiDict

from nanogpt_images import AsyncClient, HttpRequest, HttpResponse, RetryPolicy
from nanogpt_images.sandbox import Fault, Sandbox

PNG = bytes.fromhex(
    "89504e470d0a1a0a0000000d49484452000000010000000108060000001f15c489"
    "0000000d49444154789c6360606060000000050001a5f645400000000049454e44ae426082"
)
"""One pixel."""


def unmarked(name: str) -> str:
    """A file's name, or a stem, in a batch's directory without the mark of its request: `fox-0` of `fox-0-3f9a12c4`."""
    plain, marks = re.subn(r"-[0-9a-f]{8}(?=(?:_\d+)?(?:\.\w+)?$)", "", name)
    assert marks == 1, name
    return plain


class Clock:
    """Time that passes only when somebody sleeps, and how long they did."""

    def __init__(self) -> None:
        self.now = 0.0
        self.slept: list[float] = []

    def __call__(self) -> float:
        return self.now

    async def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.now += seconds
        await asyncio.sleep(0)


@attrs.frozen
class Reply:
    """
    An answer in pieces; after them the body ends, or *breaks* with an error.

    An awaitable function as a piece is awaited instead of sent.
    """

    status: int = 200
    body: bytes | Sequence[bytes | Callable[[], Awaitable[object]]] = b"{}"
    headers: Mapping[str, str] = attrs.field(factory=dict, converter=CIMultiDict)
    breaks: Exception | None = None

    async def chunks(self) -> AsyncIterator[bytes]:
        for piece in [self.body] if isinstance(self.body, bytes) else self.body:
            if callable(piece):
                await piece()
            else:
                yield piece
        if self.breaks is not None:
            raise self.breaks


class ScriptedTransport:
    """Answers requests in the order of its script and raises exceptions in it; if *silent* it reports no body."""

    def __init__(self, *script: Reply | Exception) -> None:
        self.script = list(script)
        self.requests: list[HttpRequest] = []
        self.open = 0
        self.closed = False
        self.silent = False

    @asynccontextmanager
    async def send(self, request: HttpRequest) -> AsyncIterator[HttpResponse]:
        self.requests.append(request)
        step = self.script.pop(0)
        if isinstance(step, Exception):
            raise step
        if not self.silent:
            request.begin_body()
        self.open += 1
        try:
            yield step
        finally:
            self.open -= 1

    async def aclose(self) -> None:
        self.closed = True


@asynccontextmanager
async def connected(
    *faults: Fault, sandbox: Mapping[str, object] | None = None, **options: object
) -> AsyncIterator[tuple[AsyncClient, Sandbox]]:
    """A client and the sandbox that it talks to; *options* are the client's. Retries do not wait."""
    stand_in = Sandbox(**{"requests_per_second": None, "faults": faults, **(sandbox or {})})
    options = {"requests_per_second": None, "timeout_s": 20, "retry": QUICK, **options}
    async with stand_in, AsyncClient(stand_in.api_key, stand_in.url, **options) as client:
        yield client, stand_in


QUICK = RetryPolicy(initial_delay_s=0)
