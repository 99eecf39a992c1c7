"""Fetching reference URLs, against servers on loopback that stand for the public and the private net."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import attrs
import pytest
from aiohttp import web
from aiohttp.abc import AbstractResolver, ResolveResult

from nanogpt_images.errors import Charge, ReferenceImageError
from nanogpt_images.references import fetch as _fetch
from nanogpt_images.references.fetch import fetch_bytes

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]
MAX_BYTES = 100_000
BODY = b"\x89PNG\r\n\x1a\n and more"


@attrs.define
class Server:
    """A server on loopback and the requests that reached it."""

    handler: Handler
    port: int = 0
    requests: list[web.Request] = attrs.field(factory=list)

    async def answer(self, request: web.Request) -> web.StreamResponse:
        self.requests.append(request)
        return await self.handler(request)

    def url(self, host: str = "127.0.0.1", path: str = "/image.png?token=secret") -> str:
        return f"http://{host}:{self.port}{path}"


@asynccontextmanager
async def serving(handler: Handler, *, host: str = "127.0.0.1", port: int = 0) -> AsyncIterator[Server]:
    server = Server(handler)
    runner = web.ServerRunner(web.Server(server.answer))
    await runner.setup()
    try:
        await web.TCPSite(runner, host, port).start()
        server.port = runner.addresses[0][1]
        yield server
    finally:
        await runner.cleanup()


async def image(request: web.Request) -> web.Response:
    return web.Response(body=BODY, content_type="image/png")


def redirect(location: str, status: int = 302) -> Handler:
    async def handler(request: web.Request) -> web.Response:
        return web.Response(status=status, headers={"Location": location})

    return handler


class ScriptedResolver(AbstractResolver):
    """Answers each look-up with the next entry of a script, and counts them."""

    def __init__(self, *answers: list[str]) -> None:
        self.answers = list(answers)
        self.hosts: list[str] = []

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        self.hosts.append(host)
        return [
            ResolveResult(hostname=host, host=ip, port=port, family=socket.AF_INET, proto=0, flags=0)
            for ip in self.answers.pop(0)
        ]

    async def close(self) -> None:
        pass


@pytest.fixture
def one_is_public(monkeypatch: pytest.MonkeyPatch) -> None:
    """127.0.0.1 stands for a public address; 127.0.0.2, as all others, for a private one."""
    monkeypatch.setattr("nanogpt_images._base.addresses.is_public", lambda address: address == "127.0.0.1")


async def test_the_body_is_fetched() -> None:
    """With private addresses allowed, the body of a URL on loopback comes back as it is."""
    async with serving(image) as server:
        assert await fetch_bytes(server.url(), max_bytes=MAX_BYTES, allow_private=True) == BODY


async def test_no_credentials_are_sent(monkeypatch: pytest.MonkeyPatch) -> None:
    """A fetch carries neither key nor cookies, also after a redirect that sets one, and asks for an image."""

    async def handler(request: web.Request) -> web.Response:
        if request.path == "/start":
            answer = web.Response(status=302, headers={"Location": "/image"})
            answer.set_cookie("session", "secret")
            return answer
        return await image(request)

    monkeypatch.setenv("NANOGPT_API_KEY", "sk-nano-secret")
    async with serving(handler) as server:
        await fetch_bytes(server.url(path="/start"), max_bytes=MAX_BYTES, allow_private=True)
    assert len(server.requests) == 2
    for request in server.requests:
        assert request.headers["Accept"] == "image/*"
        assert not {"Authorization", "Cookie", "x-api-key", "Referer"} & set(request.headers)


async def test_proxies_of_the_environment_are_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    """A proxy would connect where nobody checks, so the environment's is left aside."""
    async with serving(image) as server, serving(image) as proxy:
        for name in ("http_proxy", "HTTP_PROXY", "all_proxy"):
            monkeypatch.setenv(name, proxy.url(path=""))
        await fetch_bytes(server.url(), max_bytes=MAX_BYTES, allow_private=True)
    assert len(server.requests) == 1
    assert not proxy.requests


@pytest.mark.parametrize(
    "host",
    [
        "127.0.0.1",
        "localhost",
        "127.1",
        "2130706433",
        "0177.0.0.1",
        "0x7f.0.0.1",
        "0x7f000001",
        "0",
        "0.0.0.0",
        "127.0.0.1.",
        "[::1]",
        "[::ffff:127.0.0.1]",
        "[::ffff:7f00:1]",
        "①②⑦.⓪.⓪.①",
        "127.0.1",
        "017700000001",
        "0x7f.1",
        "[::127.0.0.1]",
        "[::ffff:0:127.0.0.1]",
        "[64:ff9b::127.0.0.1]",
        "[64:ff9b:1::127.0.0.1]",
        "[2002:7f00:1::]",
        "[2001:0:4136:e378:8000:63bf:80ff:fffe]",
        "[fe80::1%25lo]",
    ],
)
async def test_loopback_is_refused_however_it_is_spelled(host: str) -> None:
    """No spelling of a loopback address reaches a server there."""
    async with serving(image) as server:
        with pytest.raises(ReferenceImageError) as caught:
            await fetch_bytes(server.url(host), max_bytes=MAX_BYTES)
    assert caught.value.charge is Charge.NOT_SENT
    assert not server.requests


async def test_a_refusal_names_the_host_and_no_secret() -> None:
    """The text of a refusal names host and address, and nothing of path, query or user."""
    async with serving(image) as server:
        url = server.url("user:password@localhost", "/private/path?token=secret")
        with pytest.raises(ReferenceImageError, match=r"localhost has the address .*127\.0\.0\.1") as caught:
            await fetch_bytes(url, max_bytes=MAX_BYTES)
    for secret in ("private", "secret", "password", "user:"):
        assert secret not in str(caught.value).replace("allow_private_references", "")


async def test_an_address_that_a_name_resolves_to_is_checked(one_is_public: None) -> None:
    """A public name for a private address is refused, and nothing connects."""
    async with serving(image, host="127.0.0.2") as server:
        resolver = ScriptedResolver(["127.0.0.2"])
        with pytest.raises(ReferenceImageError, match=r"images\.test has the address 127\.0\.0\.2"):
            await fetch_bytes(server.url("images.test"), max_bytes=MAX_BYTES, resolver=resolver)
    assert not server.requests


async def test_among_several_addresses_only_public_ones_are_connected_to(one_is_public: None) -> None:
    """Of a mixed answer the private address is passed over, even where it comes first."""
    async with serving(image) as public, serving(image, host="127.0.0.2", port=public.port) as private:
        resolver = ScriptedResolver(["127.0.0.2", "127.0.0.1"])
        await fetch_bytes(public.url("images.test"), max_bytes=MAX_BYTES, resolver=resolver)
    assert len(public.requests) == 1
    assert not private.requests


async def test_a_name_is_resolved_once_for_each_connection(one_is_public: None) -> None:
    """Check and connection rest on one look-up: a second, different answer is never asked for."""
    async with serving(image) as public, serving(image, host="127.0.0.2", port=public.port) as private:
        resolver = ScriptedResolver(["127.0.0.1"], ["127.0.0.2"])
        await fetch_bytes(public.url("rebind.test"), max_bytes=MAX_BYTES, resolver=resolver)
    assert resolver.hosts == ["rebind.test"]
    assert not private.requests


async def test_a_name_that_changes_its_address_is_checked_again(one_is_public: None) -> None:
    """A redirect to the same name, which by now is private, is refused."""
    async with (
        serving(redirect("/again")) as public,
        serving(image, host="127.0.0.2", port=public.port) as private,
    ):
        resolver = ScriptedResolver(["127.0.0.1"], ["127.0.0.2"])
        with pytest.raises(ReferenceImageError, match=r"rebind\.test has the address 127\.0\.0\.2"):
            await fetch_bytes(public.url("rebind.test"), max_bytes=MAX_BYTES, resolver=resolver)
    assert resolver.hosts == ["rebind.test", "rebind.test"]
    assert len(public.requests) == 1
    assert not private.requests


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
async def test_a_redirect_from_public_to_private_is_refused(one_is_public: None, status: int) -> None:
    """Each hop is checked on its own, for every kind of redirect and for a literal address too."""
    async with (
        serving(image, host="127.0.0.2") as private,
        serving(redirect(private.url("127.0.0.2"), status)) as public,
    ):
        with pytest.raises(ReferenceImageError, match=r"127\.0\.0\.2"):
            await fetch_bytes(public.url(), max_bytes=MAX_BYTES)
    assert len(public.requests) == 1
    assert not private.requests


async def test_named_hosts_may_be_private() -> None:
    """A host that the caller names may be private, in any case of its letters."""
    async with serving(image) as server:
        assert await fetch_bytes(server.url("LocalHost"), max_bytes=MAX_BYTES, allow_private=["localhost"])


async def test_a_named_host_opens_no_other() -> None:
    """What is allowed for one host is not for the one that it redirects to."""
    async with serving(image) as server, serving(redirect(server.url("127.0.0.1"))) as named:
        with pytest.raises(ReferenceImageError, match=r"127\.0\.0\.1"):
            await fetch_bytes(named.url("localhost"), max_bytes=MAX_BYTES, allow_private=["localhost"])
    assert len(named.requests) == 1
    assert not server.requests


@pytest.mark.parametrize(
    "location",
    ["file:///etc/passwd", "ftp://127.0.0.1/x", "data:image/png;base64,AA==", "", "//[", "http://xn--a/"],
)
async def test_redirects_lead_to_http_only(location: str) -> None:
    """A redirect to another scheme, to nowhere or to nonsense is refused."""
    async with serving(redirect(location)) as server:
        with pytest.raises(ReferenceImageError, match="redirects to"):
            await fetch_bytes(server.url(), max_bytes=MAX_BYTES, allow_private=True)
    assert len(server.requests) == 1


async def test_five_redirects_are_followed_and_a_sixth_is_not() -> None:
    """A chain of redirects ends after five."""

    async def countdown(request: web.Request) -> web.Response:
        left = int(request.path.strip("/"))
        if left == 0:
            return await image(request)
        return web.Response(status=302, headers={"Location": f"/{left - 1}"})

    async with serving(countdown) as server:
        assert await fetch_bytes(server.url(path="/5"), max_bytes=MAX_BYTES, allow_private=True) == BODY
        server.requests.clear()
        with pytest.raises(ReferenceImageError, match="more than 5 redirects"):
            await fetch_bytes(server.url(path="/6"), max_bytes=MAX_BYTES, allow_private=True)
    assert len(server.requests) == 6


async def test_https_is_not_left_for_http() -> None:
    """A redirect from https to plain http is refused; the other way round is usual."""
    secure, plain = _fetch.URL("https://images.test/a"), _fetch.URL("http://images.test/a")
    with pytest.raises(ReferenceImageError, match="https to plain http"):
        _fetch._next_hop(secure, str(plain))
    assert _fetch._next_hop(plain, str(secure)) == secure


@pytest.mark.parametrize(
    "url",
    [
        "ftp://images.test/a",
        "http://",
        "http://[::1",
        "http://images.test:port/",
        "/a",
        "http://xn--a/",
        "http://xn--ß/",
    ],
)
async def test_a_url_that_is_none_is_refused(url: str) -> None:
    """Other schemes and malformed URLs are refused before anything is resolved."""
    resolver = ScriptedResolver()
    with pytest.raises(ReferenceImageError):
        await fetch_bytes(url, max_bytes=MAX_BYTES, allow_private=True, resolver=resolver)
    assert not resolver.hosts


async def test_a_stated_length_over_the_limit_is_refused_unread() -> None:
    """A Content-Length over the limit is refused at once."""

    async def handler(request: web.Request) -> web.StreamResponse:
        answer = web.StreamResponse(headers={"Content-Length": str(MAX_BYTES + 1)})
        await answer.prepare(request)
        return answer

    async with serving(handler) as server:
        with pytest.raises(ReferenceImageError, match="larger than 100,000 bytes"):
            await fetch_bytes(server.url(), max_bytes=MAX_BYTES, allow_private=True)


async def test_an_endless_body_is_cut_off() -> None:
    """A body without a stated length is read up to the limit and no further."""
    sent = 0

    async def handler(request: web.Request) -> web.StreamResponse:
        nonlocal sent
        answer = web.StreamResponse()
        await answer.prepare(request)
        while sent < 1000 * MAX_BYTES:
            await answer.write(b"x" * MAX_BYTES)
            sent += MAX_BYTES
        return answer

    async with serving(handler) as server:
        with pytest.raises(ReferenceImageError, match="larger than 100,000 bytes"):
            await fetch_bytes(server.url(), max_bytes=MAX_BYTES, allow_private=True)
    assert sent < 1000 * MAX_BYTES


async def test_a_body_of_the_greatest_size_is_taken() -> None:
    """The limit itself is within the limit."""

    async def handler(request: web.Request) -> web.Response:
        return web.Response(body=b"x" * MAX_BYTES)

    async with serving(handler) as server:
        body = await fetch_bytes(server.url(), max_bytes=MAX_BYTES, allow_private=True)
    assert len(body) == MAX_BYTES


@pytest.mark.parametrize("status", [204, 206, 304, 401, 404, 500])
async def test_only_status_200_delivers(status: int) -> None:
    """Any other answer is an error that names the status."""

    async def handler(request: web.Request) -> web.Response:
        return web.Response(status=status)

    async with serving(handler) as server:
        with pytest.raises(ReferenceImageError, match=f"status {status}"):
            await fetch_bytes(server.url(), max_bytes=MAX_BYTES, allow_private=True)


async def test_a_server_that_does_not_answer_is_given_up() -> None:
    """The limit of time ends a fetch with an error of ours."""
    given_up = asyncio.Event()

    async def handler(request: web.Request) -> web.Response:
        await given_up.wait()
        return await image(request)

    async with serving(handler) as server:
        with pytest.raises(ReferenceImageError, match=r"within 0\.2 s"):
            await fetch_bytes(server.url(), max_bytes=MAX_BYTES, allow_private=True, timeout_s=0.2)
        given_up.set()


async def test_a_closed_port_is_an_error_of_ours() -> None:
    """Where nothing listens, the text says so."""
    async with serving(image) as server:
        url = server.url()
    with pytest.raises(ReferenceImageError, match=r"127\.0\.0\.1 cannot be fetched \(.*refused") as caught:
        await fetch_bytes(url, max_bytes=MAX_BYTES, allow_private=True)
    assert "secret" not in str(caught.value)


async def test_a_body_that_breaks_off_is_an_error_of_ours() -> None:
    """A connection lost within the body never yields half an image."""

    async def handler(request: web.Request) -> web.StreamResponse:
        answer = web.StreamResponse(headers={"Content-Length": "1000"})
        await answer.prepare(request)
        await answer.write(b"x" * 10)
        assert request.transport is not None
        request.transport.close()
        return answer

    async with serving(handler) as server:
        with pytest.raises(ReferenceImageError, match="cannot be fetched"):
            await fetch_bytes(server.url(), max_bytes=MAX_BYTES, allow_private=True)
