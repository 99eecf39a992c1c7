"""
Claim: a blocking call costs no more than that of a client made to block.

    python benchmarks/blocking.py [--json] [--rounds N]

`generate` of a 1 KiB image, blocking, one after the other: with one client that is kept, and with a new
client for each call, this package beside openai's blocking client. Each way runs in a process of its own
against one server, all in turn; medians of wall time and CPU per call. Ours checks no request against the
catalogue in the second case, where it would have to fetch it anew for each call: that, too, is measured.
"""

from __future__ import annotations

import argparse
import base64
import json
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

from compare import KIB, stub

KEY = "sk-nano-00000000-0000-4000-8000-000000000000"
MODEL = f"bench-{KIB}"
CALLS = {"kept": 400, "new": 60}


def ours(url: str, *, kept: bool, validate: bool = True) -> Callable[[], bytes]:
    from nanogpt_images import Client

    def one(client: Client) -> bytes:
        result = client.images.generate("a red fox", model=MODEL, validate=validate)
        return result.images[0].data or b""

    def new() -> bytes:
        with Client(KEY, url, requests_per_second=None) as client:
            return one(client)

    if not kept:
        return new
    client = Client(KEY, url, requests_per_second=None)
    return lambda: one(client)


def openai_sdk(url: str, *, kept: bool) -> Callable[[], bytes]:
    from openai import OpenAI

    def one(client: OpenAI) -> bytes:
        answer = client.images.generate(prompt="a red fox", model=MODEL)
        assert answer.data is not None
        return base64.b64decode(answer.data[0].b64_json or "")

    def new() -> bytes:
        with OpenAI(api_key="key", base_url=f"{url}/v1") as client:
            return one(client)

    if not kept:
        return new
    client = OpenAI(api_key="key", base_url=f"{url}/v1")
    return lambda: one(client)


WAYS: dict[str, Callable[[str], Callable[[], bytes]]] = {
    "ours, kept": lambda url: ours(url, kept=True),
    "openai, kept": lambda url: openai_sdk(url, kept=True),
    "ours, new": lambda url: ours(url, kept=False),
    "ours, new, validate=False": lambda url: ours(url, kept=False, validate=False),
    "openai, new": lambda url: openai_sdk(url, kept=False),
}


def timed(way: str, url: str) -> dict[str, float]:
    """Milliseconds per call, in this process."""
    call = WAYS[way](url)
    calls = CALLS["kept" if "kept" in way else "new"]
    for _ in range(3):
        assert len(call()) == KIB
    wall, cpu = time.perf_counter(), time.process_time()
    for _ in range(calls):
        call()
    wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    return {"wall_ms": wall / calls * 1e3, "cpu_ms": cpu / calls * 1e3}


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--json", action="store_true", help="print one JSON document")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--way", nargs=2, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.way:
        print(json.dumps(timed(*options.way)))
        # A kept client is left open, as in a script that ends.
        return
    found: dict[str, list[dict[str, float]]] = {way: [] for way in WAYS}
    with stub([KIB]) as (url, _):
        for _ in range(options.rounds):
            for way, runs in found.items():
                command = [sys.executable, str(Path(__file__)), "--way", way, url]
                done = subprocess.run(command, check=True, capture_output=True, text=True)
                runs.append(json.loads(done.stdout))
    medians = {
        way: {name: round(statistics.median(run[name] for run in runs), 4) for name in ("wall_ms", "cpu_ms")}
        for way, runs in found.items()
    }
    ratios = {
        "kept": medians["ours, kept"]["wall_ms"] / medians["openai, kept"]["wall_ms"],
        "new": medians["ours, new"]["wall_ms"] / medians["openai, new"]["wall_ms"],
        "new, validate=False": medians["ours, new, validate=False"]["wall_ms"]
        / medians["openai, new"]["wall_ms"],
    }
    if options.json:
        print(json.dumps({"ms": medians, "ratios": ratios}))
        return
    for way, row in medians.items():
        print(f"{way:<28}{row['wall_ms']:>9.3f} ms wall{row['cpu_ms']:>9.3f} ms CPU")
    for name, ratio in ratios.items():
        print(f"ours / openai, client {name}: {ratio:.3f} (must reach {0.75 if name == 'kept' else 0.2})")


if __name__ == "__main__":
    main()
