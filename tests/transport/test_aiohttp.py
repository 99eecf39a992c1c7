"""The aiohttp transport on real sockets: what is known about money after every way to fail."""

from __future__ import annotations

import asyncio
import socket
import ssl
import struct
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import aiohttp
import attrs
import pytest

from nanogpt_images import (
    AiohttpTransport,
    Charge,
    ConfigurationError,
    ConnectError,
    HttpRequest,
    NanoGPTError,
    OutcomeUnknownError,
    RequestTimeoutError,
)

NOT_SENT, UNKNOWN = Charge.NOT_SENT, Charge.UNKNOWN
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nfour"
BODY = b'{"prompt":"a red fox"}'


@attrs.define
class Peer:
    """The server's end of one connection, and what has arrived on it."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter
    heads: list[bytes] = attrs.field(factory=list[bytes])

    async def head(self) -> bytes:
        """Read the head of a request."""
        self.heads.append(await self.reader.readuntil(b"\r\n\r\n"))
        return self.heads[-1]

    async def request(self) -> bytes:
        """Read a whole request and return its body."""
        head = (await self.head()).lower()
        length = head.partition(b"content-length: ")[2].partition(b"\r\n")[0]
        return await self.reader.readexactly(int(length or 0))

    async def send(self, data: bytes) -> None:
        self.writer.write(data)
        await self.writer.drain()

    def reset(self) -> None:
        """Break the connection with a TCP reset."""
        connection = self.writer.get_extra_info("socket")
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.writer.transport.abort()

    async def gone(self) -> None:
        """Wait until the client has left."""
        await self.reader.read()


Behaviour = Callable[[Peer], Awaitable[object]]


@attrs.define
class Server:
    url: str = ""
    peers: list[Peer] = attrs.field(factory=list[Peer])


@asynccontextmanager
async def serving(behave: Behaviour) -> AsyncIterator[Server]:
    """A TCP server on loopback that treats each connection as *behave* does."""
    server = Server()

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        peer = Peer(reader, writer)
        server.peers.append(peer)
        try:
            await behave(peer)
        except (ConnectionError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()

    listener = await asyncio.start_server(handle, "127.0.0.1", 0)
    server.url = f"http://127.0.0.1:{listener.sockets[0].getsockname()[1]}"
    async with listener:
        yield server
        for peer in server.peers:
            peer.writer.transport.abort()


@pytest.fixture
async def transport() -> AsyncIterator[AiohttpTransport]:
    made = AiohttpTransport()
    yield made
    await made.aclose()


def post(url: str, *, body: bytes = BODY, timeout_s: float = 20.0) -> HttpRequest:
    return HttpRequest(method="POST", url=url + "/x", body=body, paid=True, timeout_s=timeout_s)


def get(url: str, **more: object) -> HttpRequest:
    return HttpRequest(method="GET", url=url + "/x", **more)


async def read(transport: AiohttpTransport, request: HttpRequest) -> bytes:
    async with transport.send(request) as response:
        return b"".join([chunk async for chunk in response.chunks()])


# -- behaviours of a server ------------------------------------------------------------------------------


async def answer(peer: Peer) -> None:
    while True:
        await peer.request()
        await peer.send(OK)


async def nothing_read(peer: Peer) -> None:
    peer.reset()


async def reset_in_body(peer: Peer) -> None:
    await peer.head()
    await peer.reader.readexactly(5)
    peer.reset()


async def reset_after_body(peer: Peer) -> None:
    await peer.request()
    peer.reset()


async def close_after_body(peer: Peer) -> None:
    await peer.request()


async def reset_in_head(peer: Peer) -> None:
    await peer.request()
    await peer.send(b"HTTP/1.1 200 OK\r\nContent-")
    peer.reset()


async def cut_body(peer: Peer) -> None:
    await peer.request()
    await peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nfour")


async def cut_chunked_body(peer: Peer) -> None:
    await peer.request()
    await peer.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nfour\r\n")


async def garbage(peer: Peer) -> None:
    await peer.request()
    await peer.send(b"this is not HTTP\r\n\r\n")


async def never_answer(peer: Peer) -> None:
    await peer.request()
    await peer.gone()


async def stall_in_body(peer: Peer) -> None:
    await peer.request()
    await peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nfour")
    await peer.gone()


@pytest.mark.parametrize(
    ("behave", "error_type", "status"),
    [
        (reset_in_body, OutcomeUnknownError, None),
        (reset_after_body, OutcomeUnknownError, None),
        (close_after_body, OutcomeUnknownError, None),
        (reset_in_head, OutcomeUnknownError, None),
        (garbage, OutcomeUnknownError, None),
        (cut_body, OutcomeUnknownError, 200),
        (cut_chunked_body, OutcomeUnknownError, 200),
        (never_answer, RequestTimeoutError, None),
        (stall_in_body, RequestTimeoutError, 200),
    ],
)
@pytest.mark.parametrize("paid", [True, False])
async def test_a_lost_answer_may_have_been_charged(
    transport: AiohttpTransport, behave: Behaviour, error_type: type, status: int | None, paid: bool
) -> None:
    """Once the body was sent, anything but a whole answer leaves a paid request's charge unknown; a free one has none."""
    async with serving(behave) as server:
        # Large enough that the server can break it off in the middle.
        request = post(server.url, body=b"x" * 5_000_000 if behave is reset_in_body else BODY)
        request.paid = paid
        request.timeout_s = 0.8 if error_type is RequestTimeoutError else 20
        with pytest.raises(NanoGPTError) as caught:
            await read(transport, request)
    error = caught.value
    assert type(error) is error_type
    assert error.status == status
    assert error.charge is (UNKNOWN if paid else NOT_SENT)
    assert (error.charge.sentence in str(error)) is paid
    assert f"{server.url}/x" in str(error)
    assert request.body_begun


async def test_a_refused_connection_was_not_sent(transport: AiohttpTransport) -> None:
    """Where nobody listens nothing was sent, and the body never began."""
    async with serving(answer) as server:
        pass
    with pytest.raises(ConnectError, match="Nothing was sent") as caught:
        await read(transport, request := post(server.url))
    assert (caught.value.charge, request.body_begun) == (NOT_SENT, False)


async def test_a_name_that_does_not_resolve_was_not_sent(transport: AiohttpTransport) -> None:
    """A failed look-up is a connection that could not be made."""
    with pytest.raises(ConnectError, match=r"nobody\.invalid") as caught:
        await read(transport, post("http://nobody.invalid"))
    assert caught.value.charge is NOT_SENT


@pytest.mark.parametrize(
    ("connect_timeout_s", "timeout_s", "error_type"),
    [(0.1, 20, ConnectError), (20, 0.1, RequestTimeoutError)],
)
async def test_a_server_that_never_accepts_is_not_sent(
    connect_timeout_s: float, timeout_s: float, error_type: type
) -> None:
    """Whichever limit ends the wait for a connection: nothing was sent."""
    with socket.socket() as deaf:
        deaf.bind(("127.0.0.1", 0))
        deaf.listen(0)
        fillers = [socket.socket() for _ in range(4)]
        try:
            for filler in fillers:
                filler.setblocking(False)
                filler.connect_ex(deaf.getsockname())
            transport = AiohttpTransport(connect_timeout_s=connect_timeout_s)
            request = post(f"http://127.0.0.1:{deaf.getsockname()[1]}", timeout_s=timeout_s)
            with pytest.raises(error_type, match=r"within 0\.1 s\. Nothing was sent") as caught:
                await read(transport, request)
            await transport.aclose()
        finally:
            for filler in fillers:
                filler.close()
    assert (caught.value.charge, request.body_begun) == (NOT_SENT, False)


@pytest.mark.parametrize("closing", [True, False])
async def test_a_pooled_connection_that_died_was_not_sent(
    transport: AiohttpTransport, closing: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where the connection is known to be gone before the first byte of the body, nothing was sent."""

    async def fail(*_: object, **__: object) -> None:
        raise aiohttp.ClientConnectionResetError("Cannot write to closing transport")

    # The moment between taking a connection from the pool and writing to it cannot be hit from outside.
    monkeypatch.setattr("aiohttp.http_writer.StreamWriter.write", fail)
    if closing:
        monkeypatch.setattr("asyncio.selector_events._SelectorTransport.is_closing", lambda _: True)
    async with serving(answer) as server:
        with pytest.raises(ConnectError if closing else OutcomeUnknownError) as caught:
            await read(transport, request := post(server.url))
    assert request.body_begun is not closing
    assert caught.value.charge is (NOT_SENT if closing else UNKNOWN)


@pytest.mark.parametrize(
    "url", ["http://", "http://127.0.0.1:99999", "nonsense", "http://a..b", "http://.a", f"http://{'a' * 64}"]
)
async def test_an_unusable_url_is_a_configuration_error(transport: AiohttpTransport, url: str) -> None:
    """A URL that aiohttp cannot use says so, and nothing was sent."""
    with pytest.raises(ConfigurationError, match="Nothing was sent"):
        await read(transport, post(url))


async def test_the_answer_is_handed_on_as_it_is(transport: AiohttpTransport) -> None:
    """Status, headers in any case and the body in pieces arrive; a failing status raises nothing here."""

    async def behave(peer: Peer) -> None:
        await peer.request()
        await peer.send(b"HTTP/1.1 503 Busy\r\nx-request-id: r-1\r\nTransfer-Encoding: chunked\r\n\r\n")
        for piece in (b"one", b"two", b"three"):
            await peer.send(b"%x\r\n%s\r\n" % (len(piece), piece))
        await peer.send(b"0\r\n\r\n")

    async with serving(behave) as server, transport.send(post(server.url)) as response:
        assert (response.status, response.headers["X-Request-ID"]) == (503, "r-1")
        assert b"".join([chunk async for chunk in response.chunks()]) == b"onetwothree"


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
async def test_redirects_are_not_followed(transport: AiohttpTransport, status: int) -> None:
    """The key of a request goes to its own URL and nowhere else."""

    async def redirect(peer: Peer) -> None:
        while True:
            await peer.request()
            await peer.send(b"HTTP/1.1 %d X\r\nLocation: /other\r\nContent-Length: 0\r\n\r\n" % status)

    async with serving(redirect) as server:
        for request in (post(server.url), get(server.url)):
            async with transport.send(request) as response:
                assert (response.status, response.headers["Location"]) == (status, "/other")
        assert [len(peer.heads) for peer in server.peers] == [2]


async def test_what_is_sent(transport: AiohttpTransport) -> None:
    """A request carries its own headers, JSON as its type and its length, and no default User-Agent."""
    async with serving(answer) as server:
        request = post(server.url)
        request.headers = {"Authorization": "Bearer k", "Accept-Encoding": "identity"}
        await read(transport, request)
        await read(transport, get(server.url))
        (peer,) = server.peers
    lines = peer.heads[0].lower().split(b"\r\n")
    assert lines[0] == b"post /x http/1.1"
    assert {b"authorization: bearer k", b"content-type: application/json", b"accept-encoding: identity"} <= {
        *lines
    }
    assert b"content-length: %d" % len(BODY) in lines
    assert not any(line.startswith(b"user-agent") for line in lines)
    assert b"content-length" not in peer.heads[1].lower()


async def test_a_post_without_a_body_names_no_type_of_it(transport: AiohttpTransport) -> None:
    """What is not there has a length of 0 and no type."""
    async with serving(answer) as server:
        await read(transport, HttpRequest(method="POST", url=server.url))
        (peer,) = server.peers
    head = peer.heads[0].lower()
    assert b"content-length: 0" in head
    assert b"content-type" not in head


async def test_the_connection_pool_is_used(transport: AiohttpTransport) -> None:
    """Requests one after another share a connection."""
    async with serving(answer) as server:
        for _ in range(5):
            assert await read(transport, post(server.url)) == b"four"
        assert len(server.peers) == 1


async def test_the_pool_does_not_bound_what_is_in_flight(transport: AiohttpTransport) -> None:
    """Requests at the same time have a connection each: bounding them is the sender's."""
    everybody = asyncio.Barrier(3)

    async def meet(peer: Peer) -> None:
        await peer.request()
        await everybody.wait()
        await peer.send(OK)

    async with serving(meet) as server, asyncio.timeout(10):
        assert await asyncio.gather(*(read(transport, post(server.url)) for _ in range(3))) == [b"four"] * 3


async def test_cookies_are_not_kept(transport: AiohttpTransport) -> None:
    """What a gateway sets as a cookie is not sent back: requests do not depend on those before them."""

    async def bake(peer: Peer) -> None:
        while True:
            await peer.request()
            await peer.send(b"HTTP/1.1 200 OK\r\nSet-Cookie: a=b\r\nContent-Length: 0\r\n\r\n")

    async with serving(bake) as server:
        for _ in range(2):
            await read(transport, post(server.url.replace("127.0.0.1", "localhost")))
        (peer,) = server.peers
    assert not any(b"cookie" in head.lower() for head in peer.heads)


async def test_an_unread_body_closes_the_connection(transport: AiohttpTransport) -> None:
    """Leaving an answer unread gives up its connection, so that the next request cannot read its rest."""

    async def endless(peer: Peer) -> None:
        await peer.request()
        await peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: 1000000000\r\n\r\n")
        for _ in range(1000):
            await peer.send(b"x" * 65536)

    async with serving(endless) as server:
        for number in (1, 2):
            async with transport.send(post(server.url)) as response:
                assert response.status == 200
            assert len(server.peers) == number


@pytest.mark.parametrize(
    "begun", [b"", b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nfour"], ids=["no answer", "half an answer"]
)
async def test_a_cancelled_request_closes_its_connection(transport: AiohttpTransport, begun: bytes) -> None:
    """Cancellation leaves no connection behind, before the answer and within it."""
    arrived, left = asyncio.Event(), asyncio.Event()

    async def watched(peer: Peer) -> None:
        await peer.request()
        await peer.send(begun)
        arrived.set()
        await peer.gone()
        left.set()

    async with serving(watched) as server, asyncio.timeout(10):
        request = post(server.url)
        task = asyncio.create_task(read(transport, request))
        await arrived.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await left.wait()
        assert not request.withheld


async def test_a_request_cancelled_over_its_connection_never_left() -> None:
    """Broken off before its first byte, a request says that it was withheld: it can have cost nothing."""
    asked = asyncio.Event()

    class NoAnswer(aiohttp.abc.AbstractResolver):
        async def resolve(self, host: str, port: int = 0, family: int = 0) -> list[aiohttp.abc.ResolveResult]:
            asked.set()
            await asyncio.Event().wait()
            raise AssertionError("unreachable")

        async def close(self) -> None:
            pass

    connector = aiohttp.TCPConnector(resolver=NoAnswer())
    async with aiohttp.ClientSession(connector=connector) as session, asyncio.timeout(10):
        request = post("http://nowhere.invalid")
        task = asyncio.create_task(read(AiohttpTransport(session), request))
        await asked.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
    assert request.withheld
    assert not request.body_begun


async def test_a_slow_drip_ends_at_the_deadline(transport: AiohttpTransport) -> None:
    """The limit is on the whole attempt: bytes that keep coming do not extend it."""

    async def drip(peer: Peer) -> None:
        await peer.request()
        await peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n")
        while True:
            await peer.send(b"x")
            await asyncio.sleep(0.005)

    async with serving(drip) as server:
        with pytest.raises(RequestTimeoutError, match=r"within 1 s") as caught:
            await read(transport, post(server.url, timeout_s=1))
    assert (caught.value.charge, caught.value.status) == (UNKNOWN, 200)


async def test_the_readers_own_time_is_not_the_peers(transport: AiohttpTransport) -> None:
    """A reader that is slower than the limit is not interrupted in its own work."""
    done = []
    async with serving(answer) as server, transport.send(post(server.url, timeout_s=0.8)) as response:
        async for chunk in response.chunks():
            await asyncio.sleep(1)
            done.append(chunk)
            break
    assert b"".join(done) == b"four"


async def test_a_session_of_the_callers_stays_open() -> None:
    """A session handed in is used and not closed."""
    async with aiohttp.ClientSession(headers={"X-Mine": "1"}) as session, serving(answer) as server:
        transport = AiohttpTransport(session)
        assert await read(transport, post(server.url)) == b"four"
        await transport.aclose()
        assert not session.closed
        assert b"X-Mine: 1" in server.peers[0].heads[0]


async def test_closing_closes_the_connections(transport: AiohttpTransport) -> None:
    """After closing, the pool is empty; another request opens it anew."""
    async with serving(answer) as server:
        for number in (1, 2):
            await read(transport, post(server.url))
            assert len(server.peers) == number
            await transport.aclose()
            async with asyncio.timeout(5):
                while not server.peers[-1].reader.at_eof():
                    await asyncio.sleep(0)
        await transport.aclose()


def test_loops_one_after_another() -> None:
    """A transport that was closed on one loop works on the next; while it is open there, the error says so."""
    transport = AiohttpTransport()

    async def use(*, close: bool) -> None:
        async with serving(answer) as server:
            assert await read(transport, post(server.url)) == b"four"
            if close:
                await transport.aclose()

    asyncio.run(use(close=True))
    with asyncio.Runner() as first, asyncio.Runner() as second:
        first.run(use(close=False))
        with pytest.raises(ConfigurationError, match="another event loop"):
            second.run(use(close=True))
        first.run(transport.aclose())
        second.run(use(close=True))


@pytest.fixture
def proxy_settings(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[str], None]]:
    def point(url: str) -> None:
        for name in ("http_proxy", "HTTP_PROXY", "ALL_PROXY", "all_proxy"):
            monkeypatch.setenv(name, url)
        monkeypatch.setenv("no_proxy", "")

    return point


@pytest.mark.parametrize("trust_env", [False, True])
async def test_proxies_of_the_environment_are_used_on_request(
    proxy_settings: Callable[[str], None], trust_env: bool
) -> None:
    """The environment's proxy is passed over unless trust_env is set."""
    transport = AiohttpTransport(trust_env=trust_env)
    async with serving(answer) as server, serving(answer) as proxy:
        proxy_settings(proxy.url)
        await read(transport, get(server.url))
        assert (len(server.peers), len(proxy.peers)) == ((0, 1) if trust_env else (1, 0))
        await transport.aclose()


async def test_the_start_of_the_body_is_told_once(transport: AiohttpTransport) -> None:
    """`on_body` is called when the body is about to leave: after the connection, before the answer."""
    order: list[str] = []

    async def behave(peer: Peer) -> None:
        order.append("connected")
        await peer.request()
        order.append("answered")
        await peer.send(OK)

    async with serving(behave) as server:
        request = post(server.url)
        request.on_body = lambda: order.append("body")
        await read(transport, request)
    assert order.count("body") == 1
    assert order[-1] == "answered"


async def test_secrets_of_a_url_are_in_no_text(transport: AiohttpTransport) -> None:
    """Query strings of signed URLs appear neither in errors nor in reprs."""
    request = HttpRequest(method="GET", url="http://nobody.invalid/f.png?sig=secret")
    with pytest.raises(ConnectError) as caught:
        await read(transport, request)
    assert "secret" not in str(caught.value) + repr(request)


# -- TLS and credentials of the machine --------------------------------------------------------------------


@pytest.mark.parametrize("fault", ["unknown authority", "another name"])
async def test_a_certificate_that_does_not_verify_is_named(fault: str) -> None:
    """The error says what is wrong with the certificate, that nothing was sent, and what to pass."""
    trustme = pytest.importorskip("trustme")
    authority = trustme.CA()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("other.example" if fault == "another name" else "127.0.0.1").configure_cert(context)
    known = ssl.create_default_context()
    if fault == "another name":
        authority.configure_trust(known)
    listener = await asyncio.start_server(lambda reader, writer: writer.close(), "127.0.0.1", 0, ssl=context)
    async with listener:
        transport = AiohttpTransport(ssl_context=known)
        url = f"https://127.0.0.1:{listener.sockets[0].getsockname()[1]}"
        with pytest.raises(
            ConnectError, match=r"certificate of https://127\.0\.0\.1:.* does not verify: "
        ) as caught:
            await read(transport, post(url))
        await transport.aclose()
    assert ("mismatch" in str(caught.value)) is (fault == "another name")
    assert "usable URL" not in str(caught.value)
    assert "ssl_context" in str(caught.value)
    assert caught.value.charge is Charge.NOT_SENT


@pytest.mark.skipif(
    tuple(map(int, aiohttp.__version__.split(".")[:2])) < (3, 14),
    reason="an older aiohttp puts the entry in place of the key without a word",
)
async def test_an_entry_of_netrc_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With `trust_env` aiohttp would use it in place of the key: the error says so, and no secret of either."""
    (tmp_path / "netrc").write_text("machine 127.0.0.1 login me password opensesame")
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    async with serving(answer) as server:
        transport = AiohttpTransport(trust_env=True)
        request = post(server.url)
        request.headers = {"Authorization": "Bearer secret"}
        with pytest.raises(ConfigurationError, match=r"netrc has an entry for 127\.0\.0\.1") as caught:
            await read(transport, request)
        await transport.aclose()
    assert caught.value.charge is Charge.NOT_SENT
    assert "opensesame" not in str(caught.value)
