"""Orders that are delivered several times, to processes that are killed at random: at most one charge each."""

from __future__ import annotations

import hashlib
import json
import random
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

import nanogpt_images as ngi
from nanogpt_images.sandbox import Fault, Sandbox

WORKER = Path(__file__).parents[2] / "support" / "order_worker.py"
PROCESSES = 4


def test_redelivered_orders_and_killed_workers(tmp_path: Path, pytestconfig: pytest.Config) -> None:
    """Four processes work on the same orders; each is killed several times, and started again with all of them."""
    orders, chance = pytestconfig.getoption("orders"), random.Random(7)
    faults = [Fault("reset_after_body", every=23), Fault("402", every=31)]
    with Sandbox.in_thread(
        requests_per_second=None, balance_usd=1e6, latency_s=(0, 0.02), faults=faults
    ) as sandbox:

        def start(number: int) -> subprocess.Popen[bytes]:
            command = [sys.executable, WORKER, sandbox.url, sandbox.api_key, tmp_path, orders, number]
            return subprocess.Popen(list(map(str, command)))

        running = [start(number) for number in range(PROCESSES)]
        try:
            for _ in range(max(4, orders // 100)):
                before = len(sandbox.ledger.posts)
                victim = chance.randrange(PROCESSES)
                # In the middle of its work: some requests after the last kill, or where there are none left, at once.
                while len(sandbox.ledger.posts) < before + chance.randrange(5, 20):
                    if all(process.poll() is not None for process in running):
                        break
                running[victim].kill()
                running[victim].wait()
                running[victim] = start(victim)
            for process in running:
                assert process.wait() == 0
        finally:
            for process in running:
                process.kill()
                process.wait()
        charged = Counter(entry.prompt for entry in sandbox.ledger.billed)
        with ngi.Client(sandbox.api_key, sandbox.url, ledger=tmp_path / "paid.db") as client:
            entries = {entry.key: entry for entry in client.ledger.entries()}
            assert client.ledger.verify().is_sound
    assert max(charged.values()) == 1
    states = Counter(entry.state.value for entry in entries.values())
    # Whatever was charged is an image in the store, or listed as unknown.
    assert all(
        entries[f"order-{prompt.removeprefix('order ')}"].state.value in ("done", "unknown")
        for prompt in charged
    )
    answered: dict[int, set[str]] = {}
    for file in tmp_path.glob("answers-*.jsonl"):
        for line in file.read_text().splitlines():
            order, told = json.loads(line)
            answered.setdefault(order, set()).add(told)
    for order, told in answered.items():
        digests = {text for text in told if len(text) == 64}
        assert len(digests) <= 1
        for digest in digests:
            stored = tmp_path / "paid.db.images" / f"{digest}.png"
            assert hashlib.sha256(stored.read_bytes()).hexdigest() == digest
            assert entries[f"order-{order}"].state.value == "done"
    assert states["sent"] == 0
    print(f"{orders} orders, {len(charged)} charged once each, {dict(states)}")
