"""A batch that is sent with several keys."""

from __future__ import annotations

import asyncio
import sqlite3
from collections import Counter
from contextlib import closing
from pathlib import Path

import pytest

from nanogpt_images import AsyncClient, RetryPolicy
from nanogpt_images.batch.journal.database.schema import FILE_NAME
from nanogpt_images.errors import BudgetExceededError, ConfigurationError, DailyLimitError
from nanogpt_images.money.nano import to_nano
from nanogpt_images.sandbox import Fault, Sandbox
from nanogpt_images.sandbox.ledger import Entry
from nanogpt_images.transport.key_ring import key_name

MODEL = "tiny-and-fast"
KEYS = [f"sk-nano-00000000-0000-4000-8000-00000000000{number}" for number in range(3)]
AT_ONCE = RetryPolicy(initial_delay_s=0, max_retry_after_s=0)


def rows(count: int) -> list[dict[str, object]]:
    return [{"prompt": f"prompt {number}", "model": MODEL} for number in range(count)]


def client_of(sandbox: Sandbox, keys: list[str] = KEYS, pace: float | None = None) -> AsyncClient:
    return AsyncClient(base_url=sandbox.url, api_keys=keys, requests_per_second=pace, retry=AT_ONCE)


NAMES = [key_name(key) for key in KEYS]


def name_of(entry: Entry) -> str:
    """What the journal calls the key of *entry*, of which the sandbox keeps half."""
    (name,) = [name for name in NAMES if name.startswith(entry.key)]
    return name


def billed(sandbox: Sandbox) -> Counter[str]:
    """How many requests each key was charged for."""
    return Counter(map(name_of, sandbox.ledger.billed))


def booked(out: Path) -> dict[str, int]:
    """What the journal has spent with each key (nano-USD)."""
    with closing(sqlite3.connect(out / FILE_NAME)) as journal:
        return dict(journal.execute("SELECT name, committed_nano FROM account").fetchall())


async def test_all_keys_are_used_and_each_is_booked(tmp_path: Path) -> None:
    """Each image is paid for once, by the key that the journal says."""
    async with Sandbox(requests_per_second=None) as sandbox, client_of(sandbox) as client:
        report = await client.run_batch(rows(30), out=tmp_path)
        assert (report.done, report.ok) == (30, True)
        assert len(sandbox.ledger.billed) == len({entry.prompt for entry in sandbox.ledger.billed}) == 30
        spent = Counter[str]()
        for entry in sandbox.ledger.billed:
            spent[name_of(entry)] += to_nano(entry.cost_usd)
        assert set(billed(sandbox)) == set(NAMES)
        assert booked(tmp_path) == spent


async def test_each_key_has_a_window_of_its_own(tmp_path: Path) -> None:
    """The service refuses what passes a key's limit by more than the jitter of a busy machine: it refuses nothing."""
    async with Sandbox(requests_per_second=14) as sandbox, client_of(sandbox, pace=10) as client:
        report = await client.run_batch(rows(60), out=tmp_path)
        assert report.done == len(sandbox.ledger.posts) == 60
        assert Counter(billed(sandbox).values()) == {20: 3}
    assert len(list(tmp_path.glob(".pace-*"))) == 3


async def test_processes_with_different_keys_have_different_windows(tmp_path: Path) -> None:
    """They share the rows, and not the pace; the same key in two processes is one window."""
    async with Sandbox(requests_per_second=14) as sandbox:
        clients = [client_of(sandbox, [key], pace=10) for key in (KEYS[0], KEYS[1], KEYS[1])]
        async with clients[0], clients[1], clients[2]:
            shares = [rows(45)[15 * number : 15 * number + 15] for number in range(3)]
            await asyncio.gather(
                *(
                    client.run_batch(share, out=tmp_path, join=True)
                    for client, share in zip(clients, shares, strict=True)
                )
            )
        assert len(sandbox.ledger.posts) == len(sandbox.ledger.billed) == 45
        assert billed(sandbox) == {NAMES[0]: 15, NAMES[1]: 30}
    assert len(list(tmp_path.glob(".pace-*"))) == 2


async def test_a_key_over_its_day_drops_out_and_the_others_go_on(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """None of its rows fails; with the last key gone the batch stops, and the rest stays pending."""
    async with Sandbox(requests_per_second=None, daily_requests=8) as sandbox, client_of(sandbox) as client:
        report = await client.run_batch(rows(20), out=tmp_path, concurrency=4)
        assert (report.done, report.failed, report.stopped) == (20, 0, None)
        assert max(billed(sandbox).values()) <= 8
        report = await client.run_batch(rows(40), out=tmp_path, concurrency=4)
        assert (report.failed, report.unknown) == (0, 0)
        assert isinstance(report.stopped, DailyLimitError)
        assert billed(sandbox) == Counter(dict.fromkeys(NAMES, 8))
    assert "of 3 drops out, the others go on" in caplog.text
    assert not any(key in caplog.text for key in KEYS)


@pytest.mark.parametrize("kind", ["401", "402"])
async def test_a_key_that_the_service_refuses_drops_out(tmp_path: Path, kind: str) -> None:
    """Out of balance or not known: its request goes out with another key, and is paid for once."""
    async with Sandbox(requests_per_second=None, faults=[Fault(kind, times=1)]) as sandbox:
        async with client_of(sandbox) as client:
            report = await client.run_batch(rows(20), out=tmp_path)
            assert (report.done, report.failed, report.ok) == (20, 0, True)
        assert len(sandbox.ledger.billed) == 20
        assert len(sandbox.ledger.posts) == 21


async def test_no_key_spends_more_than_its_cap(tmp_path: Path) -> None:
    """Over two runs; with all caps reached the batch stops."""
    async with Sandbox(requests_per_second=None) as sandbox, client_of(sandbox) as client:
        price = (await client.catalog.get(MODEL)).prices.flat_usd or 0.0001
        for _ in range(2):
            report = await client.run_batch(rows(40), out=tmp_path, key_budget_usd=7.5 * price)
            assert isinstance(report.stopped, BudgetExceededError)
            assert (report.failed, report.unknown) == (0, 0)
        assert max(billed(sandbox).values()) <= 7
        assert len(sandbox.ledger.billed) >= 19


def test_keys_are_given_once_and_in_one_way(monkeypatch: pytest.MonkeyPatch) -> None:
    """Twice the same key would have two windows, and pass its limit."""
    with pytest.raises(ConfigurationError, match="not both"):
        AsyncClient("sk-nano-1", api_keys=KEYS)
    monkeypatch.setenv("NANOGPT_API_KEYS", f"{KEYS[0]}, {KEYS[1]} {KEYS[0]}")
    monkeypatch.setenv("NANOGPT_API_KEY", KEYS[2])
    assert len(AsyncClient()._sender.keys.lanes) == 2
    assert len(AsyncClient(KEYS[2])._sender.keys.lanes) == 1
