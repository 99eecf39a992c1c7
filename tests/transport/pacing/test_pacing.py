"""Requests per second as the server sees them, however many processes joined one job."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from bisect import bisect_left
from collections import Counter
from pathlib import Path

import attrs
import pytest

from nanogpt_images.sandbox import BlockingSandbox, Sandbox

# It notes when the first byte of each body leaves; the monotonic clock is one for all processes.
PROGRAM = """
import asyncio, json, sys, time
from nanogpt_images import AsyncClient, RetryPolicy
from nanogpt_images.transport.protocol import HttpRequest

starts = []
begin_body = HttpRequest.begin_body

def noted(request):
    starts.append(time.monotonic())
    begin_body(request)

HttpRequest.begin_body = noted

async def main(url, key, out, limit):
    async with AsyncClient(key, url, requests_per_second=float(limit), retry=RetryPolicy.none()) as client:
        await client.catalog.list()
        print("ready", flush=True)
        rows = json.loads(sys.stdin.readline())
        await client.run_batch(rows, out=out, join=True)
        print(json.dumps(starts))

asyncio.run(main(*sys.argv[1:]))
"""
ATTEMPTS = 3


@attrs.frozen
class Group:
    """Processes that work on one directory."""

    sandbox: BlockingSandbox
    out: Path
    limit: int

    def run(self, processes: int, rows: list[dict[str, object]]) -> list[float]:
        """Do *rows* with so many processes that begin together; when each request left."""
        running = [self._start() for _ in range(processes)]
        try:
            for process in running:
                assert process.stdout is not None
                assert process.stdout.readline() == "ready\n"
            # A shard for each: of one manifest, the first would claim all before the others look.
            for place, process in enumerate(running):
                assert process.stdin is not None
                process.stdin.write(json.dumps(rows[place::processes]) + "\n")
                process.stdin.flush()
            return sorted(
                start for process in running for start in json.loads(process.communicate(timeout=60)[0])
            )
        finally:
            for process in running:
                process.kill()
                process.communicate()

    def _start(self) -> subprocess.Popen[str]:
        arguments = [self.sandbox.url, self.sandbox.api_key, str(self.out), str(self.limit)]
        environment = {name: value for name, value in os.environ.items() if not name.startswith("NANOGPT_")}
        return subprocess.Popen(
            [sys.executable, "-c", PROGRAM, *arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=environment,
        )


def most_in_a_second(starts: list[float]) -> int:
    """The greatest number of *starts* within any one second."""
    return max(bisect_left(starts, start + 1.0) - place for place, start in enumerate(starts))


@pytest.mark.parametrize(("processes", "limit", "requests"), [(1, 20, 50), (4, 20, 50), (8, 25, 60)])
def test_no_second_holds_more_starts_than_the_limit(
    tmp_path: Path, processes: int, limit: int, requests: int
) -> None:
    """Joined processes share one window: strictly as they send, and as the server receives; each request leaves once."""
    rows: list[dict[str, object]] = [
        {"prompt": f"prompt {number}", "model": "tiny-and-fast"} for number in range(requests)
    ]
    # A server that is held up on a busy machine sees late, and in a heap, what left in time: it may look again.
    for attempt in range(1, ATTEMPTS + 1):
        with Sandbox.in_thread(requests_per_second=None) as sandbox:
            starts = Group(sandbox, tmp_path / f"out-{attempt}", limit).run(processes, rows)
            ledger = sandbox.ledger
        assert most_in_a_second(starts) <= limit
        # A batch that is paced far below its limit would pass all the rest.
        assert most_in_a_second(starts) > limit // 2
        assert len(starts) == len({entry.prompt for entry in ledger.billed}) == len(ledger.posts) == requests
        assert ledger.statuses == Counter({200: requests})
        if ledger.max_starts_in_any_second() <= limit:
            return
    pytest.fail(
        f"the server saw {ledger.max_starts_in_any_second()} starts in a second; the limit is {limit}"
    )
