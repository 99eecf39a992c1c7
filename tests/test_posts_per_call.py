"""The benchmark of POSTs per call, in its quick form."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

BENCHMARK = Path(__file__).parents[1] / "benchmarks" / "posts_per_call.py"


def test_what_may_have_been_charged_is_posted_once() -> None:
    """Whatever breaks, and where the official client repeats; refusals are repeated by both."""
    done = subprocess.run(
        [sys.executable, BENCHMARK, "--quick", "--json"],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    records = {record["case"]: record for record in json.loads(done.stdout)}
    assert len(records) >= 14
    for record in records.values():
        if record["may_be_charged"]:
            assert record["nanogpt_images"]["posts"] == 1, record["case"]
    for refusal in ("429 Too Many Requests", "503 Service Unavailable"):
        assert records[refusal]["nanogpt_images"]["posts"] > 1
    assert records["connection refused"]["nanogpt_images"] == {"posts": 0, "outcome": "ConnectError not_sent"}
    # The server counts what it should: a client that repeats is seen to repeat.
    assert records["dropped after the request body"]["openai"]["posts"] > 1
