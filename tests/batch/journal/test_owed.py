"""
What rows are owed: random histories of count, rule and duplicates, of joined, killed and failed runs, against a model.

The model is on paper: images that were, or may have been, paid for are there for good, those that a process of the
session means to send are there for the session, and a row buys `split_count` of what is missing then, and nothing more.

`--histories N` sets how many are tried. Last run at length on 2026-11-21: 100,000 histories.
"""

from __future__ import annotations

import random
from collections import Counter
from pathlib import Path

import attrs
import pytest

from nanogpt_images.batch.journal import transitions
from nanogpt_images.batch.journal.admission import admit, claim_next, reopen
from nanogpt_images.batch.journal.database.store import Store
from nanogpt_images.batch.journal.queries import UNIT_COLUMNS, read_unit
from nanogpt_images.batch.outcomes import Done, Failed, Linked, Refused, SignedUrl
from nanogpt_images.batch.rows import BatchRow
from nanogpt_images.batch.states import State
from nanogpt_images.batch.units import Unit, unpriced
from nanogpt_images.errors import Charge
from nanogpt_images.types.parameters import CountRule, split_count

RULES = (
    CountRule(),
    CountRule(maximum=2),
    CountRule(maximum=4),
    CountRule(maximum=10),
    CountRule(2, 3),
    CountRule(3, 5),
    CountRule(4, 4),
    CountRule(fixed=2),
    CountRule(4, 4, 4),
)
ENDINGS = ("done", "linked", "unknown", "charged", "rejected", "refused", "left")
PROMPTS = ("a fox", "an owl")


@attrs.define
class Paid:
    """A unit on paper: *paid* once it was, or may have been, paid for; else it is there while *owner* takes part."""

    prompt: str
    images: int
    owner: Process
    paid: bool = False


@attrs.define(eq=False)
class Process:
    """One process of a session: its pass over rows, by its own rule."""

    store: Store
    rule: CountRule
    rows: list[BatchRow]
    asked: Counter[str] = attrs.field(factory=Counter[str])
    in_hand: list[Unit] = attrs.field(factory=list[Unit])


class History:
    """A directory, and what was paid for in it."""

    def __init__(self, out: Path, chance: random.Random) -> None:
        self.out = out
        self.chance = chance
        self.paper: dict[str, Paid] = {}
        self.session: list[Process] = []

    def opened(self, rule: CountRule, rows: list[BatchRow]) -> Process:
        store = Store(self.out, service=None, join=bool(self.session))
        store.connection.execute("PRAGMA synchronous = OFF")
        process = Process(store, rule, rows)
        self.session.append(process)
        return process

    def there(self, prompt: str) -> int:
        """Images that need not be bought."""
        return sum(
            unit.images
            for unit in self.paper.values()
            if unit.prompt == prompt and (unit.paid or unit.owner in self.session)
        )

    def manifest(self) -> list[BatchRow]:
        """A few rows, some of them identical but for their count."""
        size = self.chance.choice((1, 1, 2, 3, 4))
        return [
            BatchRow(self.chance.choice(PROMPTS), "m", count=self.chance.randint(1, 9), key="k")
            for _ in range(size)
        ]

    def admit_next(self, process: Process) -> None:
        """Admit some rows, each of which buys what is missing."""
        some = self.chance.randint(1, len(process.rows))
        rows, process.rows = process.rows[:some], process.rows[some:]
        for row in rows:
            process.asked[row.prompt] += row.count
            before = self.there(row.prompt)
            missing = process.asked[row.prompt] - before
            with process.store.transaction():
                admissions = admit(process.store, [(row, process.rule)], unpriced)
            assert len({found.unit.id for found in admissions}) == len(admissions)
            self.take(
                process,
                [found.unit for found in admissions if found.claimed and found.state is State.PENDING],
            )
            counts = split_count(missing, process.rule) if missing > 0 else []
            bought = self.there(row.prompt) - before
            assert bought == sum(map(process.rule.images, counts))

    def take(self, process: Process, units: list[Unit]) -> None:
        for unit in units:
            known = self.paper.get(unit.id)
            holder = known.owner if known is not None else None
            assert holder is None or holder not in self.session or holder.store.members.own_id == 0
            paid = known is not None and known.paid
            self.paper[unit.id] = Paid(unit.row.prompt, unit.images, process, paid)
            process.in_hand.append(unit)

    def end(self, process: Process, unit: Unit, how: str) -> None:
        """One outcome of one unit."""
        store = process.store
        with store.transaction():
            if how == "left":
                return
            transitions.sent(store, unit.id, 10, None)
            links = [SignedUrl(index=0, url="https://example.com/fox.png")]
            outcomes = {
                "done": Done(images=[], cost_nano=10),
                "linked": Linked(links=links, cost_nano=10),
                "refused": Refused(),
            }
            if how in outcomes:
                transitions.record(store, unit.id, outcomes[how])
            elif how in ("unknown", "charged", "rejected"):
                failed = Failed(charge=Charge(how), error_type="E", error_text="e", cost_nano=10)
                transitions.record(store, unit.id, failed)
        self.paper[unit.id].paid |= how not in ("rejected", "refused")

    def work(self, process: Process) -> None:
        """Send some of what is in hand."""
        for _ in range(self.chance.randint(0, len(process.in_hand))):
            self.end(process, process.in_hand.pop(0), self.chance.choice(ENDINGS))

    def leave(self, process: Process, *, killed: bool) -> None:
        if not killed:
            process.store.close()
        else:
            if process.in_hand and self.chance.random() < 0.5:
                self.end(process, process.in_hand[0], "sent")
            process.store._drop()
        process.store.members.own_id = 0

    def run(self) -> None:
        """One session: one or two processes with rules of their own, of which one may die on the way."""
        self.session = []
        rows = self.manifest()
        for _ in range(self.chance.choice((1, 1, 2))):
            other = self.chance.random() < 0.2
            order = self.manifest() if other else self.chance.sample(rows, len(rows))
            self.opened(self.chance.choice(RULES), order)
        working = list(self.session)
        while working:
            process = self.chance.choice(working)
            if process.rows:
                self.admit_next(process)
            self.work(process)
            killed = self.chance.random() < 0.15
            if killed or not process.rows:
                self.leave(process, killed=killed)
                working.remove(process)

    def retry(self) -> None:
        """One process sends again what failed, and perhaps what may have been charged: none of it counts as missing."""
        self.session = []
        process = self.opened(CountRule(), [])
        with process.store.transaction():
            reopen(process.store, unknown=self.chance.random() < 0.5)
            claimed, _ = claim_next(process.store, State.PENDING, 0, 1000, left_by_peers=False)
        self.take(process, [found.unit for found in claimed])
        self.work(process)
        self.leave(process, killed=self.chance.random() < 0.3)

    def check(self) -> None:
        """No unit that was paid for is gone, all have file names of their own, and the kept sums are theirs."""
        store = Store(self.out, service=None, read_only=True)
        select = f"SELECT {UNIT_COLUMNS} FROM unit"
        with store.transaction():
            units = [read_unit(record) for record in store.connection.execute(select)]
            kept = store.connection.execute("SELECT sum(units), sum(images) FROM tally").fetchone()
        store.close()
        assert (len(units), sum(unit.images for unit in units)) == kept
        assert {name for name, unit in self.paper.items() if unit.paid} <= {unit.id for unit in units}
        names = [(unit.row.prompt, unit.image_stem(index)) for unit in units for index in range(unit.images)]
        assert len(set(names)) == len(names)


def play(out: Path, seed: int) -> None:
    history = History(out, random.Random(seed))
    for _ in range(history.chance.randint(2, 5)):
        if history.paper and history.chance.random() < 0.2:
            history.retry()
        else:
            history.run()
    history.check()


def test_histories(request: pytest.FixtureRequest, tmp_path: Path) -> None:
    """In any history a row buys what is missing of its images, divided by the rule that its process knows."""
    for seed in range(request.config.getoption("--histories")):
        try:
            play(tmp_path / f"{seed}", seed)
        except AssertionError as error:
            raise AssertionError(f"history {seed}: {error}") from error
