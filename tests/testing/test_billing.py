"""`assert_billed`: what a test expects to have been paid for."""

from __future__ import annotations

import pytest

from nanogpt_images import RequestTimeoutError, RetryPolicy, ServerError
from nanogpt_images.sandbox import BlockingSandbox, Fault, Sandbox
from nanogpt_images.sync.client import Client
from nanogpt_images.testing import assert_billed

MODEL = "tiny-and-fast"


@pytest.fixture
def sandbox():
    with Sandbox.in_thread(requests_per_second=None) as running:
        yield running


@pytest.fixture
def client(sandbox: BlockingSandbox):
    with Client(sandbox.api_key, sandbox.url, retry=RetryPolicy.none(), timeout_s=1) as made:
        yield made


def test_passes_on_what_was_billed(client: Client, sandbox: BlockingSandbox) -> None:
    """Requests, images and money of all billed requests, each where it is given."""
    cost = sum(client.images.generate("a fox", model=MODEL, n=n).cost_usd or 0 for n in (1, 2))
    assert_billed(sandbox, requests=2, images=3, usd=cost)
    assert_billed(sandbox, usd=cost)


@pytest.mark.parametrize(
    ("expected", "text"),
    [
        ({"requests": 2}, "requests: expected 2, billed 1"),
        ({"images": 0}, "images: expected 0, billed 1"),
        ({"usd": 7}, "usd: expected 7, billed 0."),
    ],
)
def test_failure_tells_the_story(
    client: Client, sandbox: BlockingSandbox, expected: dict[str, float], text: str
) -> None:
    """The text holds expected and actual, and a line for each request: model, prompt, money, answer, fault."""
    sandbox.set_faults(Fault("500_billed"))
    with pytest.raises(ServerError):
        client.images.generate("a fox", model=MODEL)
    with pytest.raises(AssertionError) as caught:
        assert_billed(sandbox, **expected)
    assert text in str(caught.value)
    assert f"1. {MODEL} n=None 'a fox': 1 image(s), billed $" in str(caught.value)
    assert "answered 500, fault 500_billed" in str(caught.value)


def test_waits_for_what_is_still_at_work() -> None:
    """A request that the client gave up on is looked at once the sandbox has ended it."""
    with Sandbox.in_thread(latency_s=0.5) as sandbox:
        with (
            Client(sandbox.api_key, sandbox.url, timeout_s=0.1) as client,
            pytest.raises(RequestTimeoutError),
        ):
            client.images.generate("a fox", model=MODEL, validate=False)
        assert_billed(sandbox, requests=1)


def test_expecting_nothing_is_refused(sandbox: BlockingSandbox) -> None:
    """An assertion that cannot fail is a mistake."""
    with pytest.raises(ValueError, match="at least one"):
        assert_billed(sandbox)
