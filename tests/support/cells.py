"""One cell of the fault matrix: a fault that strikes, a call that meets it, and what both come to."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping

import attrs
import pytest
from fault_expectations import EXPECTED, POLICY, Expectation
from leaks import PATIENCE_S, assert_idle, spent

from nanogpt_images import AsyncClient, Charge, NanoGPTError
from nanogpt_images.sandbox import BlockingSandbox, Fault
from nanogpt_images.sandbox.faults.kinds import KINDS, FaultStage

MODEL, PROMPT, ASKED = "tiny-and-fast", "a red fox", 2
# What hangs is given so long; everything else ends by itself.
_SHORT_S, _LONG_S = 0.4, 30.0
_NANO = 10**9

URL_ONLY = [
    kind for kind, about in KINDS.items() if about.delivery == "url" or about.stage is FaultStage.FILE
]
"""Kinds that strike only where images come as URLs."""
EMBEDDED = [kind for kind in KINDS if kind not in URL_ONLY]
"""Kinds that strike where images come in the answer."""
LINKED = [kind for kind, about in KINDS.items() if about.delivery != "b64_json"]
"""Kinds that strike where images come as URLs."""


def in_turn(entries: Iterable[str], meets: Callable[[str, str], bool]) -> list[object]:
    """Each entry point with each kind that it *meets*; a kind is `long` at all of them but one, which take turns."""
    cells: list[object] = []
    for number, kind in enumerate(KINDS):
        met = [entry for entry in entries if meets(entry, kind)]
        for place, entry in enumerate(met):
            marks = () if place == number % len(met) else pytest.mark.long
            cells.append(pytest.param(entry, kind, id=f"{entry}-{kind}", marks=marks))
    return cells


def share(place: int, of: int) -> list[object]:
    """All kinds; *of* tests that each have another *place* share them, and what is not their share is `long`."""
    return [
        pytest.param(kind, marks=() if number % of == place else pytest.mark.long)
        for number, kind in enumerate(KINDS)
    ]


def settle(service: BlockingSandbox) -> None:
    """Wait until the sandbox has noticed that its clients are gone."""
    deadline = time.monotonic() + PATIENCE_S
    while service.ledger.in_flight and time.monotonic() < deadline:
        time.sleep(0.001)
    assert not service.ledger.in_flight


@attrs.frozen(kw_only=True)
class Outcome:
    """What a call came to: images, or an error's class and charge."""

    images: int = 0
    error: str | None = None
    charge: Charge | None = None

    @classmethod
    def of(cls, error: NanoGPTError) -> Outcome:
        """The outcome of a call that raised."""
        return cls(error=type(error).__name__, charge=error.charge)


@attrs.frozen
class Cell:
    """A kind of fault, and the sandbox whose requests it strikes."""

    kind: str
    service: BlockingSandbox

    @property
    def expected(self) -> Expectation:
        """What has to come of it."""
        return EXPECTED[self.kind]

    def strike(self) -> None:
        """Empty the books; from now on the fault strikes."""
        self.settle()
        self.service.reset()
        pace_s = 0.001 if self.kind == "slow_drip" else None
        self.service.set_faults(Fault(self.kind, times=self.expected.times, after_s=pace_s))

    def settle(self) -> None:
        """See the function of that name."""
        settle(self.service)

    @property
    def options(self) -> Mapping[str, object]:
        """Of a client that meets the fault."""
        return {
            "api_key": self.service.api_key,
            "base_url": self.service.url,
            "requests_per_second": None,
            "timeout_s": _SHORT_S if self.expected.hangs else _LONG_S,
            "max_image_bytes": 2**20,
            "budget_usd": 1.0,
            "assume_price_usd": 0.01,
            "retry": POLICY,
        }

    def check(self, outcome: Outcome, client: AsyncClient) -> None:
        """Once settled: the outcome is the one expected, the ledger agrees, and *client* holds nothing any more."""
        assert_idle(client)
        self.check_outcome(outcome)
        self.check_ledger(outcome)
        billed = round(self.service.ledger.total_usd * _NANO)
        assert spent(client) >= billed, "the budget lost sight of a charge"
        if outcome.charge in (Charge.NOT_SENT, Charge.REJECTED):
            assert spent(client) == 0

    def check_outcome(self, outcome: Outcome) -> None:
        """It is the one that the table has."""
        expected = self.expected
        assert outcome == Outcome(images=expected.images, error=expected.error, charge=expected.charge)

    def check_ledger(self, outcome: Outcome) -> None:
        """As many requests as expected arrived, and what was billed is not said to be free."""
        ledger = self.service.ledger
        assert len(ledger.posts) == self.expected.posts
        if ledger.billed:
            assert len(ledger.posts) == 1, "what was charged was sent again"
            assert outcome.charge in (None, Charge.CHARGED, Charge.UNKNOWN)
        if outcome.error is None:
            assert ledger.billed
