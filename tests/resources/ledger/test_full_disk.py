"""A disk that fails between the intent and the outcome of a paid call: nothing is lost, and nothing is paid for twice."""

from __future__ import annotations

import errno
import os
import sqlite3
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

import nanogpt_images as ngi
from nanogpt_images._base import durable
from nanogpt_images.resources.ledger.ledger_store import LedgerStore
from nanogpt_images.sandbox import Fault, Sandbox

MODEL = "tiny-and-fast"
OpenClient = Callable[..., ngi.AsyncClient]


def full(*_: object, **__: object) -> None:
    raise OSError(errno.ENOSPC, "No space left on device", "image.png")


def full_database(*_: object, **__: object) -> None:
    error = sqlite3.OperationalError("database or disk is full")
    error.sqlite_errorname = "SQLITE_FULL"
    raise error


@pytest.fixture
async def sandbox(request: pytest.FixtureRequest) -> AsyncIterator[Sandbox]:
    """A service, with images of the size that a test asks for."""
    async with Sandbox(requests_per_second=None, image_bytes=getattr(request, "param", None)) as running:
        yield running


LARGE = pytest.mark.parametrize("sandbox", [200_000], indirect=True)
"""Images that are too large to wait in memory for their file."""


async def test_no_room_for_a_small_image(
    client: ngi.AsyncClient, sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The caller has it in the error, and the key says that it was charged."""
    with monkeypatch.context() as patch:
        patch.setattr(durable, "write_files", lambda files: files and full())
        with pytest.raises(ngi.OutputError, match="No space left") as failure:
            await client.images.generate("a fox", model=MODEL, key="k")
    assert failure.value.charge is ngi.Charge.CHARGED
    assert failure.value.partial.images[0].data
    with pytest.raises(ngi.OutputError, match="Forget the key") as again:
        await client.images.generate("a fox", model=MODEL, key="k")
    assert again.value.charge is ngi.Charge.CHARGED
    assert (await client.ledger.entry("k")).cost_usd == pytest.approx(sandbox.ledger.total_usd)
    assert len(sandbox.ledger.posts) == 1


@pytest.mark.parametrize("outcome", ["done", "failed"])
async def test_no_room_for_the_outcome(
    client: ngi.AsyncClient, sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch, outcome: str
) -> None:
    """The caller learns what the call came to; the next one neither pays nor waits for it: the ledger calls it unknown."""
    if outcome == "failed":
        sandbox.set_faults(Fault("reset_after_body", times=1))
    with monkeypatch.context() as patch:
        patch.setattr(LedgerStore, outcome, full_database)
        with pytest.raises(ngi.NanoGPTError) as failure:
            await client.images.generate("a fox", model=MODEL, key="k")
    if outcome == "done":
        assert (type(failure.value), failure.value.charge) == (ngi.LedgerError, ngi.Charge.CHARGED)
        assert failure.value.partial.images[0].data
    else:
        assert failure.value.charge is ngi.Charge.UNKNOWN
    with pytest.raises(ngi.OutcomeUnknownError, match="could not be written"):
        await client.images.generate("a fox", model=MODEL, key="k")
    assert [entry.key for entry in await client.ledger.entries(unknown=True)] == ["k"]
    assert len(sandbox.ledger.posts) == 1


async def test_a_disk_that_stays_full(
    client: ngi.AsyncClient, sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As long as nothing can be recorded each call with the key says so, instead of waiting for the first."""
    with monkeypatch.context() as patch:
        for outcome in ("done", "give_up"):
            patch.setattr(LedgerStore, outcome, full_database)
        for _ in range(3):
            with pytest.raises(ngi.LedgerError, match="Free space"):
                await client.images.generate("a fox", model=MODEL, key="k")
    assert len(sandbox.ledger.posts) == 1


@LARGE
async def test_large_images_go_to_files_as_they_arrive(client: ngi.AsyncClient, tmp_path: Path) -> None:
    """They are read back for a caller who wants bytes, and no part of them is left."""
    first = await client.images.generate("a fox", model=MODEL, key="k")
    again = await client.images.generate_to(tmp_path / "out", "a fox", model=MODEL, key="k", name="fox")
    assert again.images[0].path.read_bytes() == first.images[0].data
    assert first.images[0].size_bytes >= 200_000
    files = [path.name for path in client.ledger.folder.iterdir()]
    assert files == [f"{first.images[0].sha256}.png"]


@LARGE
async def test_no_room_for_a_large_image(
    client: ngi.AsyncClient, sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It goes on in memory, and the caller has it in the error."""
    with monkeypatch.context() as patch:
        patch.setattr(os, "write", full)
        with pytest.raises(ngi.OutputError) as failure:
            await client.images.generate("a fox", model=MODEL, key="k")
    assert failure.value.charge is ngi.Charge.CHARGED
    assert len(failure.value.partial.images[0].data) >= 200_000
    with pytest.raises(ngi.OutputError, match="Forget the key"):
        await client.images.generate("a fox", model=MODEL, key="k")
    assert len(sandbox.ledger.posts) == 1
