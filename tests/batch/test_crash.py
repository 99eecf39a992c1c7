"""A batch that is killed at any moment and run again: nothing that was answered is paid for twice, nothing is lost unseen."""

from __future__ import annotations

import hashlib
import json
import os
import random
import signal
import subprocess
import sys
from collections import Counter
from pathlib import Path

import attrs
import pytest

from nanogpt_images import AsyncClient
from nanogpt_images.batch.journal import Ending, Journal, Totals
from nanogpt_images.batch.states import State
from nanogpt_images.errors import JournalError
from nanogpt_images.sandbox import BlockingSandbox, Sandbox

SEED = 20261121
CONCURRENCY = 6
ROWS = 300
LATENCY_S = (0.0, 0.15)
LONGEST_RUN_S = 0.4

# It waits for a word, so that kills fall into the run and not into the imports.
PROGRAM = """
import asyncio, json, sys
from nanogpt_images import AsyncClient, RetryPolicy

async def main(url, key, out, concurrency):
    async with AsyncClient(key, url, requests_per_second=None, retry=RetryPolicy.none()) as client:
        await client.catalog.list()
        print("ready", flush=True)
        rows = json.loads(sys.stdin.readline())
        await client.run_batch(rows, out=out, concurrency=int(concurrency))

asyncio.run(main(*sys.argv[1:]))
"""


@attrs.define
class Job:
    """The same rows and the same directory, for one run after the other."""

    sandbox: BlockingSandbox
    out: Path
    unknown: set[str] = attrs.field(factory=set)
    kills: int = 0

    @property
    def name(self) -> str:
        """What tells the prompts of this job in the ledger."""
        return self.out.name

    def rows(self) -> list[dict[str, object]]:
        """One request each: every third a link, every fifth with two images."""
        rows: list[dict[str, object]] = []
        for number in range(ROWS):
            row: dict[str, object] = {"prompt": f"{self.name} prompt {number}", "model": "tiny-and-fast"}
            if number % 3 == 0:
                row |= {"route": "openai", "response_format": "url"}
            if number % 5 == 0:
                row |= {"count": 2}
            rows.append(row)
        return rows

    def prepare(self) -> subprocess.Popen[str]:
        """A process that is ready to run the job."""
        arguments = [self.sandbox.url, self.sandbox.api_key, str(self.out)]
        environment = {name: value for name, value in os.environ.items() if not name.startswith("NANOGPT_")}
        return subprocess.Popen(
            [sys.executable, "-c", PROGRAM, *arguments, str(CONCURRENCY)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=environment,
        )

    def start(self, process: subprocess.Popen[str]) -> None:
        """Let a prepared process begin."""
        assert process.stdout is not None
        assert process.stdin is not None
        assert process.stdout.readline() == "ready\n"
        process.stdin.write(json.dumps(self.rows()) + "\n")
        process.stdin.flush()

    def billed(self) -> Counter[str]:
        """How often each prompt was paid for."""
        return Counter(
            entry.prompt for entry in self.sandbox.ledger.billed if entry.prompt.startswith(f"{self.name} ")
        )

    async def look(self) -> tuple[Totals, list[Ending]]:
        """The sums of the journal, and its list of unknown requests."""
        async with await Journal.open(self.out, service=None, read_only=True) as journal:
            return await journal.totals(), [ending async for ending in journal.unknowns()]

    async def run_and_kill(self, most: int, chance: random.Random) -> None:
        """Run the job again and again, killed each time, until it is through or has been killed *most* times."""
        following = self.prepare()
        try:
            while True:
                process, following = following, self.prepare()
                self.start(process)
                try:
                    process.wait(chance.uniform(0, LONGEST_RUN_S) if self.kills < most else 120)
                except subprocess.TimeoutExpired:
                    self.kills += 1
                finally:
                    end(process)
                if process.returncode == 0:
                    return
                assert process.returncode == -signal.SIGKILL
                await self.check_kill()
        finally:
            end(following)

    async def check_kill(self) -> None:
        """Each request that the kill stranded is listed, and there are no more of them than were in flight."""
        try:
            totals, endings = await self.look()
        except JournalError:
            # It died before it had made its tables.
            assert not self.billed()
            return
        assert len(endings) == totals.units[State.UNKNOWN]
        unknown = {ending.unit.row.prompt for ending in endings}
        assert len(unknown - self.unknown) <= CONCURRENCY
        self.unknown |= unknown
        assert totals.units[State.SENT] == 0

    async def check_end(self) -> None:
        """All is done but what is unknown, and nothing was paid for twice."""
        totals, endings = await self.look()
        assert totals.units[State.DONE] + len(endings) == ROWS
        assert {ending.unit.row.prompt for ending in endings} <= self.unknown
        billed = self.billed()
        assert max(billed.values()) == 1
        # What the service billed is on disk, or it is listed as unknown.
        assert set(billed) | {ending.unit.row.prompt for ending in endings} == {
            row["prompt"] for row in self.rows()
        }
        assert totals.committed_nano >= round(1e9 * 0.0001 * billed.total())

    async def finish(self) -> None:
        """`retry_batch(unknown=True)` pays for what is unknown, at most once more, and for nothing else."""
        _, endings = await self.look()
        unknown = {ending.unit.row.prompt for ending in endings}
        before = self.billed()
        async with (
            AsyncClient(self.sandbox.api_key, self.sandbox.url, requests_per_second=None) as client,
            client.retry_batch(self.out, unknown=True) as run,
        ):
            await run.wait()
        assert run.report.requests == len(unknown)
        assert self.billed() - before == Counter(unknown)
        totals, endings = await self.look()
        assert (totals.units[State.DONE], endings) == (ROWS, [])

    def check_files(self) -> None:
        """Each image is a line of results.jsonl and a whole file, and none is half written."""
        lines = [json.loads(line) for line in (self.out / "results.jsonl").read_text().splitlines()]
        wanted = {
            (row["prompt"], index)
            for row in self.rows()
            for index in range(row.get("count", 1))  # type: ignore[call-overload]
        }
        assert {(line["prompt"], line["index"]) for line in lines} == wanted
        assert len({line["file"] for line in lines}) == len(lines) == len(wanted)
        for line in lines:
            data = (self.out / line["file"]).read_bytes()
            assert hashlib.sha256(data).hexdigest() == line["sha256"]
        assert not list((self.out / "images").glob(".*"))


def end(process: subprocess.Popen[str]) -> None:
    """Leave no process behind, and return when its locks are free."""
    process.kill()
    process.wait()
    for pipe in (process.stdin, process.stdout):
        assert pipe is not None
        pipe.close()


@pytest.mark.skipif(sys.platform == "win32", reason="kills are SIGKILL")
async def test_a_killed_batch_pays_for_nothing_twice(tmp_path: Path, request: pytest.FixtureRequest) -> None:
    """Killed at random moments and resumed until it is done, as often as `--kills` says; then `retry` finishes the rest."""
    chance = random.Random(SEED)
    kills = 0
    stranded = 0
    with Sandbox.in_thread(requests_per_second=None, latency_s=LATENCY_S, seed=SEED) as sandbox:
        while kills < request.config.getoption("--kills"):
            job = Job(sandbox, tmp_path / f"job-{kills}")
            await job.run_and_kill(request.config.getoption("--kills") - kills, chance)
            await job.check_end()
            await job.finish()
            job.check_files()
            assert job.kills > 0
            kills += job.kills
            stranded += len(job.unknown)
    print(f"{kills} kills, {stranded} requests were unknown for a time")
    assert stranded > 0


async def test_a_journal_without_tables_reads_as_none(tmp_path: Path) -> None:
    """A process that dies while it makes its journal leaves a file behind, and no riddle."""
    (tmp_path / "journal.db").touch()
    with pytest.raises(JournalError, match="there is no journal"):
        await Journal.open(tmp_path, service=None, read_only=True)
    async with await Journal.open(tmp_path, service="any") as journal:
        assert (await journal.totals()).rows == 0
