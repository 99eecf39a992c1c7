"""
Claim: one `generate()` sends one POST whatever happens to it, unless it certainly was not charged.

    python benchmarks/posts_per_call.py [--quick] [--json]

A server on loopback counts POSTs and breaks each in one way; the official `openai` package meets the same server
with its default settings. Exits with 1 when `nanogpt_images` repeats a request that may have been charged.
`--quick` shortens the back-off of `nanogpt_images`, not its number of attempts.
"""

from __future__ import annotations

import argparse
import asyncio
import base64
import contextlib
import json
import socket
import struct
import sys
from collections.abc import AsyncGenerator, Awaitable, Callable

import attrs
import openai

import nanogpt_images as ngi

PNG = base64.b64decode(
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
)
# More than the socket buffers hold, so that "within the body" is what it says.
PROMPT = "a red fox " * 300_000
TIMEOUT_S = 4.0
PATIENT_S = 60.0


@attrs.frozen(kw_only=True)
class Case:
    """
    One way to break a POST.

    Attributes:
        name: For the table.
        may_be_charged: Whether the service may have done the work.
        read: Bytes of the request body that the server takes; None takes all, 0 none.
        answer: What it writes then.
        reset: Break the connection then; otherwise close it.
        stall: Keep the connection open and say nothing.
        warm: Answer a first request on the same connection well.
        listens: Whether there is a server at all.
    """

    name: str
    may_be_charged: bool = True
    read: int | None = None
    answer: bytes = b""
    reset: bool = True
    stall: bool = False
    warm: bool = False
    listens: bool = True


def answer_of(status: str, body: dict[str, object]) -> bytes:
    """A whole HTTP answer."""
    text = json.dumps(body).encode()
    return (
        f"HTTP/1.1 {status}\r\nContent-Type: application/json\r\nContent-Length: {len(text)}\r\n\r\n".encode()
        + text
    )


SUCCESS = answer_of("200 OK", {"created": 1, "data": [{"b64_json": base64.b64encode(PNG).decode()}]})


def _failure(status: str, *, may_be_charged: bool = True) -> Case:
    answer = answer_of(status, {"error": {"message": status, "code": "failed"}})
    return Case(name=status, answer=answer, reset=False, may_be_charged=may_be_charged)


CASES = (
    Case(name="connection refused", listens=False, may_be_charged=False),
    Case(name="dropped before the request body", read=0),
    Case(name="dropped within the request body", read=100_000),
    Case(name="dropped after the request body"),
    Case(name="dropped after it, on a pooled connection", warm=True),
    Case(name="dropped within the response head", answer=SUCCESS[:20]),
    Case(name="dropped within the response body", answer=SUCCESS[:-20]),
    Case(name="dropped after the response", answer=SUCCESS, reset=False),
    Case(name=f"no answer within {TIMEOUT_S:g} s", stall=True),
    _failure("429 Too Many Requests", may_be_charged=False),
    _failure("500 Internal Server Error"),
    _failure("502 Bad Gateway"),
    _failure("503 Service Unavailable", may_be_charged=False),
    _failure("504 Gateway Timeout"),
)


class Server:
    """Serves one case, and counts the POSTs that it met."""

    def __init__(self, case: Case) -> None:
        self.posts = 0
        self._case = case
        self._warm = case.warm
        self._serving = set[asyncio.Task[None] | None]()

    @contextlib.asynccontextmanager
    async def listening(self) -> AsyncGenerator[str]:
        """The URL; nobody listens there in a case without a server."""
        server = await asyncio.start_server(self._serve, "127.0.0.1", 0, limit=2**20)
        url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        if not self._case.listens:
            server.close()
        try:
            yield url
        finally:
            server.close()
            await asyncio.gather(*filter(None, self._serving))

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._serving.add(asyncio.current_task())
        with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
            if self._warm:
                self._warm = False
                await self._read(reader, None)
                self.posts = 0
                writer.write(SUCCESS)
            length = await self._read(reader, self._case.read)
            if self._case.stall:
                await reader.read(length + 1)
            writer.write(self._case.answer)
            await writer.drain()
            if self._case.reset:
                # A moment for what was written to arrive: a reset overtakes it.
                await asyncio.sleep(0.05 if self._case.answer else 0)
                _reset(writer)
        writer.close()

    async def _read(self, reader: asyncio.StreamReader, body_bytes: int | None) -> int:
        head = (await reader.readuntil(b"\r\n\r\n")).lower()
        self.posts += 1
        length = int(head.partition(b"content-length:")[2].split(b"\r\n")[0])
        await reader.readexactly(length if body_bytes is None else min(body_bytes, length))
        return length


def _reset(writer: asyncio.StreamWriter) -> None:
    connection: socket.socket = writer.get_extra_info("socket")
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()


Call = Callable[[], Awaitable[object]]


@contextlib.asynccontextmanager
async def ours(url: str, timeout_s: float, quick: bool) -> AsyncGenerator[Call]:
    """`nanogpt_images` with its default policy."""
    retry = ngi.RetryPolicy(initial_delay_s=0.01) if quick else ngi.RetryPolicy()
    async with ngi.AsyncClient(
        "sk-nano-key", url, timeout_s=timeout_s, retry=retry, requests_per_second=None
    ) as client:
        yield lambda: client.images.generate(PROMPT, model="model", validate=False)


@contextlib.asynccontextmanager
async def official(url: str, timeout_s: float, quick: bool) -> AsyncGenerator[Call]:
    """The `openai` package; only its time limit is not the default, which is ten minutes."""
    del quick
    async with openai.AsyncOpenAI(api_key="key", base_url=f"{url}/v1", timeout=timeout_s) as client:
        yield lambda: client.images.generate(prompt=PROMPT, model="model")


CLIENTS = {"nanogpt_images": ours, "openai": official}


@attrs.frozen(kw_only=True)
class Count:
    """What one call came to."""

    posts: int
    outcome: str


async def count(case: Case, name: str, *, quick: bool) -> Count:
    """The POSTs of one call by the client *name*."""
    server = Server(case)
    timeout_s = TIMEOUT_S if case.stall else PATIENT_S
    async with server.listening() as url, CLIENTS[name](url, timeout_s, quick) as call:
        if case.warm:
            await call()
        try:
            await call()
        except (ngi.NanoGPTError, openai.OpenAIError) as error:
            charge = f" {error.charge.value}" if isinstance(error, ngi.NanoGPTError) else ""
            return Count(posts=server.posts, outcome=type(error).__name__ + charge)
    return Count(posts=server.posts, outcome="images")


async def measure(*, quick: bool) -> list[dict[str, object]]:
    """A record for each case."""
    pairs = [(case, name) for case in CASES for name in CLIENTS]
    counts = await asyncio.gather(*(count(case, name, quick=quick) for case, name in pairs))
    by_pair = dict(zip(pairs, counts, strict=True))
    return [
        {
            "case": case.name,
            "may_be_charged": case.may_be_charged,
            **{name: attrs.asdict(by_pair[case, name]) for name in CLIENTS},
        }
        for case in CASES
    ]


def repeated(records: list[dict[str, object]]) -> list[str]:
    """The cases in which `nanogpt_images` did not send exactly one POST, though it may have been charged."""
    return [
        str(record["case"])
        for record in records
        if record["may_be_charged"] and record["nanogpt_images"]["posts"] != 1  # type: ignore[index]
    ]


def table(records: list[dict[str, object]]) -> str:
    """The records as Markdown."""
    lines = ["| what happens to the POST | may be charged | nanogpt_images | openai |", "|---|---|---|---|"]
    for record in records:
        cells = [f"{record[name]['posts']} ({record[name]['outcome']})" for name in CLIENTS]  # type: ignore[index]
        charged = "yes" if record["may_be_charged"] else "no"
        lines.append(f"| {record['case']} | {charged} | {' | '.join(cells)} |")
    return "\n".join(lines)


def main() -> int:
    """Measure, print, and judge."""
    parser = argparse.ArgumentParser(description="POSTs per generate(), beside the openai package.")
    parser.add_argument("--quick", action="store_true", help="shorter back-off, same number of attempts")
    parser.add_argument("--json", action="store_true", help="print JSON")
    arguments = parser.parse_args()
    records = asyncio.run(measure(quick=arguments.quick))
    print(json.dumps(records, indent=1) if arguments.json else table(records))
    if broken := repeated(records):
        print(f"not sent exactly once: {', '.join(broken)}", file=sys.stderr)
    return bool(broken)


if __name__ == "__main__":
    sys.exit(main())
