"""
What receiving images costs: this package beside openai-python, plain aiohttp and the floor of the machine.

    python benchmarks/compare.py [--quick] [--json] [--rounds N] [--sizes …] [--concurrency …] [--clients …]
                                 [--directory DIR]

One process serves answers that were rendered beforehand. Each client runs in a process of its own (see
`clients/harness.py`), all of them in turn, in each of the rounds; medians are printed. Files are compared
with what was sent after every run, images in memory in a run before the first round. Only ratios of one run
count. State the file system of DIR: it is part of what is measured.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

HERE = Path(__file__).parent / "clients"
KIB, MIB = 1024, 1024 * 1024
SIZES = {"1K": KIB, "64K": 64 * KIB, "1.5M": 3 * MIB // 2, "12M": 12 * MIB}
# Eight of these at once, arriving together, are the claim about a stalled loop.
STALL_BYTES, STALL_COUNT = 16_000_000, 8
CLIENTS = (
    "ours",
    "ours-memory",
    "ours-batch",
    "ours-batch-nojournal",
    "openai",
    "openai-aiohttp",
    "openai-pybase64",
    "openai-pybase64-memory",
    "openai-memory",
    "aiohttp-json",
    "floor",
)
QUICK_CLIENTS = ("ours", "ours-memory", "ours-batch", "openai", "openai-memory", "aiohttp-json", "floor")
REFERENCES = ("openai", "openai-aiohttp", "aiohttp-json", "floor")
MEASURES = ("images_per_s", "cpu_ms", "peak_mib", "stall_ms")

Medians = dict[str, dict[str, float]]


class Cell(NamedTuple):
    """What all clients do in turn."""

    size: int
    concurrency: int
    requests: int


# Name, (size, concurrency), measure, client, reference, and the ratio that must be reached.
CLAIMS = (
    ("CPU, 1.5 MiB, 64 at once, to disk / openai", (SIZES["1.5M"], 64), "cpu_ms", "ours", "openai", 0.25),
    ("CPU, 12 MiB, 64 at once, to disk / openai", (SIZES["12M"], 64), "cpu_ms", "ours", "openai", 0.20),
    ("CPU, 1.5 MiB, 64 at once, to disk / floor", (SIZES["1.5M"], 64), "cpu_ms", "ours", "floor", 1.8),
    ("CPU, 12 MiB, 64 at once, to disk / floor", (SIZES["12M"], 64), "cpu_ms", "ours", "floor", 1.8),
    (
        "CPU, 1.5 MiB, 16 at once, to disk / openai + pybase64",
        (SIZES["1.5M"], 16),
        "cpu_ms",
        "ours",
        "openai-pybase64",
        0.35,
    ),
    (
        "CPU, 1.5 MiB, 16 at once, in memory / openai + pybase64",
        (SIZES["1.5M"], 16),
        "cpu_ms",
        "ours-memory",
        "openai-pybase64-memory",
        0.35,
    ),
    ("peak memory, 64 x 12 MiB, to disk / openai", (SIZES["12M"], 64), "peak_mib", "ours", "openai", 0.05),
    (
        "requests/s, 1 KiB, 64 at once, in memory / openai in memory",
        (SIZES["1K"], 64),
        "images_per_s",
        "ours-memory",
        "openai-memory",
        5,
    ),
    (
        "requests/s, 1 KiB, 64 at once, to disk / openai",
        (SIZES["1K"], 64),
        "images_per_s",
        "ours",
        "openai",
        5,
    ),
    (
        "CPU, 1 KiB, 64 at once, batch with journal / without",
        (SIZES["1K"], 64),
        "cpu_ms",
        "ours-batch",
        "ours-batch-nojournal",
        2.0,
    ),
)


def cells_of(sizes: list[int], concurrency: list[int], *, quick: bool) -> list[Cell]:
    """Each with enough requests to measure, and few enough to wait for."""
    most, volume = (500, 96 * MIB) if quick else (2000, 288 * MIB)
    cells: list[Cell] = []
    for size in sizes:
        wanted = max(4, min(most, volume // size))
        cells += [
            Cell(size, at_once, max(at_once, wanted if at_once > 1 else wanted // 4))
            for at_once in concurrency
        ]
    return [*cells, Cell(STALL_BYTES, STALL_COUNT, STALL_COUNT)]


def installed(clients: list[str]) -> list[str]:
    """*clients* without the aiohttp backend of openai where its extra is missing."""
    code = "import openai; openai.DefaultAioHttpClient()"
    if (
        "openai-aiohttp" in clients
        and subprocess.run([sys.executable, "-c", code], capture_output=True, check=False).returncode
    ):
        print("openai[aiohttp] is not installed: left out", file=sys.stderr)
        return [client for client in clients if client != "openai-aiohttp"]
    return clients


@contextmanager
def stub(sizes: list[int]) -> Iterator[tuple[str, dict[str, str]]]:
    """The server's URL, and the SHA-256 of each size."""
    command = [sys.executable, str(HERE / "stub.py"), *map(str, sizes)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        try:
            about = json.loads(process.stdout.readline())
            yield f"http://127.0.0.1:{about['port']}", about["sha256"]
        finally:
            process.stdin.close()


def run(client: str, url: str, directory: Path, cell: Cell, digest: str, *flags: str) -> dict[str, float]:
    """One client, once."""
    arguments = [
        client,
        url,
        str(directory),
        str(cell.size),
        str(cell.requests),
        str(cell.concurrency),
        digest,
    ]
    done = subprocess.run(
        [sys.executable, str(HERE / "harness.py"), *arguments, *flags],
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise SystemExit(f"{client} failed:\n{done.stderr}")
    found = json.loads(done.stdout)
    return {name: found[name] for name in MEASURES}


def measure(cell: Cell, clients: list[str], rounds: int, url: str, digest: str, directory: Path) -> Medians:
    """Medians of all clients for one size and concurrency."""
    runs: dict[str, list[dict[str, float]]] = {client: [] for client in clients}
    for client in clients:
        if client.endswith("-memory"):
            run(client, url, directory / client, cell, digest, "--check")
    for _ in range(rounds):
        for client, found in runs.items():
            found.append(run(client, url, directory / client, cell, digest))
    return {
        client: {name: statistics.median(one[name] for one in found) for name in MEASURES}
        for client, found in runs.items()
    }


def claims(results: dict[Cell, Medians]) -> list[dict[str, object]]:
    """The ratios that are claimed, as far as this run measured them."""
    rows: list[dict[str, object]] = []
    by_size = {(cell.size, cell.concurrency): medians for cell, medians in results.items()}
    for name, cell, measured, client, reference, bound in CLAIMS:
        medians = by_size.get(cell, {})
        if client in medians and reference in medians:
            ratio = medians[client][measured] / max(medians[reference][measured], 1e-9)
            rows.append({"claim": name, "ratio": round(ratio, 3), "must_reach": bound})
    small, large = by_size.get((SIZES["1.5M"], 64), {}), by_size.get((SIZES["12M"], 64), {})
    if "ours" in small and "ours" in large:
        ratio = large["ours"]["peak_mib"] / small["ours"]["peak_mib"]
        name = "peak memory, 64 at once, to disk, 12 MiB / 1.5 MiB"
        rows.append({"claim": name, "ratio": round(ratio, 3), "must_reach": 1.3})
    if "ours" in (stalled := by_size.get((STALL_BYTES, STALL_COUNT), {})):
        name = "worst loop stall, 8 x 16 MB arriving, ms"
        rows.append({"claim": name, "ratio": round(stalled["ours"]["stall_ms"], 1), "must_reach": 20})
    return rows


def print_tables(results: dict[Cell, Medians]) -> None:
    for cell, medians in results.items():
        print(f"\n{cell.size:,} bytes, {cell.concurrency} at once, {cell.requests} requests")
        heads = "".join(f"{'/ ' + name:>18}" for name in REFERENCES if name in medians)
        print(f"{'':<22}{'images/s':>10}{'CPU ms':>9}{'peak MiB':>10}{'stall ms':>10}   CPU{heads}")
        for client, row in medians.items():
            ratios = "".join(
                f"{row['cpu_ms'] / medians[name]['cpu_ms']:>18.2f}" for name in REFERENCES if name in medians
            )
            print(
                f"{client:<22}{row['images_per_s']:>10.1f}{row['cpu_ms']:>9.3f}{row['peak_mib']:>10.1f}"
                f"{row['stall_ms']:>10.1f}      {ratios}"
            )
    print()
    for row in claims(results):
        print(f"{row['claim']:<62}{row['ratio']:>9}   must reach {row['must_reach']}")


def machine(directory: Path) -> dict[str, object]:
    """What the numbers depend on."""
    found = subprocess.run(
        ["stat", "-f", "-c", "%T", str(directory)], capture_output=True, text=True, check=False
    )
    return {
        "python": platform.python_version(),
        "system": platform.platform(),
        "cpus": os.cpu_count(),
        "file_system": found.stdout.strip() or "unknown",
    }


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--quick", action="store_true", help="three cells, two rounds: within a minute")
    parser.add_argument("--json", action="store_true", help="print one JSON document")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--sizes", nargs="+", choices=SIZES, default=list(SIZES))
    parser.add_argument("--concurrency", nargs="+", type=int, default=[1, 16, 64])
    parser.add_argument("--clients", nargs="+", choices=CLIENTS, default=list(CLIENTS))
    parser.add_argument("--directory", help="where images are written (default: the one for temporary files)")
    options = parser.parse_args()
    if options.quick:
        options.rounds, options.sizes, options.concurrency = 2, ["1K", "1.5M"], [64]
        options.clients = [client for client in options.clients if client in QUICK_CLIENTS]
    cells = cells_of([SIZES[size] for size in options.sizes], options.concurrency, quick=options.quick)
    present = installed(options.clients)
    results: dict[Cell, Medians] = {}
    sizes = sorted({KIB, *(cell.size for cell in cells)})
    with tempfile.TemporaryDirectory(dir=options.directory) as name, stub(sizes) as (url, digests):
        about = machine(Path(name))
        for cell in cells:
            print(f"measuring {cell.size:,} bytes, {cell.concurrency} at once", file=sys.stderr)
            clients = present
            if cell.size == STALL_BYTES:
                clients = [
                    client for client in present if client in ("ours", "ours-memory", "openai", "floor")
                ]
            results[cell] = measure(cell, clients, options.rounds, url, digests[str(cell.size)], Path(name))
    if options.json:
        rows = [{**cell._asdict(), "clients": medians} for cell, medians in results.items()]
        print(
            json.dumps({"machine": about, "rounds": options.rounds, "cells": rows, "claims": claims(results)})
        )
        return
    print(", ".join(f"{key} {value}" for key, value in about.items()))
    print_tables(results)


if __name__ == "__main__":
    main()
