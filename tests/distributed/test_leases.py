"""Who holds what: a unit is in one place only, and a lost worker's units go where their stage says."""

from __future__ import annotations

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, invariant, rule

from nanogpt_images.distributed.leases import Leases, Stage


def table(*ids: str) -> Leases[str, str]:
    leases: Leases[str, str] = Leases()
    for identity in ids:
        leases.offer(identity, f"task {identity}")
    return leases


def test_units_are_leased_in_order_and_once() -> None:
    """What one worker holds no other one gets, and an offer of what is known changes nothing."""
    leases = table("a", "b", "c")
    assert leases.lease("w1", 2) == ["task a", "task b"]
    leases.offer("a", "again")
    assert leases.lease("w2", 5) == ["task c"]
    assert leases.queued == 0


def test_a_lost_worker_leaves_unsent_units_and_unknown_ones() -> None:
    """Only what was sent is handed back as unknown; the rest is queued again, before all others."""
    leases = table("a", "b", "c", "d")
    leases.lease("w1", 3)
    leases.advance("w1", "b", Stage.SENT)
    leases.advance("w1", "c", Stage.LINKED, "download c")
    assert leases.lose("w1") == ["task b"]
    assert not leases.knows("b")
    assert sorted(leases.lease("w2", 2)) == ["download c", "task a"]
    assert leases.lease("w2", 2) == ["task d"]


def test_a_lost_worker_can_send_nothing_more() -> None:
    """Every step of a worker whose lease went to another is refused."""
    leases = table("a")
    leases.lease("w1", 1)
    leases.lose("w1")
    leases.lease("w2", 1)
    assert not leases.advance("w1", "a", Stage.SENT)
    assert not leases.ended("w1", "a")
    assert not leases.give_back("w1", "a")
    assert leases.stage("w2", "a") is Stage.HELD


def test_a_sent_unit_cannot_be_given_back() -> None:
    """Giving back is for what has not been sent."""
    leases = table("a")
    leases.lease("w1", 1)
    leases.advance("w1", "a", Stage.SENT)
    assert not leases.give_back("w1", "a")


def test_a_new_table_takes_over_what_workers_have_in_flight() -> None:
    """An adopted unit leaves the queue, and cannot be taken over from its holder."""
    leases = table("a", "b")
    assert leases.adopt("w1", "a", "task a", Stage.SENT)
    assert leases.lease("w2", 5) == ["task b"]
    assert not leases.adopt("w1", "b", "task b", Stage.SENT)


WORKERS = st.sampled_from(["w1", "w2", "w3"])
STAGES = st.sampled_from(Stage)


class LeaseMachine(RuleBasedStateMachine):
    """Whatever happens, nobody gets a unit while it may be under way with another."""

    units = Bundle("units")

    def __init__(self) -> None:
        super().__init__()
        self.leases: Leases[str, str] = Leases()
        self.sent: dict[str, str] = {}
        self.count = 0

    @rule(target=units)
    def offer(self) -> str:
        self.count += 1
        self.leases.offer(str(self.count), str(self.count))
        return str(self.count)

    @rule(worker=WORKERS, count=st.integers(1, 4))
    def lease(self, worker: str, count: int) -> None:
        for unit in self.leases.lease(worker, count):
            assert unit not in self.sent

    @rule(worker=WORKERS, unit=units, stage=STAGES)
    def advance(self, worker: str, unit: str, stage: Stage) -> None:
        if self.leases.advance(worker, unit, stage):
            assert self.sent.get(unit, worker) == worker
            self.sent.pop(unit, None)
            if stage is Stage.SENT:
                self.sent[unit] = worker

    @rule(worker=WORKERS, unit=units)
    def ended(self, worker: str, unit: str) -> None:
        if self.leases.ended(worker, unit):
            self.sent.pop(unit, None)

    @rule(worker=WORKERS, unit=units)
    def give_back(self, worker: str, unit: str) -> None:
        assert not (self.leases.give_back(worker, unit) and unit in self.sent)

    @rule(worker=WORKERS)
    def lose(self, worker: str) -> None:
        lost = self.leases.lose(worker)
        assert sorted(lost) == sorted(unit for unit, holder in self.sent.items() if holder == worker)
        self.sent = {unit: holder for unit, holder in self.sent.items() if holder != worker}

    @invariant()
    def sent_units_are_held(self) -> None:
        assert all(self.leases.stage(worker, unit) is Stage.SENT for unit, worker in self.sent.items())


LeaseMachine.TestCase.settings = settings(max_examples=50, stateful_step_count=40, deadline=None)
TestLeases = LeaseMachine.TestCase
