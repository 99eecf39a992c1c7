"""What the service documents about images, operation by operation: supported, or left out for a reason."""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager, suppress
from email.parser import BytesParser
from pathlib import Path
from urllib.parse import parse_qsl, urlsplit

import pytest
from fakes import connected
from operations import COMMON_ERRORS, OPERATIONS, Operation

import nanogpt_images as ngi
from nanogpt_images.wire.failures import decode_failure

SUPPORTED = [operation for operation in OPERATIONS if operation.supported]
MODERATION = {"moderation": "true", "moderation-model": "some-model"}


class Spy(ngi.AiohttpTransport):
    """Keeps the method, the path and the names of all fields of each request."""

    def __init__(self) -> None:
        super().__init__()
        self.sent: list[tuple[str, str, set[str]]] = []

    @asynccontextmanager
    async def send(self, request: ngi.HttpRequest) -> AsyncGenerator[ngi.HttpResponse]:
        url = urlsplit(request.url)
        names = {name for name, _ in parse_qsl(url.query)} | {name.lower() for name in request.headers}
        if isinstance(request.body, bytes):
            names |= json.loads(request.body).keys()
        elif request.body is not None:
            names |= form_names(
                request.body.content_type, b"".join([chunk async for chunk in request.body.chunks()])
            )
        self.sent.append((request.method, url.path, names))
        async with super().send(request) as response:
            yield response


def form_names(content_type: str, body: bytes) -> set[str]:
    """The names of a form's fields, by the parser of the standard library."""
    form = BytesParser().parsebytes(b"Content-Type: " + content_type.encode() + b"\r\n\r\n" + body)
    return {str(part.get_param("name", header="content-disposition")) for part in form.get_payload()}


def name_of(operation: Operation) -> str:
    return f"{operation.method} {operation.path}"


@pytest.mark.parametrize("operation", OPERATIONS, ids=name_of)
def test_each_is_supported_or_left_out_for_a_reason(operation: Operation) -> None:
    """No operation is both or neither, and a supported one is a call of both clients."""
    assert bool(operation.supported) is not bool(operation.left_out)
    assert bool(operation.supported) is bool(operation.calls)
    if operation.supported:
        resource, call = operation.supported.split(".")
        with ngi.Client("sk-nano-x") as blocking:
            assert callable(getattr(getattr(blocking, resource), call))
            assert callable(getattr(getattr(ngi.AsyncClient("sk-nano-x"), resource), call))


@pytest.mark.parametrize("operation", SUPPORTED, ids=name_of)
async def test_the_client_knows_every_field(operation: Operation) -> None:
    """The calls send each documented field to the documented path, but for those that are left out for a reason."""
    spy = Spy()
    path = operation.path.partition(" ")[0].replace("{id}", "hidream")
    async with connected(transport=spy, headers=MODERATION, retry=ngi.RetryPolicy.none()) as (client, _):
        for call in operation.calls:
            # Not every combination of fields is one that a model takes.
            with suppress(ngi.StatusError):
                await call(client)
    await spy.aclose()
    sent = [names for method, to, names in spy.sent if (method, to) == (operation.method, path)]
    assert sent
    known = set().union(*sent)
    assert known.isdisjoint(operation.fields_left_out)
    assert set(operation.fields) <= known | operation.fields_left_out.keys()


@pytest.mark.parametrize("operation", SUPPORTED, ids=name_of)
def test_the_client_knows_every_error(operation: Operation) -> None:
    """Each documented code keeps its name and becomes an error of a class of its own status."""
    for code, status in operation.errors.items():
        for body in ({"error": {"message": "x", "code": code}, "code": code}, {"error": "x", "code": code}):
            error = decode_failure(status, {}, json.dumps(body).encode(), target="m", paid=True)
            assert (error.code, error.status) == (code, status)
            assert type(error) is not ngi.StatusError


async def test_the_sandbox_serves_what_is_supported() -> None:
    """Each path and alias is there: none answers 404 for the path, or 405."""
    async with connected() as (client, sandbox):
        import aiohttp

        async with aiohttp.ClientSession() as session:
            for operation in SUPPORTED:
                for path in (operation.path.partition(" ")[0], *operation.aliases):
                    url = f"{sandbox.url}{path.replace('{id}', 'hidream')}"
                    headers = {"Authorization": f"Bearer {client._options.api_key}"}
                    async with session.request(operation.method, url, headers=headers) as response:
                        assert "There is nothing at" not in await response.text(), path
                        assert response.status != 405, path


def test_the_documentation_names_them_all() -> None:
    """The page on the service has each path, with the call or the reason."""
    text = (Path(__file__).parent.parent / "docs" / "service.md").read_text()
    for operation in OPERATIONS:
        for path in (operation.path.partition(" ")[0], *operation.aliases):
            assert path in text, path
        assert (operation.supported or operation.left_out) in text, operation
    assert COMMON_ERRORS.keys() >= {"model_not_found"}
