"""
Plant faults in copies of the package, one at a time, and print how many seeds the simulation needs to find each.

    .venv/bin/python tests/simulation/plant.py                 all of planted.toml
    .venv/bin/python tests/simulation/plant.py --only ledger   those whose id holds this text
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import os
import subprocess
import sys
import tempfile
import tomllib
from pathlib import Path

HERE = Path(__file__).parent


def _mutants():
    spec = importlib.util.spec_from_file_location("mutants_run", HERE.parent / "mutants" / "run.py")
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


MUTANTS = _mutants()


DOCUMENT = tomllib.loads((HERE / "planted.toml").read_text("utf-8"))


def read_faults() -> list:
    """The faults of planted.toml, with those of tests/mutants/faults.toml that it names."""
    document = DOCUMENT
    shared = {fault.id: fault for fault in MUTANTS.read_faults()}
    own = [MUTANTS.Fault(**record, tests=()) for record in document["fault"]]
    return [shared[name] for name in document["known"]] + own


def find(fault, seeds: int) -> tuple[int | None, str]:
    """Run the simulation on a package that has *fault*: the seeds it took, and the rule that was broken."""
    with tempfile.TemporaryDirectory() as folder:
        MUTANTS.planted(fault, Path(folder))
        ended = subprocess.run(
            [sys.executable, HERE / "simulate.py", "--seeds", str(seeds), "--no-shrink", "--json"],
            env={**os.environ, "PYTHONPATH": folder, "PYTHONHASHSEED": "0"},
            capture_output=True,
            text=True,
            check=False,
        )
    lines = ended.stdout.strip().splitlines()
    if not lines or not lines[-1].startswith("{"):
        return None, f"did not run: {(ended.stderr.strip().splitlines() or ['no word'])[-1]}"
    counts = json.loads(lines[-1])
    if not counts["broken"]:
        return None, "NOT FOUND"
    _, rule = counts["broken"][0]
    return counts["seeds"], rule


def main() -> int:
    """Print a row for each fault; return 1 where one that was found before is not found."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--only", default="", help="plant the faults whose id holds this text")
    parser.add_argument("--seeds", type=int, default=20_000, help="the most seeds for each")
    options = parser.parse_args()
    faults = [fault for fault in read_faults() if options.only in fault.id]
    if stale := [fault.id for fault in faults if not fault.fits]:
        print("the source has changed under these faults:", ", ".join(stale))
        return 1
    missed = lost = 0
    for fault in faults:
        needed, rule = find(fault, options.seeds)
        missed += needed is None
        lost += needed is None and fault.id not in DOCUMENT["unproven"]
        print(f"{fault.id:46} {needed or '-':>6}  {rule[:110]}", flush=True)
    print(f"\n{len(faults)} faults, {len(faults) - missed} found within {options.seeds:,} seeds each")
    return 1 if lost else 0


if __name__ == "__main__":
    sys.exit(main())
