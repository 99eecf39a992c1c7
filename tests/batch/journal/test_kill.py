"""SIGKILL between any two steps: the journal comes back with at most the requests in flight unknown."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from nanogpt_images.batch.journal import Journal
from nanogpt_images.batch.rows import BatchRow
from nanogpt_images.batch.states import State
from nanogpt_images.types.parameters import CountRule

ROWS = 40
IN_FLIGHT = 8
WORK = """
import asyncio, hashlib, os, pathlib, sys
from nanogpt_images.batch.journal import Journal, ImageRecord
from nanogpt_images.batch.outcomes import Done
from nanogpt_images.batch.rows import BatchRow
from nanogpt_images.batch.states import State
from nanogpt_images.types.parameters import CountRule

out, rows, in_flight = pathlib.Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])

def say(word, identity):
    # One write, which a kill does not divide.
    os.write(1, f"{word} {identity}\\n".encode())

async def main():
    journal = await Journal.open(out, service="sandbox", join=True)
    (out / "images").mkdir(exist_ok=True)
    rule = CountRule()
    found = await journal.admit([(BatchRow(f"{number}", "m", key=f"k{number}"), rule) for number in range(rows)])
    slots = asyncio.Semaphore(in_flight)

    async def work(unit):
        async with slots:
            await journal.sent(unit.id, 10)
            say("sent", unit.id)
            (out / "images" / f"{unit.name}.png").write_bytes(b"x")
            image = ImageRecord(index=0, file=f"images/{unit.name}.png", media_type="image/png", bytes=1, sha256="0")
            await journal.record(unit.id, Done(images=[image], cost_nano=10))
            say("done", unit.id)

    await asyncio.gather(*(work(a.unit) for a in found if a.claimed and a.state is State.PENDING))
    await journal.aclose()

asyncio.run(main())
"""


def killed_after(out: Path, lines: int) -> list[str]:
    """What a process said that was killed after *lines* lines, or that came to its end before."""
    command = [sys.executable, "-c", WORK, str(out), str(ROWS), str(IN_FLIGHT)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        said = [line for _, line in zip(range(lines), process.stdout, strict=False)]
        os.kill(process.pid, signal.SIGKILL)
        return said + process.stdout.readlines()


@pytest.mark.skipif(sys.platform == "win32", reason="SIGKILL")
@pytest.mark.parametrize("lines", [1, 7, 19, 40])
async def test_a_kill_strands_at_most_what_was_in_flight(out: Path, lines: int) -> None:
    """What was reported done stays done, what was not sent is free, the rest is unknown and listed; sums agree."""
    said = [line.split() for line in killed_after(out, lines)]
    done = {identity for word, identity in said if word == "done"}
    async with await Journal.open(out, service="sandbox", read_only=True) as reader:
        seen = await reader.totals()
        listed = [ending.unit.id async for ending in reader.unknowns()]
    async with await Journal.open(out, service="sandbox") as journal:
        totals = await journal.totals()
        unknown = {ending.unit.id async for ending in journal.unknowns()}
        rows = [(BatchRow(f"{number}", "m", key=f"k{number}"), CountRule()) for number in range(ROWS)]
        again = {found.unit.id: found for found in await journal.admit(rows)}
    assert seen == totals, "a reader sees what the next process will record"
    assert set(listed) == unknown
    assert totals.units[State.SENT] == 0
    assert len(unknown) <= IN_FLIGHT
    assert all(again[identity].state is State.DONE for identity in done)
    assert not any(again[identity].claimed for identity in done | unknown)
    assert {identity for word, identity in said if word == "sent"} <= {
        identity for identity, found in again.items() if not found.claimed
    }
    assert totals.spent_nano == totals.images * 10
    assert totals.unknown_nano == len(unknown) * 10
    files = (
        [json.loads(line)["file"] for line in (out / "results.jsonl").read_text().splitlines()]
        if totals.images
        else []
    )
    assert len(files) == len(set(files)) == totals.images


@pytest.mark.skipif(sys.platform == "win32", reason="SIGKILL")
async def test_a_dead_peers_units_go_to_the_living(out: Path) -> None:
    """A process that joined takes over what a killed peer had claimed, except what it had sent."""
    async with await Journal.open(out, service="sandbox") as journal:
        said = killed_after(out, 5)
        sent = {line.split()[1] for line in said if line.startswith("sent")}
        taken = {found.unit.id async for found in journal.pending(left_by_peers=True)}
        totals = await journal.totals()
    assert not taken & sent
    assert len(taken) + totals.units[State.UNKNOWN] + totals.units[State.DONE] == ROWS
