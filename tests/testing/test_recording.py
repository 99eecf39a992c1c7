"""Recording and replaying transports, around a transport that follows a script."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import attrs
import pytest
from fakes import PNG, Reply, ScriptedTransport

from nanogpt_images import AsyncClient, ConfigurationError, HttpRequest, OutcomeUnknownError
from nanogpt_images.testing import RecordingTransport, ReplayTransport, UnexpectedRequestError

KEY = "sk-nano-00000000-0000-4000-8000-000000000000"
URL = "https://nano-gpt.com/api/v1/images"


def post(prompt: str) -> HttpRequest:
    body = json.dumps({"prompt": prompt, "model": "m"}).encode()
    return HttpRequest(
        method="POST", url=URL, headers={"Authorization": f"Bearer {KEY}"}, body=body, paid=True
    )


async def answer(transport: ReplayTransport | RecordingTransport, request: HttpRequest) -> tuple[int, bytes]:
    async with transport.send(request) as response:
        return response.status, b"".join([chunk async for chunk in response.chunks()])


async def replay_of(file: Path) -> ReplayTransport:
    return await asyncio.to_thread(ReplayTransport, file)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "made" / "fox.json"


async def record(file: Path, *script: Reply, requests: list[HttpRequest]) -> None:
    recording = RecordingTransport(file, ScriptedTransport(*script))
    for request in requests:
        await answer(recording, request)
    await recording.aclose()


async def test_replay_gives_what_was_recorded(file: Path) -> None:
    """Status, headers in any case and body, text or bytes; the body is reported as sent."""
    script = [Reply(402, b'{"error": "no \xc3\xa9clair"}', {"Retry-After": "7"}), Reply(200, PNG)]
    await record(file, *script, requests=[post("a"), HttpRequest(method="GET", url="https://f/a.png?sig=1")])
    replay = await replay_of(file)
    request = post("a")
    async with replay.send(request) as response:
        assert (response.status, response.headers["retry-after"], request.body_begun) == (402, "7", True)
        assert b"".join([chunk async for chunk in response.chunks()]) == script[0].body
    assert await answer(replay, HttpRequest(method="GET", url="https://f/a.png?sig=2")) == (200, PNG)
    assert replay.unused == []


async def test_the_key_stays_out_of_the_file(file: Path) -> None:
    """Neither the request's key nor an echo of it in the answer is written; the prompt is."""
    await record(file, Reply(401, f"bad key {KEY}".encode()), requests=[post("a red fox")])
    text = file.read_text(encoding="utf-8")
    assert KEY not in text
    assert "a red fox" in text


async def test_the_order_of_keys_in_a_body_does_not_matter(file: Path) -> None:
    """A body with the same meaning is the same request."""
    await record(file, Reply(), requests=[post("a")])
    turned = attrs.evolve(post("a"), body=b'{"model":"m","prompt":"a"}')
    assert (await answer(await replay_of(file), turned))[0] == 200


@pytest.mark.parametrize(
    "request_",
    [post("b"), attrs.evolve(post("a"), url=URL + "?x=1"), attrs.evolve(post("a"), method="PUT")],
    ids=["body", "url", "method"],
)
async def test_an_unexpected_request_fails(file: Path, request_: HttpRequest) -> None:
    """Another body, URL or method is refused, and the text says what is recorded."""
    await record(file, Reply(), requests=[post("a")])
    with pytest.raises(UnexpectedRequestError, match=f"not yet used:\n  POST {URL}"):
        await answer(await replay_of(file), request_)


async def test_an_exchange_answers_once(file: Path) -> None:
    """The same request twice needs two recordings; they are given in their order."""
    await record(file, Reply(body=b"1"), Reply(body=b"2"), requests=[post("a"), post("a")])
    replay = await replay_of(file)
    assert [(await answer(replay, post("a")))[1] for _ in range(2)] == [b"1", b"2"]
    with pytest.raises(UnexpectedRequestError, match="no unused answer"):
        await answer(replay, post("a"))


async def test_the_client_does_not_hide_an_unexpected_request(file: Path) -> None:
    """It reaches the test as it is: neither repeated nor turned into an error of the service."""
    await record(file, Reply(), requests=[post("a")])
    async with AsyncClient(KEY, transport=await replay_of(file)) as client:
        with pytest.raises(UnexpectedRequestError, match="image-models"):
            await client.images.generate("a", model="m")


async def test_what_breaks_off_is_not_recorded(file: Path) -> None:
    """A connection that is lost is no answer of the service, however much of it had come."""
    recording = RecordingTransport(
        file,
        ScriptedTransport(Reply(body=b"{", breaks=OutcomeUnknownError("lost")), OutcomeUnknownError("lost")),
    )
    for _ in range(2):
        with pytest.raises(OutcomeUnknownError):
            await answer(recording, post("a"))
    assert recording.cassette.exchanges == []


async def test_an_answer_that_the_client_refuses_is_recorded(file: Path) -> None:
    """What the client makes of an answer does not change what the service said."""
    recording = RecordingTransport(file, ScriptedTransport(Reply(200, b"{}")))
    with pytest.raises(LookupError):
        async with recording.send(post("a")):
            raise LookupError
    assert len(recording.cassette.exchanges) == 1


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"version": 2}', '{"version": 1, "exchanges": [{}]}'])
def test_what_is_no_cassette_is_refused(tmp_path: Path, text: str) -> None:
    """A broken file is named in the error."""
    (tmp_path / "fox.json").write_text(text, encoding="utf-8")
    with pytest.raises(ConfigurationError, match=r"fox\.json"):
        ReplayTransport(tmp_path / "fox.json")


def test_a_missing_cassette_is_named(tmp_path: Path) -> None:
    """The text says to record it."""
    with pytest.raises(ConfigurationError, match=r"cassette .*fox\.json does not exist; record it"):
        ReplayTransport(tmp_path / "fox.json")
