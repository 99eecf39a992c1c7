"""Random histories of calls with keys, against a model of what may be charged."""

from __future__ import annotations

import shutil
import tempfile
from collections import Counter
from pathlib import Path

import pytest
from fakes import QUICK
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule, run_state_machine_as_test

import nanogpt_images as ngi
from nanogpt_images.sandbox import Fault, Sandbox

KEYS = st.sampled_from(["a", "b", "c"])
CLIENTS = st.integers(0, 1)
FAULTS = {
    "none": [],
    "lost": [Fault("reset_after_body")],
    "free": [Fault("402")],
    "empty": [Fault("zero_images")],
}


class Shop(RuleBasedStateMachine):
    """Two clients of one ledger; each key has had so many chances to be charged as it was forgotten, and one."""

    def __init__(self) -> None:
        super().__init__()
        self.folder = Path(tempfile.mkdtemp())
        self.sandbox = Sandbox.in_thread(requests_per_second=None, balance_usd=1e6)
        self.sandbox.__enter__()
        self.clients = [self.open() for _ in range(2)]
        self.chances: Counter[str] = Counter({"a": 1, "b": 1, "c": 1})
        self.images: dict[str, str] = {}
        self.expected: dict[str, str] = {}

    def open(self) -> ngi.Client:
        return ngi.Client(
            self.sandbox.api_key,
            self.sandbox.url,
            ledger=self.folder / "paid.db",
            requests_per_second=None,
            retry=QUICK,
        )

    @rule(key=KEYS, client=CLIENTS, fault=st.sampled_from(sorted(FAULTS)))
    def call(self, key: str, client: int, fault: str) -> None:
        """Make the call of a key; what comes of it depends on what came of it before."""
        self.sandbox.set_faults(*FAULTS[fault])
        posts = len(self.sandbox.ledger.posts)
        before = self.expected.get(key, "new")
        try:
            result = self.clients[client].images.generate(f"prompt {key}", model="tiny-and-fast", key=key)
        except ngi.NanoGPTError as error:
            outcome = {ngi.Charge.UNKNOWN: "lost", ngi.Charge.CHARGED: "empty"}.get(error.charge, "free")
        else:
            outcome = "none"
            digest = result.images[0].sha256 or ""
            assert self.images.setdefault(key, digest) == digest
        open_before = before in ("new", "free")
        assert outcome == (fault if open_before else before)
        assert len(self.sandbox.ledger.posts) - posts == open_before
        self.expected[key] = outcome

    @rule(key=KEYS, client=CLIENTS)
    def forget(self, key: str, client: int) -> None:
        """Forget a key: it may be charged once more."""
        assert self.clients[client].ledger.forget(key) == (key in self.expected)
        if self.expected.pop(key, "free") != "free":
            self.chances[key] += 1
        self.images.pop(key, None)

    @rule(key=KEYS, client=CLIENTS)
    def misuse(self, key: str, client: int) -> None:
        """Ask for something else under a key that is in use: refused, nothing sent."""
        posts = len(self.sandbox.ledger.posts)
        if key in self.expected:
            with pytest.raises(ngi.ParameterError):
                self.clients[client].images.generate("another prompt", model="tiny-and-fast", key=key)
        assert len(self.sandbox.ledger.posts) == posts

    @rule(client=CLIENTS)
    def restart(self, client: int) -> None:
        """Close a client and open another."""
        self.clients[client].close()
        self.clients[client] = self.open()

    @invariant()
    def nothing_is_paid_twice(self) -> None:
        """No key is charged more often than it was given the chance."""
        charged = Counter(entry.prompt.removeprefix("prompt ") for entry in self.sandbox.ledger.billed)
        assert all(charged[key] <= self.chances[key] for key in charged)

    @invariant()
    def unknown_ones_are_listed(self) -> None:
        """The ledger lists exactly the unknown outcomes."""
        listed = {entry.key for entry in self.clients[0].ledger.entries(unknown=True)}
        assert listed == {key for key, outcome in self.expected.items() if outcome == "lost"}

    def teardown(self) -> None:
        for client in self.clients:
            client.close()
        self.sandbox.__exit__(None, None, None)
        shutil.rmtree(self.folder)


def test_histories() -> None:
    """No history of calls, faults, forgetting and restarts pays for a key twice."""
    run_state_machine_as_test(
        Shop,
        settings=settings(
            max_examples=12, stateful_step_count=20, deadline=None, suppress_health_check=list(HealthCheck)
        ),
    )
