"""The key is nowhere but in the header that carries it, whatever goes wrong and whoever looks."""

from __future__ import annotations

import asyncio
import base64
import json
import logging
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path

import pytest
from exposure import SPELLINGS, Ear, contents, listening, reveals, shown
from fakes import PNG, Reply, ScriptedTransport
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from nanogpt_images import (
    AiohttpTransport,
    AsyncClient,
    HttpRequest,
    HttpResponse,
    NanoGPTError,
    RetryPolicy,
    StatusError,
    read_provenance,
)
from nanogpt_images.gallery import write_gallery
from nanogpt_images.integrations.opentelemetry import instrument
from nanogpt_images.sandbox import Fault, Sandbox
from nanogpt_images.sandbox.faults.kinds import KINDS

# Of no known shape, as a gateway's may be: no pattern finds it, only care does.
KEY = "opensesame.team7+gateway"
MODEL = "tiny-and-fast"
ROWS = [{"prompt": f"prompt {number}", "model": MODEL, "key": f"row{number}"} for number in range(3)]


@pytest.fixture
def ear() -> Iterator[Ear]:
    with listening() as ear:
        yield ear


@asynccontextmanager
async def troubled(kind: str, auth: str) -> AsyncIterator[tuple[AsyncClient, Sandbox]]:
    """A client of a sandbox where this goes wrong, on a loop in debug mode."""
    asyncio.get_running_loop().set_debug(True)
    fault = Fault(kind, after_s=0.001)
    async with (
        Sandbox(requests_per_second=None, key=KEY, faults=[fault]) as sandbox,
        AsyncClient(
            KEY,
            sandbox.url,
            auth=auth,
            requests_per_second=None,
            max_image_bytes=2**20,
            retry=RetryPolicy(initial_delay_s=0, max_retry_after_s=0, max_attempts=2),
        ) as client,
    ):
        yield client, sandbox


async def seen_of(client: AsyncClient, out: Path, *, url: bool) -> list[str]:
    """Generate once, run a batch, and gather what can be seen of both."""
    texts: list[str] = []
    try:
        if url:
            result = await client.images.generate_openai("a fox", model=MODEL, response_format="url")
            await result.images[0].save(out / "fox")
        else:
            result = await client.images.generate_to(out, "a fox", model=MODEL, name="fox")
        texts += shown(result)
        texts += [text for image in result.images for text in shown(image)]
    except NanoGPTError as error:
        texts += shown(error)
    try:
        parameters = {"route": "openai", "response_format": "url"} if url else {}
        async with client.batch([{**row, **parameters} for row in ROWS], out=out) as run:
            async for event in run:
                texts += shown(event)
                texts += shown(event.error)
        texts += shown(run.report)
    except NanoGPTError as error:
        texts += shown(error)
    return texts + shown(client) + contents(out)


@pytest.mark.parametrize("kind", KINDS)
async def test_no_fault_brings_the_key_to_light(kind: str, ear: Ear, tmp_path: Path) -> None:
    """Neither results, errors with their tracebacks, logs nor files hold the key, whatever the service does."""
    url = KINDS[kind].delivery == "url" or kind.startswith("url_")
    async with troubled(kind, auth="bearer") as (client, sandbox):
        texts = await seen_of(client, tmp_path, url=url)
        visits = repr(sandbox.visits)
    assert len(texts) > 5
    assert not [text for text in texts + ear.heard if KEY in text]
    assert KEY not in visits


@pytest.mark.parametrize("kind", ["redirect", "reset_after_body", "401"])
async def test_the_other_header_is_kept_as_well(kind: str, ear: Ear, tmp_path: Path) -> None:
    """`x-api-key` is as secret as `Authorization`."""
    async with troubled(kind, auth="x-api-key") as (client, sandbox):
        texts = await seen_of(client, tmp_path, url=False)
        visits = repr(sandbox.visits)
    assert not [text for text in texts + ear.heard if KEY in text]
    assert KEY not in visits


def planted_repr(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(AsyncClient, "__repr__", lambda client: f"AsyncClient({client._options.api_key!s})")


def planted_locals(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("nanogpt_images.transport.options.Secret", str)


def planted_log(monkeypatch: pytest.MonkeyPatch) -> None:
    send = AiohttpTransport.send

    def sent(transport: AiohttpTransport, request: HttpRequest) -> object:
        logging.getLogger("nanogpt_images").debug("headers: %s", [*map(str, request.headers.values())])
        return send(transport, request)

    monkeypatch.setattr(AiohttpTransport, "send", sent)


@pytest.mark.parametrize("plant", [planted_repr, planted_locals, planted_log])
async def test_a_leak_would_be_found(
    plant: Callable[[pytest.MonkeyPatch], None], monkeypatch: pytest.MonkeyPatch, ear: Ear, tmp_path: Path
) -> None:
    """A key in a repr, among the local variables of a traceback, or in a log record fails the tests above."""
    plant(monkeypatch)
    async with troubled("reset_after_body", auth="bearer") as (client, _):
        texts = await seen_of(client, tmp_path, url=False)
    assert [text for text in texts + ear.heard if KEY in text]


ECHOES = [
    (200, "text/html", "<html>unknown client %s</html>"),
    (200, "application/json", '{"created": 1, "key": "%s"}'),
    (200, "application/json", '{"data": [{"b64_json": "%s"}]}'),
    (
        401,
        "application/json",
        '{"error": {"message": "bad key %s", "code": "%s", "type": "%s", "param": "%s"}}',
    ),
    (402, "application/json", '{"error": "no money", "payment": {"for": ["%s"]}, "requestId": "%s"}'),
    (500, "text/plain", "Authorization: Bearer %s"),
]


@pytest.mark.parametrize(("status", "kind", "text"), ECHOES)
@pytest.mark.parametrize("call", ["generate", "list", "balance", "batch"])
async def test_a_service_that_echoes_the_key_changes_nothing(
    status: int, kind: str, text: str, call: str, ear: Ear, tmp_path: Path
) -> None:
    """What a gateway repeats of a request, in its body or its headers, stands in no error, log or file."""
    headers = {"Content-Type": kind, "X-Request-ID": KEY, "Location": f"/{KEY}"}
    transport = ScriptedTransport(*[Reply(status, text.replace("%s", KEY).encode(), headers)] * 9)
    async with AsyncClient(
        KEY, "http://127.0.0.1:9", transport=transport, retry=RetryPolicy.none(), requests_per_second=None
    ) as client:
        calls = {
            "generate": lambda: client.images.generate("p", model="m", validate=False),
            "list": client.catalog.list,
            "balance": client.account.balance,
            "batch": lambda: client.run_batch(ROWS, out=tmp_path, validate=False),
        }
        try:
            texts = shown(await calls[call]())
        except NanoGPTError as error:
            texts = [str(error), repr(error), repr(vars(error)), repr(error.__cause__)]
    assert transport.requests
    assert not [text for text in texts + ear.heard + contents(tmp_path) if KEY in text]


PNG64 = base64.b64encode(PNG).decode()
ANSWERS = [
    (200, '{"data": [{"b64_json": "PNG", "revised_prompt": "%s", "%s": 1}], "cost": 0.1}'),
    (200, '{"data": [{"b64_json": "PNG"}], "paymentSource": "%s", "requestId": "%s", "cost": "%s"}'),
    (200, '{"more": {"deep": [["%s"], {"%s": "%s"}]}, "data": [{"b64_json": "PNG"}]}'),
    (200, '{"data": [{"url": "https://files.example/%s?token=%s"}]}'),
    (200, '{"data": [], "note": "%s"}'),
    (200, '{"note": "%s", "data": [{"b64_json": "PNG"}]'),
    (200, "not JSON %s"),
    (400, '{"error": {"message": "bad %s", "code": "%s", "type": "%s", "param": "%s"}, "a": {"%s": ["%s"]}}'),
    (402, '{"error": "no money", "payment": {"for": ["%s"]}, "requestId": "%s"}'),
    (500, '{"error": "this request has been billed %s"}'),
    (500, "PADDING Authorization: Bearer %s"),
    (500, "<html><p>%s</p></html>"),
]


@pytest.mark.parametrize(("status", "text"), ANSWERS)
def test_no_spelling_in_any_field_is_shown(status: int, text: str, tmp_path: Path) -> None:
    """Whatever a service echoes, and wherever: not in results, errors, events, logs, spans, files or the gallery."""
    echo = " ".join(spell(KEY) for spell in SPELLINGS.values())
    body = text.replace("%s", echo).replace("PNG", PNG64).replace("PADDING", "x" * 190)
    headers = {"X-Request-ID": echo, "Location": f"/{echo}", "Retry-After": echo, "x-cost": echo}
    with listening() as ear:
        texts = asyncio.run(_all_that_is_shown(Reply(status, body.encode(), headers), tmp_path))
    texts += [repr(read_provenance(path)) for path in (tmp_path / "images").glob("*.png")]
    assert not [text for text in texts + ear.heard + contents(tmp_path) if reveals(text, KEY)]


class _Files(ScriptedTransport):
    """Signed URLs lead to an image; all else follows the script."""

    def send(self, request: HttpRequest) -> AbstractAsyncContextManager[HttpResponse]:
        if request.url.startswith("https://files.example/"):
            self.script.insert(0, Reply(200, PNG))
        return super().send(request)


async def _all_that_is_shown(reply: Reply, out: Path) -> list[str]:
    exporter, provider = InMemorySpanExporter(), TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    transport = _Files(*[reply] * 9)
    texts: list[str] = []
    async with AsyncClient(
        KEY, "http://127.0.0.1:9", transport=transport, retry=RetryPolicy.none(), requests_per_second=None
    ) as client:
        instrument(client, prompts=True, tracer_provider=provider)
        client.observe(lambda event: texts.extend([repr(event), repr(getattr(event, "result", None))]))
        try:
            texts += _words(await client.images.generate("p", model="m", validate=False))
        except NanoGPTError as error:
            texts += [*_words(error), repr(error.__cause__), repr(error.__context__)]
        async with client.batch(ROWS[:1], out=out, validate=False, provenance=True) as run:
            async for event in run:
                texts += [*_words(event), *_words(event.error), *_words(event.result)]
        texts += shown(run.report)
    await write_gallery(out)
    return texts + [span.to_json() for span in exporter.get_finished_spans()]


def _words(thing: object) -> list[str]:
    """What can be read of an object and of all that it holds."""
    names = [*getattr(thing, "__dict__", ())]
    names += [field.name for field in getattr(type(thing), "__attrs_attrs__", ())]
    return [str(thing), repr(thing), *(repr(getattr(thing, name, None)) for name in names)] + [
        repr(image.extra) for image in getattr(thing, "images", ())
    ]


async def test_a_redirect_and_a_refusal_of_a_download_show_no_key() -> None:
    """The host of a signed URL may belong to the same gateway."""
    for reply in (
        Reply(302, b"", {"Location": f"file:///{KEY}"}),
        Reply(403, f'{{"error": "{KEY}"}}'.encode(), {"X-Request-ID": KEY}),
    ):
        transport = ScriptedTransport(reply)
        async with AsyncClient(
            KEY, "http://127.0.0.1:9", transport=transport, retry=RetryPolicy.none()
        ) as client:
            with pytest.raises(NanoGPTError) as caught:
                await client._downloads.read("https://files.example/a.png")
        assert KEY not in repr([_words(caught.value), _words(caught.value.__cause__)])


async def test_a_foreign_origin_never_sees_the_key(tmp_path: Path) -> None:
    """Redirects of either route, absolute `endpoints` URLs and the hosts of signed URLs are met without it."""
    async with Sandbox(requests_per_second=None, key=KEY) as sandbox:
        foreign = f"{sandbox.files_url}/steal"
        listing = {"data": [{"id": MODEL, "endpoints": foreign}]}
        real = AiohttpTransport()

        class Meddling:
            """Serves one listing of its own and hands everything else on."""

            def send(self, request: HttpRequest) -> AbstractAsyncContextManager[HttpResponse]:
                if request.url.endswith("/images/models"):
                    return ScriptedTransport(Reply(body=json.dumps(listing).encode())).send(request)
                return real.send(request)

            async def aclose(self) -> None:
                await real.aclose()

        async with AsyncClient(
            KEY, sandbox.url, transport=Meddling(), requests_per_second=None, retry=RetryPolicy.none()
        ) as client:
            await client.catalog.endpoints(MODEL)
            result = await client.images.generate_openai("a fox", model=MODEL, response_format="url")
            await result.images[0].save(tmp_path / "fox")
            sandbox.set_faults(Fault("redirect"))
            for generate in (client.images.generate, client.images.generate_openai):
                with pytest.raises(StatusError):
                    await generate("a fox", model=MODEL)
        await real.aclose()
        assert [visit.path for visit in sandbox.visits if "steal" in visit.path] == []
        assert sandbox.visits
        assert KEY not in repr(sandbox.visits)
