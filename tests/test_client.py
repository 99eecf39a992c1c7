"""The async client: its lifetime, its headers on the wire, and what it shows of its key."""

from __future__ import annotations

import asyncio
import copy
import pickle
from datetime import date
from unittest.mock import ANY

import aiohttp
import attrs
import pytest
from fakes import Reply, ScriptedTransport, connected

from nanogpt_images import AsyncClient, AuthenticationError, BadRequestError, Client, ConfigurationError
from nanogpt_images.sandbox import Sandbox

KEY = "sk-nano-0f8fad5b-d9cb-469f-a165-70867728950e"


def test_it_can_be_made_outside_of_a_loop() -> None:
    """A client is made anywhere, used on a loop, and closed there; after that it refuses."""
    with Sandbox.in_thread(requests_per_second=None) as sandbox:
        client = AsyncClient(sandbox.api_key, sandbox.url)

        async def use() -> int:
            async with client:
                result = await client.images.generate("x", model="tiny-and-fast")
            return len(result.images)

        assert asyncio.run(use()) == 1
        with pytest.raises(ConfigurationError, match="closed"):
            asyncio.run(use())


CALLS = {
    "generate": lambda client: client.images.generate("x", model="tiny-and-fast"),
    "generate unchecked": lambda client: client.images.generate("x", model="tiny-and-fast", validate=False),
    "generate_openai": lambda client: client.images.generate_openai("x", model="tiny-and-fast"),
    "generate_to": lambda client: client.images.generate_to("out", "x", model="tiny-and-fast"),
    "list": lambda client: client.catalog.list(),
    "get": lambda client: client.catalog.get("tiny-and-fast"),
    "models": lambda client: client.catalog.models(),
    "image_models": lambda client: client.catalog.image_models(),
    "endpoints": lambda client: client.catalog.endpoints("tiny-and-fast"),
    "balance": lambda client: client.account.balance(),
    "usage": lambda client: client.account.usage(date(2026, 1, 1), date(2026, 1, 2)),
    "run_batch": lambda client: client.run_batch([{"prompt": "x", "model": "tiny-and-fast"}]),
    "aenter": lambda client: client.__aenter__(),
}


@pytest.mark.parametrize("warm", [False, True])
@pytest.mark.parametrize("call", CALLS.values(), ids=CALLS)
async def test_a_closed_client_refuses(call, warm: bool) -> None:
    """Whatever is asked of it, also what a cache could answer: ConfigurationError, and nothing is sent."""
    async with Sandbox(requests_per_second=None) as sandbox:
        client = AsyncClient(sandbox.api_key, sandbox.url)
        if warm:
            await client.images.generate("x", model="tiny-and-fast")
        await client.aclose()
        await client.aclose()
        before = len(sandbox.ledger.posts)
        with pytest.raises(ConfigurationError, match=r"this client is closed; make a new one\."):
            await call(client)
        assert len(sandbox.ledger.posts) == before


async def test_a_batch_outside_its_block_says_so() -> None:
    """Iterated, waited for or awaited before its block or after it, and on a closed client: a ConfigurationError."""
    rows = [{"prompt": "x", "model": "tiny-and-fast"}]
    async with connected() as (client, sandbox):
        batch = client.batch(rows)
        for use in (batch.wait, lambda: anext(batch), lambda: batch):
            with pytest.raises(ConfigurationError, match="has not started: it runs inside its block"):
                await use()
        assert sandbox.ledger.posts == []
        async with batch:
            assert (await batch).done == 1
        for use in (batch.wait, lambda: anext(batch), lambda: batch):
            with pytest.raises(ConfigurationError, match="is over: it runs inside its block"):
                await use()
        assert batch.report.done == 1
    for make in (lambda: client.batch(rows), lambda: client.retry_batch("out")):
        with pytest.raises(ConfigurationError, match="closed"):
            make()


async def test_a_gateway_with_a_prefix() -> None:
    """Every route goes below the prefix of the base URL."""
    async with connected(sandbox={"prefix": "/gateway/nano"}) as (client, sandbox):
        assert client.base_url.endswith("/gateway/nano")
        await client.images.generate("x", model="tiny-and-fast")
        await client.images.generate_openai("x", model="tiny-and-fast")
        assert (await client.catalog.endpoints("krea-v2/turbo")).endpoints
        assert (await client.account.balance()).usd is not None
    assert len(sandbox.ledger.billed) == 2


@pytest.mark.parametrize("auth", ["bearer", "x-api-key"])
async def test_the_key_is_in_the_header_of_choice(auth: str) -> None:
    """Both documented headers are accepted, and only the chosen one is sent."""
    async with connected(auth=auth) as (client, _):
        assert (await client.images.generate("x", model="tiny-and-fast")).images
    transport = ScriptedTransport(Reply(200, b"{}"))
    client = AsyncClient(KEY, "https://nano-gpt.com", auth=auth, transport=transport)
    await client.account.usage()
    assert [name for name, value in transport.requests[0].headers.items() if KEY in value] == [
        {"bearer": "Authorization", "x-api-key": "x-api-key"}[auth]
    ]


async def test_a_wrong_key_is_an_authentication_error() -> None:
    """The service's 401 says where to look, and shows no key."""
    async with connected(sandbox={"key": "sk-nano-the-right-one"}) as (_, sandbox):
        async with AsyncClient(KEY, sandbox.url) as client:
            with pytest.raises(AuthenticationError, match="NANOGPT_API_KEY") as caught:
                await client.images.generate("x", model="tiny-and-fast")
    assert KEY not in str(caught.value)


def test_its_repr_shows_no_key() -> None:
    """A repr says whether there is a key, and not which."""
    assert repr(AsyncClient(KEY)) == "AsyncClient(base_url='https://nano-gpt.com', api_key=set)"
    assert repr(AsyncClient()) == "AsyncClient(base_url='https://nano-gpt.com', api_key=none)"


@pytest.mark.parametrize("duplicate", [pickle.dumps, copy.copy, copy.deepcopy])
def test_it_cannot_be_pickled_or_copied(duplicate: object) -> None:
    """A client holds connections and a key: the error says to make one per process."""
    with pytest.raises(ConfigurationError, match="one per process"):
        duplicate(AsyncClient(KEY))


@pytest.mark.parametrize("kind", [AsyncClient, Client])
@pytest.mark.parametrize(
    ("part", "method"), [("images", "generate"), ("catalog", "list"), ("account", "usage")]
)
def test_no_part_of_it_is_pickled(kind: type, part: str, method: str) -> None:
    """Neither a resource nor its method crosses to another process: with it would go the key."""
    resource = getattr(kind(KEY), part)
    for thing in (resource, getattr(resource, method)):
        with pytest.raises(ConfigurationError, match="one per process"):
            pickle.dumps(thing)


@pytest.mark.parametrize("kind", [AsyncClient, Client])
@pytest.mark.parametrize("headers", [{}, {"X-Gateway": "opensesame-gateway"}])
def test_nothing_that_it_holds_is_pickled_with_the_key(kind: type, headers: dict[str, str]) -> None:
    """Whatever a client holds, at any depth, refuses to be pickled or is pickled without its secrets."""
    waiting: list[object] = [kind(KEY, headers=headers)]
    seen: dict[int, object] = {}
    while waiting:
        thing = waiting.pop()
        if id(thing) in seen or not type(thing).__module__.startswith("nanogpt_images"):
            continue
        seen[id(thing)] = thing
        names = [*getattr(thing, "__dict__", ()), *getattr(type(thing), "__slots__", ())]
        waiting += [getattr(thing, name) for name in names if hasattr(thing, name)]
        try:
            pickled = pickle.dumps(thing)
        except (ConfigurationError, AttributeError, TypeError):
            continue
        assert KEY.encode() not in pickled
        assert b"opensesame" not in pickled
    assert len(seen) > 10


def test_plain_http_is_refused() -> None:
    """The key does not cross a network in clear."""
    with pytest.raises(ConfigurationError, match="not https"):
        AsyncClient(KEY, "http://nano-gpt.com")


async def test_a_session_of_the_callers_is_used_and_left_open() -> None:
    """A session handed in stays open when the client closes; it and a transport exclude each other."""
    async with aiohttp.ClientSession() as session:
        async with connected(session=session) as (client, _):
            assert await client.catalog.list()
        assert not session.closed
        with pytest.raises(ConfigurationError, match="not both"):
            AsyncClient(KEY, session=session, transport=ScriptedTransport())


async def test_a_transport_of_the_callers_stays_open() -> None:
    """A transport handed in is the caller's to close."""
    transport = ScriptedTransport(Reply(200, b'{"balance": 3}'))
    async with AsyncClient(KEY, transport=transport) as client:
        assert (await client.account.balance()).usd == 3
    assert not transport.closed


async def test_closing_leaves_no_task() -> None:
    """After the block no task of the client is left, and closing again does no harm."""
    # In a thread, so that this loop has no tasks but the client's.
    with Sandbox.in_thread(requests_per_second=None) as sandbox:
        before = asyncio.all_tasks()
        async with AsyncClient(sandbox.api_key, sandbox.url) as client:
            await asyncio.gather(*(client.images.generate("x", model="tiny-and-fast") for _ in range(3)))
        await client.aclose()
        assert asyncio.all_tasks() == before


async def test_extra_headers_go_to_the_api_and_not_to_signed_urls() -> None:
    """The caller's headers are for the API; a signed URL's host gets neither them nor the key."""
    async with connected(headers={"X-Gateway-Token": "secret"}) as (client, sandbox):
        result = await client.images.generate_openai("x", model="tiny-and-fast", response_format="url")
        await result.images[0].read()
        (visit,) = sandbox.visits
        assert visit.headers["User-Agent"].startswith("nanogpt-images/")
        assert not {"x-gateway-token", "authorization", "x-api-key"} & {
            name.lower() for name in visit.headers
        }
    transport = ScriptedTransport(Reply(200, b"{}"))
    client = AsyncClient(KEY, transport=transport, headers={"X-Gateway-Token": "secret"})
    await client.account.balance()
    assert transport.requests[0].headers["X-Gateway-Token"] == "secret"


@pytest.mark.parametrize(
    ("body", "usd"),
    [
        (b'{"usd_balance":"12.50000000","nano_balance":"0"}', 12.5),
        (b'{"balance":3}', 3.0),
        (b'{"remainingBalance":0}', 0.0),
        (b'{"something":"else"}', None),
        (b"[]", None),
    ],
)
async def test_the_balance(body: bytes, usd: float | None) -> None:
    """The balance is read under the names that occur, and the answer stays reachable as it came."""
    transport = ScriptedTransport(Reply(200, body))
    balance = await AsyncClient(KEY, transport=transport).account.balance()
    assert balance.usd == usd
    assert transport.requests[0].url == "https://nano-gpt.com/api/check-balance"
    assert not transport.requests[0].paid


@pytest.mark.parametrize("auth", ["bearer", "x-api-key"])
async def test_the_balance_is_asked_for_as_documented(auth: str) -> None:
    """`POST /api/check-balance` takes the key in `x-api-key` and no body; the answer is typed."""
    transport = ScriptedTransport(
        Reply(200, b'{"usd_balance":"1.5","nano_balance":"0.25","nanoDepositAddress":"nano_1abc"}')
    )
    headers = {"X-Gateway-Token": "secret", "X-API-Key": "other"}
    client = AsyncClient(KEY, transport=transport, auth=auth, headers=headers)
    balance = await client.account.balance()
    assert (balance.usd, balance.nano_balance, balance.nano_deposit_address) == (1.5, 0.25, "nano_1abc")
    (request,) = transport.requests
    assert (request.method, request.body) == ("POST", None)
    assert [name for name, value in request.headers.items() if KEY in value] == ["x-api-key"]
    assert request.headers["X-Gateway-Token"] == "secret"
    assert "Authorization" not in request.headers
    async with connected(auth=auth) as (client, _):
        real = await client.account.balance()
        assert (real.usd, real.nano_balance) == (100, 0)
        assert real.nano_deposit_address is not None


async def test_usage() -> None:
    """Usage of some days comes with its totals and by model."""
    async with connected(sandbox={"clock": lambda: 1_790_000_000}) as (client, _):
        for model in ("tiny-and-fast", "tiny-and-fast", "batchy/ten"):
            await client.images.generate("x", model=model)
        usage = await client.account.usage(date(2026, 9, 20), "2026-09-21")
        nothing = await client.account.usage("2020-01-01", "2020-01-02")
        assert await client.account.usage() == attrs.evolve(usage, raw=ANY)
        with pytest.raises(BadRequestError, match="future"):
            await client.account.usage("2026-09-20", "2026-09-22")
    assert (usage.requests, usage.cost_usd, usage.refunded_usd) == (3, 0.0012, 0)
    assert {line.model: (line.requests, line.cost_usd) for line in usage.by_model} == {
        "Tiny and Fast": (2, 0.0002),
        "Batchy Ten": (1, 0.001),
    }
    assert (nothing.requests, nothing.by_model) == (0, ())


@pytest.mark.parametrize(("timeout_s", "free_s"), [(300.0, 60.0), (20.0, 20.0), (0.5, 5.0)])
async def test_a_listing_waits_no_longer_than_a_generation(timeout_s: float, free_s: float) -> None:
    """Requests that cost nothing have the client's limit, within bounds."""
    transport = ScriptedTransport(Reply(200, b'{"data": []}'))
    async with AsyncClient("sk-nano-test", transport=transport, timeout_s=timeout_s) as client:
        await client.catalog.models()
    assert transport.requests[0].timeout_s == free_s
