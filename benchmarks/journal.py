"""
Claim: a journal of a million rows is filled, resumed and added up in flat memory, each in under a minute.

    python benchmarks/journal.py [--rows 1000000] [--directory DIR] [--json]

Each step runs in a process of its own, which reports its time and its peak memory:
`insert` admits the rows, in chunks as a batch does; `finish` marks them all done (in the database itself, not
measured against the claim); `resume` admits the same rows again; `totals` opens the journal and adds it up.
The same steps with 1,000 rows show what a process needs anyway. State the file system beside the numbers.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import resource
import sqlite3
import subprocess
import sys
import tempfile
import time
from contextlib import closing
from pathlib import Path

CHUNK = 500
SMALL = 1_000


async def _admit(directory: Path, rows: int) -> int:
    from nanogpt_images.batch.journal import Journal
    from nanogpt_images.batch.rows import BatchRow
    from nanogpt_images.types.parameters import CountRule

    rule = CountRule(maximum=4)
    claimed = 0
    async with await Journal.open(directory, service="benchmark") as journal:
        for start in range(0, rows, CHUNK):
            chunk = [
                (BatchRow(f"a red fox in the snow, number {number}", "model", resolution="1024x1024"), rule)
                for number in range(start, min(start + CHUNK, rows))
            ]
            claimed += sum(admission.claimed for admission in await journal.admit(chunk))
    return claimed


async def _totals(directory: Path) -> int:
    from nanogpt_images.batch.journal import Journal

    async with await Journal.open(directory, service=None, read_only=True) as journal:
        return (await journal.totals()).rows


def _finish(directory: Path) -> int:
    with closing(sqlite3.connect(directory / "journal.db")) as connection, connection:
        return connection.execute("UPDATE unit SET state = 'done', cost_nano = 40000000").rowcount


def _step(step: str, directory: Path, rows: int) -> dict[str, float]:
    started = time.perf_counter()
    if step == "finish":
        count = _finish(directory)
    elif step == "totals":
        count = asyncio.run(_totals(directory))
    else:
        count = asyncio.run(_admit(directory, rows))
    expected = 0 if step == "resume" else rows
    if count != expected:
        raise SystemExit(f"{step}: {count:,} instead of {expected:,}")
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return {"seconds": round(time.perf_counter() - started, 2), "peak_mib": round(peak / 1024, 1)}


def _measure(directory: Path, rows: int) -> dict[str, dict[str, float]]:
    found = {}
    for step in ("insert", "finish", "resume", "totals"):
        command = [
            sys.executable,
            __file__,
            "--step",
            step,
            "--rows",
            str(rows),
            "--directory",
            str(directory),
        ]
        found[step] = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
    found["file"] = {"mib": round((directory / "journal.db").stat().st_size / 2**20, 1)}
    return found


def main() -> None:
    """Run the steps, or one of them in a process of its own."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").strip().partition("\n")[0])
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument(
        "--directory", type=Path, help="where to make the journals (default: a temporary one)"
    )
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--step", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.step:
        print(json.dumps(_step(options.step, options.directory, options.rows)))
        return
    with tempfile.TemporaryDirectory(dir=options.directory) as name:
        results = {
            str(rows): _measure(Path(name) / str(rows), rows) for rows in sorted({SMALL, options.rows})
        }
    if options.json:
        print(json.dumps(results))
        return
    print(f"{'rows':>10} {'step':<8} {'seconds':>8} {'peak MiB':>9}")
    for rows, steps in results.items():
        for step in ("insert", "finish", "resume", "totals"):
            print(f"{int(rows):>10,} {step:<8} {steps[step]['seconds']:>8} {steps[step]['peak_mib']:>9}")
        print(f"{int(rows):>10,} journal.db: {steps['file']['mib']} MiB")


if __name__ == "__main__":
    main()
