"""What a client tells its observers."""

from __future__ import annotations

import asyncio
import logging

import pytest
from fakes import Reply, ScriptedTransport, connected

import nanogpt_images as ngi
from nanogpt_images import AttemptEnded, Charge, ClientEvent, GenerationEnded, GenerationStarted
from nanogpt_images.sandbox import Fault, Sandbox

MODEL = "tiny-and-fast"


def attempts(events: list[ClientEvent]) -> list[AttemptEnded]:
    """The attempts of paid requests."""
    return [event for event in events if isinstance(event, AttemptEnded) and event.paid]


async def test_a_generation_is_told_from_its_start_to_its_end() -> None:
    """Start, free requests, the attempt with its facts, and the end with the caller's own result."""
    events: list[ClientEvent] = []
    async with connected(on_event=events.append) as (client, _):
        result = await client.images.generate("a fox", model=MODEL)
    started, *between, ended = events
    assert isinstance(started, GenerationStarted)
    assert isinstance(ended, GenerationEnded)
    assert ended.result is result
    assert (started.id, started.request.prompt) == (ended.id, "a fox")
    assert [event.method for event in between if isinstance(event, AttemptEnded)] == ["GET", "GET", "POST"]
    (attempt,) = attempts(events)
    assert (attempt.status, attempt.attempt, attempt.model, attempt.error) == (200, 1, MODEL, None)
    assert attempt.request_id == result.request_id
    assert attempt.url.endswith("/api/v1/images")


async def test_each_attempt_is_told_with_its_number_and_charge() -> None:
    """A refusal that is repeated gives two attempts of one generation."""
    events: list[ClientEvent] = []
    async with connected(Fault("500_not_billed", times=1), on_event=events.append) as (client, _):
        await client.images.generate("a fox", model=MODEL)
    assert [(a.attempt, a.status, a.charge) for a in attempts(events)] == [
        (1, 500, Charge.REJECTED),
        (2, 200, None),
    ]
    assert sum(isinstance(event, GenerationEnded) for event in events) == 1


async def test_a_lost_answer_is_told_as_unknown() -> None:
    """The error is the one that the caller gets, and there is no status."""
    events: list[ClientEvent] = []
    async with connected(Fault("reset_after_body"), on_event=events.append) as (client, _):
        with pytest.raises(ngi.OutcomeUnknownError) as caught:
            await client.images.generate("a fox", model=MODEL)
    (attempt,) = attempts(events)
    assert (attempt.status, attempt.error, attempt.charge) == (None, caught.value, Charge.UNKNOWN)
    assert isinstance(events[-1], GenerationEnded)
    assert events[-1].error is caught.value


async def test_a_cancelled_generation_is_told() -> None:
    """Cancelling after the body left is an attempt whose charge is unknown."""
    events: list[ClientEvent] = []
    begun = asyncio.Event()

    async def stall() -> None:
        begun.set()
        await asyncio.Event().wait()

    transport = ScriptedTransport(Reply(body=[stall]))
    async with ngi.AsyncClient("key", transport=transport, on_event=events.append) as client:
        call = asyncio.create_task(client.images.generate("a fox", model="m", validate=False))
        await begun.wait()
        call.cancel()
        with pytest.raises(asyncio.CancelledError):
            await call
    (attempt,) = attempts(events)
    assert isinstance(attempt.error, asyncio.CancelledError)
    assert attempt.charge is Charge.UNKNOWN
    assert isinstance(events[-1], GenerationEnded)
    assert isinstance(events[-1].error, asyncio.CancelledError)


async def test_a_refusal_before_sending_is_told() -> None:
    """A budget that is used up ends a generation without an attempt."""
    events: list[ClientEvent] = []
    async with connected(on_event=events.append, budget_usd=0) as (client, _):
        with pytest.raises(ngi.BudgetExceededError):
            await client.images.generate("a fox", model=MODEL)
    assert attempts(events) == []
    assert isinstance(events[-1], GenerationEnded)
    assert isinstance(events[-1].error, ngi.BudgetExceededError)


async def test_what_an_observer_raises_loses_no_image(caplog: pytest.LogCaptureFixture) -> None:
    """It is logged, and the caller gets the image that is paid for."""

    def broken(_: ClientEvent) -> None:
        raise LookupError("boom")

    async with connected(on_event=broken) as (client, _):
        with caplog.at_level(logging.ERROR, "nanogpt_images"):
            assert (await client.images.generate("a fox", model=MODEL)).images
    assert "an observer failed on GenerationEnded" in caplog.text


async def test_observing_begins_and_ends_at_any_time() -> None:
    """Several observers are told each event; one that has left is not told, and may leave twice."""
    first: list[ClientEvent] = []
    second: list[ClientEvent] = []
    async with connected() as (client, _):
        await client.images.generate("a fox", model=MODEL)
        leave = client.observe(first.append)
        client.observe(second.append)
        await client.images.generate("a fox", model=MODEL)
        leave()
        leave()
        await client.images.generate("a fox", model=MODEL)
    assert (len(attempts(first)), len(attempts(second))) == (1, 2)


async def test_a_batch_tells_of_its_generations() -> None:
    """The client's observers see the requests of its batches."""
    events: list[ClientEvent] = []
    async with connected(on_event=events.append) as (client, _):
        await client.run_batch([{"prompt": f"fox {n}", "model": MODEL} for n in range(3)])
    ids = [event.id for event in events if isinstance(event, GenerationEnded)]
    assert sorted(ids) == [1, 2, 3]


def test_the_blocking_client_tells_the_same() -> None:
    """`Client` takes the same callback."""
    events: list[ClientEvent] = []
    with Sandbox.in_thread() as sandbox, ngi.Client(sandbox.api_key, sandbox.url) as client:
        client.observe(events.append)
        client.images.generate("a fox", model=MODEL)
    assert len(attempts(events)) == 1


async def test_a_url_is_told_without_its_secrets(caplog: pytest.LogCaptureFixture) -> None:
    """Downloads are told of as well, and the query of a signed URL is in no event and no log."""
    events: list[ClientEvent] = []
    async with connected(on_event=events.append) as (client, sandbox):
        with caplog.at_level(logging.DEBUG, "nanogpt_images"):
            result = await client.images.generate_openai("a fox", model=MODEL, response_format="url")
            await result.images[0].read()
    query = (result.images[0].url or "").partition("?")[2]
    assert query
    last = events[-1]
    assert isinstance(last, AttemptEnded)
    assert last.url.startswith(sandbox.files_url)
    assert query not in f"{events} {caplog.text}"


async def test_attempts_of_a_download_are_numbered() -> None:
    """A download that is repeated is told of each time; a failure of one costs nothing."""
    events: list[ClientEvent] = []
    async with connected(Fault("url_cut", times=1), on_event=events.append) as (client, _):
        result = await client.images.generate_openai("a fox", model=MODEL, response_format="url")
        events.clear()
        await result.images[0].read()
    first, second = (event for event in events if isinstance(event, AttemptEnded))
    assert (first.attempt, first.status, first.charge) == (1, 200, Charge.NOT_SENT)
    assert (second.attempt, second.status, second.error) == (2, 206, None)
