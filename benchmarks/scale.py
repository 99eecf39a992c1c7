"""
Claim: one coordinator carries a job of 10 million rows, keeps the pace and pays for no row twice, whoever dies; and it
says where one coordinator is not enough.

    python benchmarks/scale.py [--rows 10000000] [--sweep-rows 200000] [--message-ms 1.1] [--json]

A simulation in virtual time, without network and without Ray. What decides is the code of the package: the leases
(`integrations.ray.leases`), the pacing window (`batch.window`) and the budget (`batch.budget`). What is assumed:

- a message costs the coordinator `--message-ms` of its one thread; measured here on two shared cores: 1.1 ms a call;
- a request takes three messages (send, started, report), a lease one more for each chunk;
- latencies are log-normal around 12 s; one answer in 100 is a refusal that is sent again, one in 2,000 is lost;
- each worker dies once in ten hours and is back after 5 s; the coordinator dies once in three hours, is back after 2 s,
  and reads what it was told again at the speed of a resumed journal (benchmarks/journal.py).

The journal's size is that of a real one with 2,000 rows, done, multiplied.
"""

from __future__ import annotations

import argparse
import asyncio
import heapq
import json
import random
import tempfile
import time
from collections import deque
from pathlib import Path

import attrs

from nanogpt_images.distributed.leases import Leases, Stage
from nanogpt_images.money.budget import Budget
from nanogpt_images.transport.pacing.window import wait_s

LIMIT = 25
SPAN_S = 1.03
ROUND_TRIP_S = 0.002
PRICE_NANO = 40_000_000
MOST_QUEUED = 2_000
CHUNK = 64
REFUSED, LOST = 0.01, 0.0005
WORKER_LIFE_S, WORKER_BACK_S = 36_000.0, 5.0
COORDINATOR_LIFE_S, COORDINATOR_BACK_S = 10_800.0, 2.0
REPLAY_S_PER_ROW = 27e-6
GRANT, ANSWER, DEATH, BACK, CRASH = range(5)


@attrs.frozen(kw_only=True)
class Setting:
    """What is simulated; rows and keys are shared out among the shards."""

    rows: int
    workers: int
    keys: int
    concurrency: int
    message_s: float
    limit: int = LIMIT
    deaths: bool = True


@attrs.define
class Key:
    """One key: its latest starts, and the slots that wait for a place."""

    starts: list[float] = attrs.field(factory=list)
    waiting: deque[tuple[int, int]] = attrs.field(factory=deque)
    is_awake: bool = False


@attrs.define
class Worker:
    """A worker: how often it died, and what it has leased and not begun."""

    life: int = 0
    held: deque[int] = attrs.field(factory=deque)
    idle: int = 0


class Simulation:
    """One job and one coordinator."""

    def __init__(self, setting: Setting, seed: int = 20261121) -> None:
        self.setting = setting
        self.random = random.Random(seed)
        self.latencies = [self.random.lognormvariate(2.485, 0.5) for _ in range(1 << 16)]
        self.leases: Leases[int, int] = Leases()
        self.budget = Budget(setting.rows * PRICE_NANO)
        self.keys = [Key() for _ in range(setting.keys)]
        self.workers = [Worker() for _ in range(setting.workers)]
        self.charges = bytearray(setting.rows)
        self.events: list[tuple[float, int, int, int, int, int]] = []
        self.number = self.offered = self.ended = self.unknown = self.messages = self.starts = 0
        self.worker_deaths = self.coordinator_deaths = 0
        self.now = self.free_at = self.busy_s = 0.0
        self.absent_s = 0.0

    def run(self) -> dict[str, object]:
        """To the end of the job."""
        began = time.perf_counter()
        for number, worker in enumerate(self.workers):
            worker.idle = self.setting.concurrency
            self.fill(number)
            if self.setting.deaths:
                self.at(self.random.expovariate(1 / WORKER_LIFE_S), DEATH, number)
        if self.setting.deaths:
            self.at(self.random.expovariate(1 / COORDINATOR_LIFE_S), CRASH, 0)
        while self.ended < self.setting.rows:
            self.now, _, kind, worker, unit, life = heapq.heappop(self.events)
            if kind == ANSWER:
                self.answer(worker, unit, life)
            elif kind == GRANT:
                self.grant(worker)
            elif kind == DEATH:
                self.die(worker)
            elif kind == BACK:
                self.back(worker)
            else:
                self.crash()
        return self.figures(time.perf_counter() - began)

    def at(self, moment: float, kind: int, worker: int, unit: int = 0, life: int = 0) -> None:
        self.number += 1
        heapq.heappush(self.events, (moment, self.number, kind, worker, unit, life))

    def message(self) -> float:
        """The coordinator handles a message; the time at which it has done so."""
        self.messages += 1
        self.busy_s += self.setting.message_s
        self.free_at = max(self.free_at, self.now) + self.setting.message_s
        return self.free_at

    def fill(self, number: int) -> None:
        """Idle slots of a worker ask to send what it has leased, after it has leased more where it needs to."""
        worker = self.workers[number]
        while worker.idle:
            if not worker.held:
                self.offer()
                leased = self.leases.lease(number, CHUNK)
                if not leased:
                    return
                self.message()
                worker.held.extend(leased)
            worker.idle -= 1
            key = number % len(self.keys)
            self.keys[key].waiting.append((number, worker.life))
            if not self.keys[key].is_awake:
                self.keys[key].is_awake = True
                self.at(self.now, GRANT, key)

    def offer(self) -> None:
        while self.offered < self.setting.rows and self.leases.queued < MOST_QUEUED:
            self.leases.offer(str(self.offered), self.offered)
            self.offered += 1

    def grant(self, number: int) -> None:
        """Let the next slot of a key start, or come back when it may."""
        key = self.keys[number]
        key.is_awake = False
        while key.waiting and key.waiting[0][1] != self.workers[key.waiting[0][0]].life:
            key.waiting.popleft()
        if not key.waiting:
            return
        # The coordinator first has to get there; then the window decides.
        seconds = max(self.free_at - self.now, 0.0)
        if not seconds:
            seconds = wait_s(key.starts, 0.0, self.now, limit=self.setting.limit, window_s=SPAN_S)
        if seconds:
            self.wake(number, seconds)
            return
        holder, life = key.waiting.popleft()
        worker = self.workers[holder]
        if worker.held:
            unit = worker.held.popleft()
            if self.budget.reserve(PRICE_NANO) and self.leases.advance(holder, str(unit), Stage.SENT):
                left = self.message() + ROUND_TRIP_S
                self.message()  # started
                key.starts.append(left)
                del key.starts[: -2 * self.setting.limit]
                self.starts += 1
                chance = self.random.random()
                if chance >= REFUSED:
                    self.charges[unit] += 1
                latency = self.latencies[self.starts & 0xFFFF] if chance >= REFUSED else 0.2
                outcome = -unit - 1 if chance < REFUSED else unit
                self.at(left + latency, ANSWER, holder, outcome, life)
        else:
            worker.idle += 1
        if key.waiting:
            self.wake(number, 0.0)

    def wake(self, number: int, seconds: float) -> None:
        self.keys[number].is_awake = True
        self.at(self.now + seconds, GRANT, number)

    def answer(self, number: int, outcome: int, life: int) -> None:
        """An answer arrives, unless its worker is dead by now, and is reported."""
        worker = self.workers[number]
        if life != worker.life:
            return
        self.message()
        refused = outcome < 0
        unit = -outcome - 1 if refused else outcome
        if refused:
            self.budget.release(PRICE_NANO)
            self.leases.advance(number, str(unit), Stage.HELD)
            worker.held.appendleft(unit)
        else:
            lost = self.random.random() < LOST
            self.unknown += lost
            self.budget.settle(PRICE_NANO, PRICE_NANO)
            self.leases.ended(number, str(unit))
            self.ended += 1
        worker.idle += 1
        self.fill(number)

    def die(self, number: int) -> None:
        """What the worker had sent is unknown, the rest is queued again."""
        worker = self.workers[number]
        self.worker_deaths += 1
        worker.life += 1
        worker.idle = 0
        worker.held.clear()
        for _ in self.leases.lose(number):
            self.budget.hold(PRICE_NANO)
            self.unknown += 1
            self.ended += 1
        self.at(self.now + WORKER_BACK_S, BACK, number)
        self.at(self.now + self.random.expovariate(1 / WORKER_LIFE_S), DEATH, number)

    def back(self, number: int) -> None:
        self.message()
        self.workers[number].idle = self.setting.concurrency
        self.fill(number)

    def crash(self) -> None:
        """The coordinator is gone, and its follower learns from the workers what is in flight."""
        self.coordinator_deaths += 1
        absent_s = COORDINATOR_BACK_S + self.offered * REPLAY_S_PER_ROW
        self.absent_s += absent_s
        self.free_at = max(self.free_at, self.now + absent_s)
        before, self.leases = self.leases, Leases()
        for number in range(len(self.workers)):
            self.message()
            held = set(self.workers[number].held)
            for unit in held:
                self.leases.adopt(number, str(unit), unit, Stage.HELD)
            for unit in before.lose(number):
                self.leases.adopt(number, str(unit), unit, Stage.SENT)
        while before.queued:
            for unit in before.lease(-1, MOST_QUEUED):
                self.leases.offer(str(unit), unit)
        self.at(self.now + absent_s + self.random.expovariate(1 / COORDINATOR_LIFE_S), CRASH, 0)

    def figures(self, wall_s: float) -> dict[str, object]:
        rate = self.starts / self.now
        limit = self.setting.limit * self.setting.keys / SPAN_S
        return {
            "workers": self.setting.workers,
            "keys": self.setting.keys,
            "rows": self.setting.rows,
            "hours": round(self.now / 3600, 2),
            "starts_per_s": round(rate, 1),
            "of_the_limit": round(rate / limit, 3),
            "coordinator_busy": round(self.busy_s / self.now, 3),
            "messages_per_request": round(self.messages / self.starts, 2),
            "worker_deaths": self.worker_deaths,
            "coordinator_deaths": self.coordinator_deaths,
            "absent_s": round(self.absent_s, 1),
            "unknown": self.unknown,
            "charges_beyond_one_per_row": sum(times - 1 for times in self.charges if times > 1),
            "wall_s": round(wall_s, 1),
        }


async def journal_bytes_per_row(rows: int = 2_000) -> float:
    """Of a real journal whose rows are done."""
    from nanogpt_images.batch.journal import ImageRecord, Journal
    from nanogpt_images.batch.outcomes import Done
    from nanogpt_images.batch.rows import BatchRow
    from nanogpt_images.types.parameters import CountRule

    with tempfile.TemporaryDirectory() as directory:
        async with await Journal.open(directory, service="benchmark", fsync_images=False) as journal:
            made = [BatchRow(f"a red fox in the snow, number {number}", "model") for number in range(rows)]
            admitted = await journal.admit([(row, CountRule()) for row in made])
            for number, admission in enumerate(admitted):
                await journal.sent(admission.unit.id, PRICE_NANO)
                image = ImageRecord(
                    index=0,
                    file=f"images/a-red-fox-in-the-snow-number-{number}.png",
                    media_type="image/png",
                    bytes=1,
                    sha256="0" * 64,
                )
                outcome = Done(images=[image], cost_nano=PRICE_NANO, request_id="0" * 36)
                await journal.record(admission.unit.id, outcome)
        return (Path(directory) / "journal.db").stat().st_size / rows


def main() -> None:
    """Run the settings and print their figures."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rows", type=int, default=10_000_000)
    parser.add_argument("--sweep-rows", type=int, default=200_000)
    parser.add_argument("--message-ms", type=float, default=1.1)
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    message_s = arguments.message_ms / 1000
    pairs = [(1, 1), (2, 1), (10, 1), (4, 4), (8, 8), (12, 12), (16, 16), (100, 10), (100, 100), (1_000, 10)]
    settings = [
        Setting(
            rows=arguments.sweep_rows,
            workers=workers,
            keys=keys,
            concurrency=max(4, 600 * keys // workers),
            message_s=message_s,
        )
        for workers, keys in pairs
    ]
    if arguments.rows:
        settings.append(
            Setting(rows=arguments.rows, workers=100, keys=10, concurrency=60, message_s=message_s)
        )
    found = []
    for setting in settings:
        found.append(Simulation(setting).run())
        if not arguments.json:
            print(found[-1], flush=True)
    per_row = asyncio.run(journal_bytes_per_row())
    summary = {
        "journal_bytes_per_row": round(per_row),
        "journal_gb_of_10_million_rows": round(per_row / 100, 2),
        "one_coordinator_requests_per_s": round(1 / (3 * message_s), 1),
    }
    print(json.dumps({"settings": found, **summary}) if arguments.json else summary)


if __name__ == "__main__":
    main()
