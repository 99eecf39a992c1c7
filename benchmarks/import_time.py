"""
What importing costs, above a bare interpreter: `import nanogpt_images` against aiohttp and openai, and the
first use of its clients; and how long the command line takes to answer.

    python benchmarks/import_time.py [--json] [--rounds N]

Each import runs in a process of its own, all in turn; the least of each is taken, because what disturbs an
import only ever adds to it.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import sys
import time

STATEMENTS = {
    "bare interpreter": "pass",
    "import nanogpt_images": "import nanogpt_images",
    "nanogpt_images.Client": "from nanogpt_images import Client",
    "nanogpt_images.AsyncClient": "from nanogpt_images import AsyncClient",
    "AsyncClient with its transport": "import nanogpt_images as ngi; ngi.AsyncClient; ngi.AiohttpTransport",
    "import aiohttp": "import aiohttp",
    "import openai": "import openai",
}
COMMANDS = {
    "nanogpt-images --version": ["-m", "nanogpt_images", "--version"],
    "nanogpt-images --help": ["-m", "nanogpt_images", "--help"],
}
# What must not be loaded before it is needed.
HEAVY = ("aiohttp", "cattrs", "attr", "anyio", "click", "rich", "openai", "pybase64", "sqlite3")


def process_ms(arguments: list[str]) -> float:
    started = time.perf_counter()
    subprocess.run([sys.executable, *arguments], check=True, capture_output=True)
    return (time.perf_counter() - started) * 1e3


def loaded(statement: str) -> list[str]:
    """Those of the heavy packages that *statement* loads."""
    code = f"import sys; {statement}; print(*(name for name in {HEAVY!r} if name in sys.modules))"
    return subprocess.run(
        [sys.executable, "-c", code], check=True, capture_output=True, text=True
    ).stdout.split()


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--json", action="store_true", help="print one JSON document")
    parser.add_argument("--rounds", type=int, default=15)
    options = parser.parse_args()
    runs = {**{name: ["-c", code] for name, code in STATEMENTS.items()}, **COMMANDS}
    times: dict[str, list[float]] = {name: [] for name in runs}
    for _ in range(options.rounds):
        for name, arguments in runs.items():
            times[name].append(process_ms(arguments))
    bare = min(times["bare interpreter"])
    # A command is waited for as a whole; an import is compared without its interpreter.
    found = {name: min(values) - (bare if name in STATEMENTS else 0.0) for name, values in times.items()}
    found["bare interpreter"] = bare
    document = {
        "python": platform.python_version(),
        "cpus": os.cpu_count(),
        "ms": {name: round(value, 2) for name, value in found.items()},
        "ratio_to_aiohttp": round(found["import nanogpt_images"] / found["import aiohttp"], 4),
        "loaded_by_import": loaded(STATEMENTS["import nanogpt_images"]),
    }
    if options.json:
        print(json.dumps(document))
        return
    for name, value in found.items():
        print(f"{name:<34}{value:>9.2f} ms{'' if name in ('bare interpreter', *COMMANDS) else ' above bare'}")
    print(f"import nanogpt_images / import aiohttp: {document['ratio_to_aiohttp']} (must reach 0.5)")
    print(f"heavy packages loaded by it: {', '.join(document['loaded_by_import']) or 'none'}")


if __name__ == "__main__":
    main()
