"""The server itself: where it listens, what it answers elsewhere, how it starts and stops."""

from __future__ import annotations

import ast
import json
import urllib.request
from pathlib import Path

import attrs
import pytest

import nanogpt_images.sandbox
from nanogpt_images.sandbox import Sandbox, SandboxOptions
from nanogpt_images.sandbox.settings import SandboxKeywords


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.168.0.1", "example.com", ""])
def test_loopback_only(host):
    """A host other than loopback is refused before anything listens."""
    with pytest.raises(ValueError, match="loopback only"):
        Sandbox(host=host)


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "127.0.0.2"])
async def test_loopback_hosts(open_api, host):
    """Every way of saying loopback works, and the URL says the same."""
    async with open_api(host=host) as api:
        assert api.sandbox.url.startswith(f"http://{host}:")
        assert (await api.images()).status == 200


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/", 404),
        ("GET", "/api/v1/images/models/", 404),
        ("POST", "/api/v1/nothing", 404),
        ("GET", "/_sandbox/nothing", 404),
        ("GET", "/api/v1/images", 405),
        ("PUT", "/v1/images/generations", 405),
        ("POST", "/api/v1/image-models", 405),
    ],
)
async def test_wrong_paths_and_methods(open_api, method, path, status):
    """Elsewhere there is a JSON 404; another method is a JSON 405 that names the right one."""
    async with open_api() as api:
        reply = await api.send(method, path)
        assert reply.status == status
        assert reply.json["error"]["message"]
        assert reply.headers["X-Request-ID"]
        assert ("Allow" in reply.headers) == (status == 405)


async def test_who_it_is(open_api):
    """The sandbox says its name, to anybody on this machine and without a key."""
    async with open_api(key="sk-nano-the-one-key") as api:
        reply = await api.get("/_sandbox/identity")
        assert (reply.status, reply.json) == (200, {"name": "nanogpt_images.sandbox"})


@pytest.mark.parametrize("path", ["/api/v1/image-models", "/api/v1/images/models/hidream/endpoints"])
async def test_head(open_api, path):
    """HEAD gives the headers of GET and no body."""
    async with open_api() as api:
        got, head = await api.get(path), await api.send("HEAD", path)
        assert (head.status, head.body) == (200, b"")
        assert head.headers["Content-Length"] == got.headers["Content-Length"]


async def test_prefix(open_api):
    """Behind a prefix the API is found there alone; `url` includes it, and the `endpoints` paths do not."""
    async with open_api(prefix="/gateway/") as api:
        assert api.sandbox.url.endswith("/gateway")
        assert (await api.images()).status == 200
        listed = (await api.get("/api/v1/images/models")).json["data"][0]
        assert listed["endpoints"].startswith("/api/")
        assert (await api.get(listed["endpoints"])).status == 200
        bare = api.sandbox.url.removesuffix("/gateway")
        assert (await api.get(bare + "/api/v1/images/models")).status == 404
        assert (
            (await api.get(bare + "/_sandbox/ledger")).status
            == (await api.get("/_sandbox/ledger")).status
            == 200
        )


async def test_request_ids_differ(open_api):
    """No two answers share a request ID, not even those of two sandboxes."""
    async with open_api() as one, open_api() as other:
        replies = [await api.get("/api/v1/image-models") for api in (one, one, other, other)]
        assert len({reply.headers["X-Request-ID"] for reply in replies}) == 4


async def test_large_answers_arrive_whole(open_api):
    """Many megabytes in one answer arrive as announced."""
    async with open_api(image_bytes=3_000_000) as api:
        reply = await api.images(model="batchy/ten", n=10, resolution="512x512")
        assert len(reply.json["data"]) == 10
        assert len(reply.body) == int(reply.headers["Content-Length"]) > 40_000_000


async def test_latency(open_api):
    """A latency of two bounds is drawn between them, the same way for the same seed."""
    services = [Sandbox(latency_s=(1.0, 2.0), seed=5)._service for _ in range(2)]
    draws = [[service.latency_s() for _ in range(20)] for service in services]
    assert draws[0] == draws[1]
    assert all(1 <= seconds <= 2 for seconds in draws[0])


async def test_open_again(open_api):
    """A sandbox can be closed and opened again; its ledger is kept."""
    sandbox = Sandbox()
    for _ in range(2):
        async with sandbox:
            assert await _post(sandbox) == 200
    assert len(sandbox.ledger.billed) == 2


async def _post(sandbox):
    import anyio.to_thread

    return await anyio.to_thread.run_sync(_blocking_post, sandbox)


def _blocking_post(sandbox):
    body = json.dumps({"model": "tiny-and-fast", "prompt": "x"}).encode()
    headers = {"x-api-key": sandbox.api_key, "Content-Type": "application/json"}
    request = urllib.request.Request(sandbox.url + "/api/v1/images", data=body, headers=headers)
    with urllib.request.urlopen(request, timeout=20) as response:
        response.read()
        return response.status


def test_in_thread():
    """Blocking code runs a sandbox in a thread, with the same attributes."""
    with Sandbox.in_thread(requests_per_second=None) as sandbox:
        assert _blocking_post(sandbox) == 200
        assert len(sandbox.ledger.billed) == 1
        assert sandbox.files_url != sandbox.url
    # Only after the end: the answer can be read here before the other thread notes that it was written.
    assert sandbox.ledger.billed[0].answered
    sandbox.reset()
    assert sandbox.ledger.entries == []


def test_in_thread_failure():
    """A port that is taken raises where the sandbox was entered, and leaves no thread behind."""
    with Sandbox.in_thread() as sandbox:
        port = int(sandbox.url.rpartition(":")[2])
        second = Sandbox.in_thread(port=port)
        with pytest.raises(OSError, match="address already in use"):
            second.__enter__()


def test_pillow_missing(monkeypatch):
    """Without Pillow the sandbox does not start, and says what to install."""
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(ImportError, match="pip install pillow"):
        Sandbox.in_thread().__enter__()


def test_keywords_are_the_options():
    """The keywords of Sandbox are exactly the fields of SandboxOptions."""
    assert set(SandboxKeywords.__annotations__) == {field.name for field in attrs.fields(SandboxOptions)}


def test_options_show_no_key():
    """The repr of options does not show the key."""
    assert "sk-nano-secret" not in repr(SandboxOptions(key="sk-nano-secret"))


def test_stands_apart():
    """No module of the sandbox imports the client, which it exists to check."""
    for path in Path(nanogpt_images.sandbox.__file__).parent.glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            if isinstance(node, ast.ImportFrom):
                assert node.level <= 1, path
                names = [node.module or ""] if node.level == 0 else []
            assert not any(name.startswith("nanogpt_images") for name in names), path


LOCAL = [
    "localhost",
    "localhost:80",
    "LOCALHOST",
    "127.0.0.1",
    "127.9.9.9:1",
    "[::1]:8",
    "my.localhost",
    "localhost.",
]
FOREIGN = [
    "evil.example", "127.0.0.1.evil.example:80", "localhost.evil.example", "10.0.0.1", "0.0.0.0", "169.254.169.254",
    "user@localhost", "[::ffff:10.0.0.1]", "[bad", "",
]  # fmt: skip
PAGES = [("GET", "/_sandbox/ledger"), ("GET", "/api/v1/image-models"), ("POST", "/_sandbox/reset")]


@pytest.mark.parametrize(
    ("headers", "allowed"),
    [
        *[({"Host": host}, True) for host in LOCAL],
        *[({"Host": host}, False) for host in FOREIGN],
        *[({"Origin": f"http://{host}"}, True) for host in LOCAL],
        *[({"Origin": f"https://{host}"}, False) for host in FOREIGN],
        ({"Origin": "null"}, False),
        ({"Origin": "file://"}, False),
    ],
)
async def test_no_page_of_the_web_talks_to_a_sandbox(open_api, headers, allowed):
    """A rebound name arrives as Host, a page elsewhere as Origin: neither reads the ledger nor resets it."""
    async with open_api() as api:
        await api.images()
        for method, path in PAGES:
            reply = await api.send(method, path, headers=headers)
            assert (reply.status == 200) is allowed
            assert allowed or reply.status in (400, 403)
        assert len(api.sandbox.ledger.posts) == (not allowed)
        file = await api.send("GET", f"{api.sandbox.files_url}/files/x", headers=headers)
        assert (file.headers["Content-Type"] == "application/xml") is allowed
