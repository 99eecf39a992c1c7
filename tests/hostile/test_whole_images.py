"""What came whole of an answer that breaks off was paid for, and is kept however it breaks off."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import json
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from urllib.parse import quote

import anyio
import pytest
from fakes import PNG, Reply, ScriptedTransport, connected
from hypothesis import given
from hypothesis import strategies as st

from nanogpt_images import (
    AsyncClient,
    Charge,
    HttpRequest,
    OutcomeUnknownError,
    RequestTimeoutError,
    ResponseDecodeError,
    RetryPolicy,
    TransportError,
)
from nanogpt_images.batch.journal import ImageRecord, Journal
from nanogpt_images.batch.outcomes import Failed
from nanogpt_images.batch.rows import BatchRow
from nanogpt_images.batch.states import State
from nanogpt_images.batch.units import Unit
from nanogpt_images.outputs import MemoryStore
from nanogpt_images.resources.receive import receive
from nanogpt_images.types.parameters import CountRule

MODEL = "tiny-and-fast"
ASKED = 4
IMAGES = [PNG + bytes([number]) * 50 for number in range(ASKED)]
ENTRIES = [json.dumps({"b64_json": base64.b64encode(data).decode()}).encode() for data in IMAGES]
BODY = b'{"created":1,"data":[' + b",".join(ENTRIES) + b'],"cost":0.0004}'
# Where the first, the second … image has come whole.
ENDS = [BODY.index(entry) + len(entry) - 1 for entry in ENTRIES]


def whole_at(cut: int) -> list[int]:
    return [index for index, end in enumerate(ENDS) if end <= cut]


class Halting(ScriptedTransport):
    """GETs go through another client's transport; the answer of a POST comes up to a place, and then nothing."""

    def __init__(
        self,
        client: AsyncClient,
        cut: int,
        *,
        body: bytes = BODY,
        breaks: Exception | None = None,
        ends: bool = False,
    ) -> None:
        pieces = [body[:cut]] if ends or breaks is not None else [body[:cut], self._wait]
        super().__init__(*[Reply(200, pieces, breaks=breaks)] * 2)
        self._real = client._transport
        self.arrived = asyncio.Event()

    async def _wait(self) -> None:
        self.arrived.set()
        await asyncio.Event().wait()

    def send(self, request: HttpRequest):
        return self._real.send(request) if request.method == "GET" else super().send(request)


def timeout() -> RequestTimeoutError:
    return RequestTimeoutError("no complete answer", charge=Charge.UNKNOWN, status=200)


async def once(operation: Callable[[], Awaitable[object]], transport: Halting) -> None:
    task = asyncio.ensure_future(operation())
    await transport.arrived.wait()
    task.cancel()
    await asyncio.wait([task])
    assert task.cancelled()


async def twice(operation: Callable[[], Awaitable[object]], transport: Halting) -> None:
    task = asyncio.ensure_future(operation())
    await transport.arrived.wait()
    task.cancel()
    for _ in range(3):
        await asyncio.sleep(0)
        task.cancel()
    await asyncio.wait([task])
    assert task.cancelled()


async def by_scope(operation: Callable[[], Awaitable[object]], transport: Halting) -> None:
    async with anyio.create_task_group() as group:

        async def wait() -> None:
            await transport.arrived.wait()
            group.cancel_scope.cancel()

        group.start_soon(wait)
        await operation()


WAYS = pytest.mark.parametrize("cancel", [once, twice, by_scope])
CUTS = pytest.mark.parametrize(
    "cut", [5, *ENDS, len(BODY) - 1], ids=lambda cut: f"{len(whole_at(cut))}-{cut}"
)


@given(st.integers(0, len(BODY) - 1), st.integers(1, 200))
def test_cancelling_keeps_what_a_timeout_at_the_same_byte_keeps(cut: int, size: int) -> None:
    """Wherever it strikes, however the bytes were cut into chunks."""
    pieces = [BODY[start : min(start + size, cut)] for start in range(0, cut, size)]

    async def kept(failure: BaseException) -> Sequence[bytes | None]:
        async def fail() -> None:
            raise failure

        store = MemoryStore()
        with pytest.raises((asyncio.CancelledError, RequestTimeoutError)):
            await receive(
                Reply(200, [*pieces, fail]),
                store,
                model="m",
                max_image_bytes=2**20,
                as_result=lambda received: received,
            )
        return [image.data for image in store.kept]

    expected = [IMAGES[index] for index in whole_at(cut)]
    assert asyncio.run(kept(timeout())) == asyncio.run(kept(asyncio.CancelledError())) == expected


@WAYS
@CUTS
async def test_generate_to(cancel, cut: int, tmp_path: Path) -> None:
    """Images that came before the cancellation are files, and nothing half written is left."""
    async with connected() as (real, sandbox):
        transport = Halting(real, cut)
        async with AsyncClient(sandbox.api_key, sandbox.url, transport=transport) as client:
            await cancel(
                lambda: client.images.generate_to(tmp_path, "x", model=MODEL, n=ASKED, name="fox"), transport
            )
    files = sorted(tmp_path.iterdir())
    assert [path.read_bytes() for path in files] == [IMAGES[index] for index in whole_at(cut)]
    assert all(path.name.startswith("fox") for path in files)


@WAYS
@CUTS
async def test_batch(cancel, cut: int, tmp_path: Path) -> None:
    """They are in the results; a request that has all of them is done, any other is unknown, and no retry pays for the first."""
    row = {"prompt": "x", "model": MODEL, "count": ASKED, "key": "fox"}
    async with connected() as (real, sandbox):
        transport = Halting(real, cut)
        async with AsyncClient(sandbox.api_key, sandbox.url, transport=transport) as client:
            await cancel(lambda: client.run_batch([row], out=tmp_path), transport)
            count = len(whole_at(cut))
            found = await look(tmp_path)
            assert found == ({State.DONE if count == ASKED else State.UNKNOWN: 1}, IMAGES[:count])
            async with client.retry_batch(tmp_path) as rest:
                await rest.wait()
            assert len(transport.requests) == 1


@WAYS
@pytest.mark.parametrize("count", range(ASKED + 1))
async def test_links_of_a_cancelled_batch(cancel, count: int, tmp_path: Path) -> None:
    """Signed URLs that came whole before the cancellation are downloaded by the next run, and not paid for again."""
    row = {"prompt": "x", "model": MODEL, "count": ASKED, "route": "openai", "response_format": "url"}
    async with connected() as (real, sandbox):
        answer = await real.images.generate_openai("x", model=MODEL, n=ASKED, response_format="url")
        entries = [json.dumps({"url": image.url}).encode() for image in answer.images]
        body = b'{"data":[' + b",".join(entries) + b"]}"
        cut = body.index(entries[count - 1]) + len(entries[count - 1]) if count else 5
        transport = Halting(real, cut, body=body)
        async with AsyncClient(sandbox.api_key, sandbox.url, transport=transport) as client:
            await cancel(lambda: client.run_batch([row], out=tmp_path), transport)
            assert await look(tmp_path) == ({State.UNKNOWN: 1}, [])
            async with client.retry_batch(tmp_path) as rest:
                await rest.wait()
            states, images = await look(tmp_path)
            assert states == {State.DONE if count == ASKED else State.UNKNOWN: 1}
            assert (len(images), rest.report.images) == (count, count)
            assert len(transport.requests) == 1


async def look(out: Path) -> tuple[dict[State, int], list[bytes]]:
    """The states of the journal, and the images that `results.jsonl` names."""
    async with await Journal.open(out, service=None, read_only=True) as journal:
        states = {state: units for state, units in (await journal.totals()).units.items() if units}
    results = out / "results.jsonl"
    lines = [json.loads(line) for line in results.read_text().splitlines()] if results.exists() else []
    files = {f"images/{path.name}" for path in (out / "images").iterdir()}
    assert files == {line["file"] for line in lines}
    return states, [
        (out / line["file"]).read_bytes() for line in sorted(lines, key=lambda line: line["index"])
    ]


# -- All images came, and only the end of the answer is missing --------------------------------------------


LINKS = json.dumps({"created": 1, "data": [{"url": f"http://localhost/{n}.png"} for n in range(4)]}).encode()
ENDINGS: dict[str, dict[str, object]] = {
    "timeout": {"breaks": timeout()},
    "reset": {"breaks": OutcomeUnknownError("broke", charge=Charge.UNKNOWN, status=200)},
    "truncated": {"ends": True},
}
ENDING = pytest.mark.parametrize("ending", ENDINGS)


@ENDING
@pytest.mark.parametrize("cut", range(ENDS[-1], len(BODY)))
async def test_an_answer_whose_images_all_came_is_a_success_with_a_problem(ending: str, cut: int) -> None:
    """To raise would ask the caller to pay again for what is there."""
    async with connected() as (real, sandbox):
        transport = Halting(real, cut, **ENDINGS[ending])
        async with AsyncClient(sandbox.api_key, sandbox.url, transport=transport) as client:
            result = await client.images.generate("x", model=MODEL, n=ASKED)
    assert [image.data for image in result.images] == IMAGES
    (problem,) = result.problems
    assert "did not end" in problem
    assert len(transport.requests) == 1


@ENDING
@pytest.mark.parametrize("cut", range(LINKS.rindex(b"}]") + 1, len(LINKS)))
async def test_an_answer_whose_urls_all_came_is_a_success_with_a_problem(ending: str, cut: int) -> None:
    """The images can be had; where one URL was cut, the others are in the error's `partial`."""
    async with connected() as (real, sandbox):
        transport = Halting(real, cut, body=LINKS, **ENDINGS[ending])
        async with AsyncClient(sandbox.api_key, sandbox.url, transport=transport) as client:
            result = await client.images.generate_openai("x", model=MODEL, n=ASKED, response_format="url")
    assert [image.url for image in result.images] == [f"http://localhost/{n}.png" for n in range(4)]
    assert len(result.problems) == 1


SVGS = [f"<svg>{number}</svg>".encode() for number in range(4)]
DRAWN = json.dumps(
    {"created": 1, "data": [{"url": f"data:image/svg+xml,{quote(svg)}"} for svg in SVGS]}
).encode()


@ENDING
@pytest.mark.parametrize("cut", range(DRAWN.rindex(b"}]") + 1, len(DRAWN)))
async def test_images_written_out_in_urls_are_kept_too(ending: str, cut: int, tmp_path: Path) -> None:
    """An SVG in a data URL is an image that came, in memory and as a file."""
    async with connected() as (real, sandbox):
        transport = Halting(real, cut, body=DRAWN, **ENDINGS[ending])
        async with AsyncClient(sandbox.api_key, sandbox.url, transport=transport) as client:
            result = await client.images.generate("x", model=MODEL, n=ASKED)
            saved = await client.images.generate_to(tmp_path, "x", model=MODEL, n=ASKED)
    assert [image.data for image in result.images] == SVGS
    assert [await image.read() for image in saved.images] == SVGS
    assert len(result.problems) == 1
    assert "did not end" in result.problems[0]


@ENDING
async def test_images_written_out_in_urls_before_the_break_are_in_the_error(
    ending: str, tmp_path: Path
) -> None:
    """Of four the three that came whole are files, and the fourth leaves none."""
    async with connected() as (real, sandbox):
        transport = Halting(real, len(DRAWN) - 8, body=DRAWN, **ENDINGS[ending])
        async with AsyncClient(sandbox.api_key, sandbox.url, transport=transport) as client:
            with pytest.raises((TransportError, ResponseDecodeError)) as caught:
                await client.images.generate_to(tmp_path, "x", model=MODEL, n=ASKED)
    assert [await image.read() for image in caught.value.partial.images] == SVGS[:3]
    assert len(list(tmp_path.iterdir())) == 3


async def test_urls_beside_an_odd_text_are_images() -> None:
    """A text with half a character and an unknown escape costs no image: the answer is a success."""
    body = LINKS.replace(b'"created": 1', b'"note": "\xf0\x9f\x98\n\\q"')
    async with connected() as (real, sandbox):
        transport = Halting(real, len(body), body=body, ends=True)
        async with AsyncClient(sandbox.api_key, sandbox.url, transport=transport) as client:
            result = await client.images.generate_openai("x", model=MODEL, n=ASKED, response_format="url")
    assert [image.url for image in result.images] == [f"http://localhost/{n}.png" for n in range(4)]
    assert result.problems == ()


@ENDING
async def test_urls_before_the_break_are_in_the_error(ending: str) -> None:
    """Of four images the three whose URLs came can be downloaded."""
    async with connected() as (real, sandbox):
        transport = Halting(real, len(LINKS) - 8, body=LINKS, **ENDINGS[ending])
        async with AsyncClient(sandbox.api_key, sandbox.url, transport=transport) as client:
            with pytest.raises((TransportError, ResponseDecodeError)) as caught:
                await client.images.generate_openai("x", model=MODEL, n=ASKED, response_format="url")
    partial = caught.value.partial
    assert [image.url for image in partial.images] == [f"http://localhost/{n}.png" for n in range(3)]


@ENDING
@pytest.mark.parametrize("policy", [RetryPolicy(), RetryPolicy.documented()], ids=["strict", "documented"])
async def test_a_batch_counts_it_as_done(ending: str, policy: RetryPolicy, tmp_path: Path) -> None:
    """In the same run, with a problem, and at the expected price; nothing pays for it again."""
    row = {"prompt": "x", "model": MODEL, "count": ASKED}
    async with connected() as (real, sandbox):
        transport = Halting(real, ENDS[-1], **ENDINGS[ending])
        async with AsyncClient(sandbox.api_key, sandbox.url, transport=transport, retry=policy) as client:
            async with client.batch([row], out=tmp_path) as run:
                (event,) = [event async for event in run]
            assert (event.state, len(event.images), run.report.ok) == (State.DONE, ASKED, True)
            assert len(event.result.problems) == 1
            assert event.cost_usd == pytest.approx(0.0004)
            assert await look(tmp_path) == ({State.DONE: 1}, IMAGES)
            async with client.retry_batch(tmp_path, unknown=True) as rest:
                await rest.wait()
    assert len(transport.requests) == 1


@pytest.mark.parametrize("charge", [Charge.UNKNOWN, Charge.CHARGED])
async def test_a_retry_does_not_pay_again_for_images_that_are_there(charge: Charge, tmp_path: Path) -> None:
    """A journal in which a request failed with all of its images, as an earlier version left it, says done afterwards."""
    async with await Journal.open(tmp_path, service=None) as journal:
        for wanted in (2, 1):
            (admission,) = await journal.admit(
                [(BatchRow("x", MODEL, count=2, key=str(wanted)), CountRule(1, 4))]
            )
            unit = admission.unit
            await journal.sent(unit.id, 10)
            (tmp_path / "images").mkdir(exist_ok=True)
            images = [stored(tmp_path, unit, index) for index in range(wanted)]
            await journal.record(
                unit.id, Failed(charge=charge, error_type="E", error_text="t", images=images, cost_nano=10)
            )
    async with connected() as (client, sandbox):
        async with client.retry_batch(tmp_path, unknown=True) as run:
            await run.wait()
        assert [entry.n for entry in sandbox.ledger.entries] == [2]
    async with await Journal.open(tmp_path, service=None, read_only=True) as journal:
        totals = await journal.totals()
    assert (totals.units[State.DONE], totals.images) == (2, 5)
    spent = 10 * (1 if charge is Charge.UNKNOWN else 2) + round(0.0002 * 1e9)
    assert totals.spent_nano == spent


def stored(out: Path, unit: Unit, index: int) -> ImageRecord:
    file = f"images/{unit.image_stem(index)}.png"
    (out / file).write_bytes(PNG)
    digest = hashlib.sha256(PNG).hexdigest()
    return ImageRecord(index=index, file=file, media_type="image/png", bytes=len(PNG), sha256=digest)
