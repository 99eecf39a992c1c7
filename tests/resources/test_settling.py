"""Unknown outcomes, settled by the sandbox's account."""

from __future__ import annotations

import contextlib
import json
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from fakes import QUICK

import nanogpt_images as ngi
from nanogpt_images.batch.journal.journal_books import JournalBooks
from nanogpt_images.cli.app import run
from nanogpt_images.resources.ledger.ledger_books import LedgerBooks
from nanogpt_images.resources.settling import SettledOutcomes, settle
from nanogpt_images.sandbox import Fault, Sandbox

MODEL = "tiny-and-fast"
LOST = Fault("reset_after_body_unbilled", prompt_contains="lost")
BILLED = Fault("reset_after_body", prompt_contains="billed")
LATER_S = 3 * 86_400.0


@pytest.fixture
async def sandbox() -> AsyncIterator[Sandbox]:
    """A service whose clock is where the tests of the clock here put it."""
    shift = {"s": 0.0}
    async with Sandbox(requests_per_second=None, clock=lambda: time.time() + shift["s"]) as running:
        running.shift = shift  # type: ignore[attr-defined]
        yield running


@pytest.fixture
async def client(sandbox: Sandbox, tmp_path: Path) -> AsyncIterator[ngi.AsyncClient]:
    options = {"requests_per_second": None, "retry": QUICK, "ledger": tmp_path / "paid.db"}
    async with ngi.AsyncClient(sandbox.api_key, sandbox.url, **options) as made:
        yield made


async def buy(client: ngi.AsyncClient, *prompts: str) -> None:
    for prompt in prompts:
        with contextlib.suppress(ngi.TransportError):
            await client.images.generate(prompt, model=MODEL, key=prompt)


async def settled_later(client: ngi.AsyncClient, sandbox: Sandbox, **options: bool) -> SettledOutcomes:
    """Settle some days later, when no edge of a day is near."""
    sandbox.shift["s"] = LATER_S  # type: ignore[attr-defined]
    return await settle(
        client.account,
        LedgerBooks(client.ledger),
        client.catalog.list,
        clock=lambda: time.time() + LATER_S,
        **options,
    )


async def test_what_was_not_charged_is_free_again(client: ngi.AsyncClient, sandbox: Sandbox) -> None:
    """The account counts what is known to be charged and no more: the key may be paid for."""
    sandbox.set_faults(LOST)
    await buy(client, "a fox", "lost", "a hare")
    told = await settled_later(client, sandbox)
    assert (told.unknown, told.not_charged, told.charged, told.left) == (1, 1, 0, 0)
    sandbox.set_faults()
    assert (await client.images.generate("lost", model=MODEL, key="lost")).images
    assert len(sandbox.ledger.billed) == 3


async def test_what_was_charged_is_a_bound_or_a_proof(client: ngi.AsyncClient, sandbox: Sandbox) -> None:
    """Only who vouches that nothing else uses the key gets a proof."""
    sandbox.set_faults(BILLED)
    await buy(client, "a fox", "billed")
    told = await settled_later(client, sandbox)
    assert (told.left, told.groups[0].lower, told.groups[0].upper) == (1, 0, 1)
    told = await settled_later(client, sandbox, exclusive=True)
    assert (told.charged, told.left) == (1, 0)
    with pytest.raises(ngi.NanoGPTError, match="proves that it was charged") as failure:
        await client.images.generate("billed", model=MODEL, key="billed")
    assert failure.value.charge is ngi.Charge.CHARGED


@pytest.mark.parametrize("refund", [True, False])
async def test_a_refund_proves_nothing(client: ngi.AsyncClient, sandbox: Sandbox, refund: bool) -> None:
    """Once the account speaks of refunds its counts are no proof."""
    sandbox.set_faults(LOST)
    await buy(client, "a fox", "lost")
    if refund:
        sandbox.refund(sandbox.ledger.billed[0])
    told = await settled_later(client, sandbox)
    assert told.left == refund
    assert ("refund" in told.groups[0].reason) == refund


async def test_too_early(client: ngi.AsyncClient, sandbox: Sandbox) -> None:
    """Right after the loss the account may still change."""
    sandbox.set_faults(LOST)
    await buy(client, "a fox", "lost")
    told = await client.account.settle(client.ledger.path)
    assert (told.left, told.groups[0].verdict) == (1, "open")
    assert "too early" in told.groups[0].reason


async def test_a_batch(client: ngi.AsyncClient, sandbox: Sandbox, tmp_path: Path) -> None:
    """Its unknown unit is pending again, and the next run of the job pays for it once."""
    out = tmp_path / "out"
    rows = [{"prompt": prompt, "model": MODEL} for prompt in ("a fox", "lost")]
    sandbox.set_faults(LOST)
    assert (await client.run_batch(rows, out=out)).unknown == 1
    sandbox.set_faults()
    sandbox.shift["s"] = LATER_S  # type: ignore[attr-defined]
    books = await JournalBooks.open(out, await client.service())
    told = await settle(client.account, books, client.catalog.list, clock=lambda: time.time() + LATER_S)
    await books.aclose()
    assert (told.not_charged, told.left) == (1, 0)
    report = await client.run_batch(rows, out=out)
    assert (report.requests, report.done) == (1, 1)


def test_the_verb(tmp_path: Path, capsys: pytest.CaptureFixture, monkeypatch: pytest.MonkeyPatch) -> None:
    """`settle FILE` and `settle DIR`; what stays unknown makes the exit code 1."""
    path = tmp_path / "paid.db"
    with Sandbox.in_thread(requests_per_second=None, faults=[LOST]) as sandbox:
        monkeypatch.setenv("NANOGPT_API_KEY", sandbox.api_key)
        with ngi.Client(sandbox.api_key, sandbox.url, ledger=path, retry=QUICK) as client:
            with pytest.raises(ngi.TransportError):
                client.images.generate("lost", model=MODEL, key="lost")
        ask = ["--base-url", sandbox.url, "--json"]
        assert run(["settle", str(path), *ask]) == 1
        told = json.loads(capsys.readouterr().out)
        assert (told["unknown"], told["left"]) == (1, 1)
        assert run(["settle", str(tmp_path / "none"), *ask]) == 2
        assert run(["settle", str(tmp_path), *ask]) == 2
        capsys.readouterr()
        assert run(["settle", str(path), "--base-url", sandbox.url]) == 1
        assert "too early" in (told := capsys.readouterr().out)
        assert "settle again after 20" in told
        with ngi.Client(sandbox.api_key, sandbox.url, ledger=path) as client:
            assert client.ledger.forget("lost")
        assert run(["settle", str(path), "--base-url", sandbox.url]) == 0
        assert "nothing to settle" in capsys.readouterr().out
