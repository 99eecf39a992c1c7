"""Every fault at every entry point: the right error, the right charge, no second payment, nothing left behind."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable
from pathlib import Path

import anyio
import anyio.to_thread
import pytest
from cells import ASKED, EMBEDDED, LINKED, MODEL, PROMPT, URL_ONLY, Cell, Outcome, in_turn, share
from fault_expectations import EXPECTED
from leaks import nothing_left, nothing_left_open, unfinished_files
from pictures import plain

import nanogpt_images as ngi
from nanogpt_images.batch.journal import Journal
from nanogpt_images.batch.states import State
from nanogpt_images.sandbox import BlockingSandbox
from nanogpt_images.sandbox.faults.kinds import KINDS


def test_every_kind_has_its_expectation() -> None:
    """The table names every kind that the sandbox knows, and no other."""
    assert set(EXPECTED) == set(KINDS)


def test_expectations_agree_with_the_kinds() -> None:
    """What the sandbox bills is nowhere expected to be free or sent again; the table itself can be wrong."""
    for kind, expected in EXPECTED.items():
        if KINDS[kind].billed:
            assert expected.charge in (None, ngi.Charge.CHARGED, ngi.Charge.UNKNOWN), kind
            assert expected.posts == 1, kind


Call = Callable[[ngi.AsyncClient, Path], Awaitable[int]]


async def _generate(client: ngi.AsyncClient, out: Path) -> int:
    result = await client.images.generate(PROMPT, model=MODEL, n=ASKED)
    assert all(image.data for image in result.images)
    return len(result.images)


async def _generate_to(client: ngi.AsyncClient, out: Path) -> int:
    result = await client.images.generate_to(out, PROMPT, model=MODEL, n=ASKED, name="fox")
    assert {image.path for image in result.images} == set(out.iterdir())
    return len(result.images)


async def _generate_openai(client: ngi.AsyncClient, out: Path) -> int:
    result = await client.images.generate_openai(PROMPT, model=MODEL, n=ASKED)
    assert all(image.data for image in result.images)
    return len(result.images)


async def _generate_openai_url(client: ngi.AsyncClient, out: Path) -> int:
    result = await client.images.generate_openai(PROMPT, model=MODEL, n=ASKED, response_format="url")
    for image in result.images:
        assert await image.read()
    return len(result.images)


async def _edit(client: ngi.AsyncClient, out: Path) -> int:
    image = anyio.Path(out) / "in.png"
    await image.write_bytes(plain())
    result = await client.images.edit(PROMPT, image=out / "in.png", model="restyle", n=ASKED)
    assert all(image.data for image in result.images)
    return len(result.images)


CALLS: dict[str, tuple[Call, list[str]]] = {
    "generate": (_generate, EMBEDDED),
    "generate_to": (_generate_to, EMBEDDED),
    "generate_openai": (_generate_openai, EMBEDDED),
    "generate_openai_url": (_generate_openai_url, LINKED),
    # Those listings lack the model of the other calls.
    "edit": (_edit, [kind for kind in EMBEDDED if kind not in ("catalog_shrinks", "catalog_renames")]),
}
"""Each call, and the kinds that it meets."""


@pytest.mark.parametrize(("name", "kind"), in_turn(CALLS, lambda name, kind: kind in CALLS[name][1]))
async def test_calls(name: str, kind: str, service: BlockingSandbox, tmp_path: Path) -> None:
    """A call ends as the table says; it is paid for once at most, and leaves nothing open and nothing half written."""
    call = CALLS[name][0]
    cell = Cell(kind, service)
    cell.strike()
    async with nothing_left_open():
        async with ngi.AsyncClient(**cell.options) as client:
            try:
                outcome = Outcome(images=await call(client, tmp_path))
            except ngi.NanoGPTError as error:
                outcome = Outcome.of(error)
            await anyio.to_thread.run_sync(cell.settle)
            cell.check(outcome, client)
    assert not unfinished_files(tmp_path)
    if name == "generate_to" and outcome.error is not None:
        assert len(list(tmp_path.iterdir())) == cell.expected.stored


@pytest.mark.parametrize("kind", share(0, of=3))
def test_blocking_client(kind: str, service: BlockingSandbox) -> None:
    """The blocking client fares as the async one does, and leaves no thread behind."""
    cell = Cell(kind, service)
    cell.strike()
    with nothing_left():
        with ngi.Client(**cell.options) as client:
            try:
                if kind in URL_ONLY:
                    result = client.images.generate_openai(
                        PROMPT, model=MODEL, n=ASKED, response_format="url"
                    )
                else:
                    result = client.images.generate(PROMPT, model=MODEL, n=ASKED)
                assert all(image.read() for image in result.images)
                outcome = Outcome(images=len(result.images))
            except ngi.NanoGPTError as error:
                outcome = Outcome.of(error)
            cell.settle()
            cell.check(outcome, client._target)


STATES = {
    None: {State.DONE},
    ngi.Charge.NOT_SENT: {State.FAILED, State.PENDING},
    ngi.Charge.REJECTED: {State.FAILED, State.PENDING},
    ngi.Charge.CHARGED: {State.FAILED, State.LINKED},
    ngi.Charge.UNKNOWN: {State.UNKNOWN},
}
"""Where the journal may have a request, by the charge of its failure."""


@pytest.mark.parametrize("kind", KINDS)
async def test_batch(kind: str, service: BlockingSandbox, tmp_path: Path) -> None:
    """A batch's journal agrees with the ledger, and a rerun without the fault makes up for what was not charged."""
    cell = Cell(kind, service)
    cell.strike()
    row: dict[str, object] = {"prompt": PROMPT, "model": MODEL, "count": ASKED}
    if kind in URL_ONLY:
        row |= {"route": "openai", "response_format": "url"}
    async with nothing_left_open():
        async with ngi.AsyncClient(**cell.options) as client:
            async with client.batch([row], out=tmp_path) as run:
                events = [event async for event in run]
            error = events[0].error if events else run.report.stopped
            outcome = Outcome(images=run.report.images) if error is None else Outcome.of(error)
            await anyio.to_thread.run_sync(cell.settle)
            cell.check(outcome, client)
            assert await _states(tmp_path) <= STATES[cell.expected.charge]
            assert not unfinished_files(tmp_path)
            _check_files(tmp_path, cell.expected.images or cell.expected.stored)

        service.set_faults()
        posted = len(service.ledger.posts)
        async with ngi.AsyncClient(**cell.options) as client:
            again = await client.run_batch([row], out=tmp_path)
    assert again.ok == (State.DONE in await _states(tmp_path))
    assert again.ok or len(service.ledger.posts) == posted
    assert again.ok or cell.expected.charge in (ngi.Charge.CHARGED, ngi.Charge.UNKNOWN)
    assert len(service.ledger.billed) <= 1
    assert not unfinished_files(tmp_path)


async def _states(out: Path) -> set[State]:
    async with await Journal.open(out, service=None, read_only=True) as journal:
        totals = await journal.totals()
    assert totals.reserved_nano == 0
    return {state for state, units in totals.units.items() if units}


def _check_files(out: Path, images: int) -> None:
    """As many files as images, each with its line of results."""
    files = {f"images/{path.name}" for path in (out / "images").iterdir()}
    results = out / "results.jsonl"
    lines = results.read_text("utf-8").splitlines() if results.exists() else []
    assert len(files) == images
    assert {json.loads(line)["file"] for line in lines} == files
