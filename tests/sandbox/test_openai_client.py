"""The official openai package works against the sandbox's OpenAI-compatible route."""

from __future__ import annotations

import base64
import urllib.request
from collections.abc import Iterator

import openai
import pytest
from pictures import changed_outside, clear_mask, plain

from nanogpt_images.sandbox import BlockingSandbox, Sandbox


@pytest.fixture
def sandbox() -> Iterator[BlockingSandbox]:
    with Sandbox.in_thread(requests_per_second=None) as running:
        yield running


@pytest.fixture
def client(sandbox: BlockingSandbox, request: pytest.FixtureRequest) -> Iterator[openai.OpenAI]:
    """A client at each of the addresses that the service documents for other SDKs."""
    with openai.OpenAI(api_key=sandbox.api_key, base_url=sandbox.url + request.param, max_retries=0) as made:
        yield made


pytestmark = pytest.mark.parametrize("client", ["/v1", "/api/v1"], indirect=True)


def test_b64_json(client: openai.OpenAI, sandbox: BlockingSandbox) -> None:
    """`b64_json` brings two PNG files, and the ledger one request."""
    answer = client.images.generate(
        model="gpt-image-2", prompt="a red fox", n=2, size="1024x1024", response_format="b64_json"
    )
    assert answer.data is not None
    files = [base64.b64decode(image.b64_json or "") for image in answer.data]
    assert [file[:4] for file in files] == [b"\x89PNG"] * 2
    (entry,) = sandbox.ledger.entries
    assert (entry.model, entry.n, entry.images) == ("gpt-image-2", 2, 2)


def test_url(client: openai.OpenAI) -> None:
    """`url` brings a signed URL that can be downloaded without a key."""
    answer = client.images.generate(model="hidream", prompt="a red fox", response_format="url")
    assert answer.data is not None
    assert answer.data[0].b64_json is None
    with urllib.request.urlopen(answer.data[0].url or "") as response:
        assert response.headers["Content-Type"].startswith("image/")
        assert len(response.read()) > 1000


def test_edit_with_a_mask(client: openai.OpenAI, sandbox: BlockingSandbox) -> None:
    """`images.edit` with a mask changes what the mask allows and nothing else."""
    answer = client.images.edit(
        model="flux-lora/inpainting",
        prompt="a hat",
        image=("in.png", plain()),
        mask=("mask.png", clear_mask()),
    )
    assert answer.data is not None
    assert changed_outside(base64.b64decode(answer.data[0].b64_json or "")) == 0
    several = client.images.edit(prompt="a hat", image=[("a.png", plain()), ("b.png", plain())], n=1)
    assert several.data is not None
    assert [entry.route for entry in sandbox.ledger.billed] == ["edit", "edit"]
