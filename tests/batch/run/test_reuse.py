"""What an earlier job or call paid for is copied, not bought."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import pytest
from fakes import connected

import nanogpt_images as ngi

MODEL = "tiny-and-fast"


def rows(*prompts: str, **fields: object) -> list[dict[str, object]]:
    return [{"prompt": prompt, "model": MODEL, **fields} for prompt in prompts]


def lines(out: Path) -> list[dict]:
    return [json.loads(line) for line in (out / "results.jsonl").read_text().splitlines()]


async def test_a_later_job_buys_what_is_new(tmp_path: Path) -> None:
    """Prompts that an earlier job had are copied, marked and free; their files are as they were paid for."""
    ledger = tmp_path / "paid.db"
    async with connected() as (client, sandbox):
        first = await client.run_batch(rows("a", "b", "c"), out=tmp_path / "one", reuse=ledger)
        again = await client.run_batch(
            rows("a", "b", "c", "d", key=None), out=tmp_path / "two", reuse=ledger, budget_usd=1
        )
        assert (first.requests, first.reused) == (3, 0)
        assert (again.requests, again.reused, again.done, again.images) == (1, 3, 4, 4)
        assert again.cost_usd == pytest.approx(sandbox.ledger.billed[-1].cost_usd)
        assert len(sandbox.ledger.posts) == 4
        told = lines(tmp_path / "two")
        assert sorted(line["prompt"] for line in told if line.get("reused")) == ["a", "b", "c"]
        assert all(line["cost_usd"] == 0 for line in told if line.get("reused"))
        for line in told:
            assert (
                hashlib.sha256((tmp_path / "two" / line["file"]).read_bytes()).hexdigest() == line["sha256"]
            )
        assert (
            await client.run_batch(rows("a", "b", "c", "d"), out=tmp_path / "two", reuse=ledger)
        ).requests == 0
        (tmp_path / "two" / "results.jsonl").unlink()
        await client.run_batch(rows("a", "b", "c", "d"), out=tmp_path / "two", reuse=ledger, adopt=True)
        assert lines(tmp_path / "two") == told


async def test_identical_rows_want_several_images(tmp_path: Path) -> None:
    """No job is given one paid image twice, and a larger job buys the difference."""
    ledger = tmp_path / "paid.db"
    async with connected() as (client, sandbox):
        await client.run_batch(rows("a", "a"), out=tmp_path / "one", reuse=ledger)
        assert len(sandbox.ledger.posts) == 2
        report = await client.run_batch(rows("a", "a", "a"), out=tmp_path / "two", reuse=ledger)
        assert (report.requests, report.reused) == (1, 2)
        report = await client.run_batch(rows("a", "a", "a", key="k"), reuse=ledger)
        assert (report.requests, report.reused) == (0, 3)


async def test_calls_and_jobs_share_a_ledger(tmp_path: Path) -> None:
    """A job copies what a call with a key paid for; a call with a sample gets what a job paid for."""
    ledger = tmp_path / "paid.db"
    async with connected(ledger=ledger) as (client, sandbox):
        paid = await client.images.generate("a", model=MODEL, key="order-1")
        async with client.batch(rows("a", "b"), reuse=ledger) as batch:
            events = {event.row.prompt: event async for event in batch}
        assert events["a"].images[0].data == paid.images[0].data
        assert events["a"].cost_usd == 0
        bought = await client.images.generate("b", model=MODEL, key=ngi.AUTO, sample=0)
        assert bought.images[0].data == events["b"].images[0].data
        assert len(sandbox.ledger.posts) == 2


async def test_a_job_that_never_told_its_ledger(tmp_path: Path) -> None:
    """Where a job was run without it, or ended before it was told, the next run adds what was paid for."""
    ledger = tmp_path / "paid.db"
    async with connected() as (client, sandbox):
        await client.run_batch(rows("a", "b"), out=tmp_path / "one")
        await client.run_batch(rows("a", "b"), out=tmp_path / "one", reuse=ledger)
        assert (await client.run_batch(rows("a", "b"), out=tmp_path / "two", reuse=ledger)).reused == 2
        assert len(sandbox.ledger.posts) == 2


async def test_a_stored_image_that_changed(tmp_path: Path) -> None:
    """Its row fails with the reason; nothing is sent or paid for it."""
    ledger = tmp_path / "paid.db"
    async with connected() as (client, sandbox):
        await client.run_batch(rows("a"), out=tmp_path / "one", reuse=ledger)
        (stored,) = (tmp_path / "paid.db.images").glob("*.png")
        stored.write_bytes(b"other")
        async with client.batch(rows("a"), out=tmp_path / "two", reuse=ledger) as batch:
            (event,) = [event async for event in batch]
        assert isinstance(event.error, ngi.LedgerError)
        assert len(sandbox.ledger.posts) == 1
        stored.unlink()
