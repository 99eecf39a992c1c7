"""Which service a journal is bound to, and what a batch does where it is another one."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, closing
from pathlib import Path

import attrs
import pytest
from fakes import QUICK, Reply, ScriptedTransport

from nanogpt_images import (
    AiohttpTransport,
    AsyncClient,
    Client,
    ConfigurationError,
    ConnectError,
    HttpRequest,
    HttpResponse,
    JournalError,
    RequestTimeoutError,
)
from nanogpt_images.batch.journal import Journal
from nanogpt_images.batch.journal.database.store import Store
from nanogpt_images.sandbox import Sandbox
from nanogpt_images.transport import identity as _service
from nanogpt_images.transport.identity import may_replace, service_at

ROWS = [{"prompt": f"fox {number}", "model": "tiny-and-fast"} for number in range(3)]
NAMED = b'{"name": "nanogpt_images.sandbox"}'


@attrs.frozen
class Gateway:
    """A service of this machine that is not the sandbox: all that it answers but the question who it is."""

    answer: Reply | Exception
    behind: AiohttpTransport = attrs.field(factory=AiohttpTransport)

    @asynccontextmanager
    async def send(self, request: HttpRequest) -> AsyncIterator[HttpResponse]:
        if not request.url.endswith("/_sandbox/identity"):
            async with self.behind.send(request) as response:
                yield response
        elif isinstance(self.answer, Exception):
            raise self.answer
        else:
            yield self.answer

    async def aclose(self) -> None:
        await self.behind.aclose()


NOT_FOUND = Reply(404, b'{"error": "not found"}')


@asynccontextmanager
async def of_sandbox(sandbox: Sandbox) -> AsyncIterator[AsyncClient]:
    async with AsyncClient(sandbox.api_key, sandbox.url, requests_per_second=None, retry=QUICK) as client:
        yield client


@asynccontextmanager
async def of_gateway(sandbox: Sandbox, answer: Reply | Exception = NOT_FOUND) -> AsyncIterator[AsyncClient]:
    """A client of *sandbox* that meets it as a gateway."""
    gateway = Gateway(answer)
    client = AsyncClient(
        sandbox.api_key, sandbox.url, requests_per_second=None, retry=QUICK, transport=gateway
    )
    try:
        async with client:
            yield client
    finally:
        await gateway.aclose()


async def bound(out: Path) -> str | None:
    async with await Journal.open(out, service=None, read_only=True) as journal:
        return await journal.service()


@pytest.mark.parametrize(
    ("url", "service"),
    [
        ("http://127.0.0.1:8080", "loopback:8080"),
        ("http://localhost:9/gateway", "loopback:9/gateway"),
        ("http://[::1]:9", "loopback:9"),
        ("http://localhost", "loopback:80"),
        ("https://localhost", "loopback:443"),
        ("https://nano-gpt.com", "https://nano-gpt.com"),
        ("https://gw.example/nano", "https://gw.example/nano"),
    ],
)
async def test_a_service_by_its_address(url: str, service: str) -> None:
    """Services of this machine differ by port and path, others by URL; only those of this machine are asked, once."""
    transport = ScriptedTransport(NOT_FOUND)
    assert await service_at(url, transport, headers={}) == service
    assert [request.url for request in transport.requests] == (
        [f"{url}/_sandbox/identity"] if service.startswith("loopback") else []
    )


async def test_the_question_goes_without_secrets() -> None:
    """Neither the key nor the caller's headers are sent to what may be anybody."""
    transport = ScriptedTransport(Reply(200, NAMED))
    headers = {"X-Gateway-Token": "secret"}
    async with AsyncClient(
        "sk-nano-key", "http://127.0.0.1:1", transport=transport, headers=headers
    ) as client:
        assert await client.service() == "sandbox"
    (request,) = transport.requests
    assert set(request.headers) == {"User-Agent", "Accept"}
    assert not request.paid


@pytest.mark.parametrize("prefix", ["", "/gateway"])
async def test_the_sandbox_says_who_it_is(prefix: str) -> None:
    """At any port, under any prefix, whichever key it wants."""
    async with (
        Sandbox(prefix=prefix, key="sk-nano-other-key") as sandbox,
        AsyncClient(None, sandbox.url) as client,
    ):
        assert await client.service() == "sandbox"


def test_the_blocking_client_asks_as_well() -> None:
    """`Client.service` is the same call."""
    with Sandbox.in_thread() as sandbox, Client(sandbox.api_key, sandbox.url) as client:
        assert client.service() == "sandbox"


STRANGE = [
    NOT_FOUND,
    Reply(200, b"{}"),
    Reply(200, b'{"name": "somebody"}'),
    Reply(200, b'["nanogpt_images.sandbox"]'),
    Reply(200, b"null"),
    Reply(200, b""),
    Reply(200, b"<html>"),
    Reply(200, b"\xff\xfe\x00"),
    Reply(200, b"[" * 4_000),
    Reply(200, [NAMED, b" " * 5_000]),
    Reply(200, NAMED[:-1], breaks=ConnectError("the answer broke off")),
    Reply(302, NAMED, headers={"Location": "http://127.0.0.1:2/_sandbox/identity"}),
    Reply(500, NAMED),
    ConnectError("nobody listens"),
    RequestTimeoutError("no answer"),
    OSError("of a caller's own transport"),
]


@pytest.mark.parametrize("answer", STRANGE, ids=str)
async def test_nonsense_stops_no_batch(tmp_path: Path, answer: Reply | Exception) -> None:
    """Whatever a gateway answers to a question that it does not know, its batch is made and goes on."""
    async with Sandbox() as sandbox:
        for expected in (3, 0):
            async with of_gateway(sandbox, answer) as client:
                report = await client.run_batch(ROWS, out=tmp_path)
            assert (report.ok, report.requests) == (True, expected)
        assert await bound(tmp_path) == sandbox.url.replace("http://127.0.0.1", "loopback")


async def test_a_service_that_does_not_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    """One that takes the question and keeps silent is given up; it is not asked again."""
    questions = 0
    left = asyncio.Event()

    async def keep_silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal questions
        questions += 1
        await reader.read()
        writer.close()
        left.set()

    monkeypatch.setattr(_service, "_TIMEOUT_S", 0.01)
    async with await asyncio.start_server(keep_silent, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        async with AsyncClient("sk-nano-key", f"http://127.0.0.1:{port}", retry=QUICK) as client:
            assert await client.service() == f"loopback:{port}"
        await left.wait()
    assert questions == 1


async def test_without_a_directory_nobody_is_asked() -> None:
    """A batch that keeps no journal needs no name of its service."""
    async with Sandbox() as sandbox, of_sandbox(sandbox) as client:
        asked: list[str] = []
        client.observe(lambda event: asked.append(getattr(event, "url", "")))
        assert (await client.run_batch(ROWS)).ok
        assert not [url for url in asked if "_sandbox" in url]


async def test_a_closed_client_is_not_taken_for_a_silent_service(tmp_path: Path) -> None:
    """What the caller did wrong is raised, and no journal is bound to it."""
    async with Sandbox() as sandbox:
        async with of_sandbox(sandbox) as client:
            batch = client.batch(ROWS, out=tmp_path / "out")
        with pytest.raises(ConfigurationError, match="closed"):
            await batch.__aenter__()
    assert not (tmp_path / "out").exists()


async def test_sandboxes_are_one_service(tmp_path: Path) -> None:
    """A batch goes on with a sandbox at another port."""
    async with Sandbox() as first, Sandbox() as second:
        assert first.url != second.url
        async with of_sandbox(first) as client:
            await client.run_batch(ROWS[:1], out=tmp_path)
        async with of_sandbox(second) as client:
            assert (await client.run_batch(ROWS, out=tmp_path)).requests == 2
        assert len(second.ledger.posts) == 2


@pytest.mark.parametrize("retried", [False, True])
@pytest.mark.parametrize("then", [of_sandbox, of_gateway])
async def test_another_service_at_another_port_is_refused(tmp_path: Path, then, retried: bool) -> None:
    """One line names both services, nothing is sent, and the first one goes on."""
    async with Sandbox() as first, Sandbox() as second:
        async with of_gateway(first) as client:
            await client.run_batch(ROWS[:1], out=tmp_path)
        async with then(second) as client:
            batch = client.retry_batch(tmp_path) if retried else client.batch(ROWS, out=tmp_path)
            now = await client.service()
            with pytest.raises(JournalError) as caught:
                await batch.__aenter__()
        before = await bound(tmp_path)
        assert before == first.url.replace("http://127.0.0.1", "loopback")
        assert f"was made with {before}, and this client talks to {now}. Nothing was sent." in str(
            caught.value
        )
        assert "\n" not in str(caught.value)
        assert second.ledger.posts == []
        async with of_gateway(first) as client:
            assert (await client.run_batch(ROWS, out=tmp_path)).requests == 2


async def test_a_batch_of_the_sandbox_is_not_gone_on_with_elsewhere(tmp_path: Path) -> None:
    """A gateway of this machine, which may cost money, is not the sandbox."""
    async with Sandbox() as sandbox:
        async with of_sandbox(sandbox) as client:
            await client.run_batch(ROWS[:1], out=tmp_path)
        async with of_gateway(sandbox) as client:
            with pytest.raises(JournalError, match=r"was made with sandbox, and .* talks to loopback:\d+"):
                await client.run_batch(ROWS, out=tmp_path)
    assert len(sandbox.ledger.posts) == 1


@pytest.mark.parametrize("then", [of_sandbox, of_gateway])
async def test_an_older_journal_is_bound_to_what_is_found(tmp_path: Path, then) -> None:
    """A journal that says `loopback` goes on, and from then on with that service alone."""
    await (await Journal.open(tmp_path, service="loopback")).aclose()
    async with Sandbox() as first, Sandbox() as second:
        async with then(first) as client:
            now = await client.service()
            async with await Journal.open(tmp_path, service=now, read_only=True):
                assert await bound(tmp_path) == "loopback"
            assert (await client.run_batch(ROWS, out=tmp_path)).ok
        assert await bound(tmp_path) == now
        async with (of_gateway if then is of_sandbox else of_sandbox)(second) as client:
            with pytest.raises(JournalError, match=f"was made with {now}, "):
                await client.run_batch(ROWS, out=tmp_path)


@pytest.mark.parametrize(
    ("before", "now", "allowed"),
    [
        ("loopback", "sandbox", True),
        ("loopback", "loopback:8000", True),
        ("loopback", "https://nano-gpt.com", False),
        ("loopback:8000", "loopback:9000", False),
        ("loopback:8000", "sandbox", False),
        ("sandbox", "loopback:8000", False),
        ("https://nano-gpt.com", "sandbox", False),
    ],
)
def test_what_may_replace_what(tmp_path: Path, before: str, now: str, allowed: bool) -> None:
    """Only the name of an earlier version, which told no ports apart, gives way, and only on this machine."""
    assert may_replace(before, now) is allowed
    Store(tmp_path, service=before).close()
    if allowed:
        Store(tmp_path, service=now).close()
    else:
        with pytest.raises(JournalError, match="Nothing was sent"):
            Store(tmp_path, service=now)
    with closing(Store(tmp_path, service=None)) as store:
        assert store.meta("service") == (now if allowed else before)
