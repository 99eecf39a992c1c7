"""
Plant faults in copies of the package, one at a time, and print which tests catch each.

    .venv/bin/python tests/mutants/run.py                all faults of faults.toml
    .venv/bin/python tests/mutants/run.py --only budget  those whose id matches this pattern

A fault is a piece of source that is replaced by another. The run fails where no test catches one, and where a fault
cannot be planted or its tests cannot be run at all.
"""

from __future__ import annotations

import argparse
import concurrent.futures
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
import tomllib
from dataclasses import dataclass
from pathlib import Path

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
PACKAGE = "nanogpt_images"
LIMIT_S = 600
_FAILED = re.compile(r"^(?:FAILED|ERROR) \S*?([^/\s]+::\S+)", re.MULTILINE)
# The copy must be what the tests import, and not what is installed; -P keeps the checkout off the path.
_START = """
import pathlib, sys, pytest

class Planted:
    def pytest_sessionstart(self):
        import hypothesis

        # To find a failure is enough; the smallest one is for people.
        phases = [hypothesis.Phase.explicit, hypothesis.Phase.generate]
        hypothesis.settings.register_profile("planted", deadline=None, phases=phases)
        hypothesis.settings.load_profile("planted")

    def pytest_collection_finish(self):
        found = pathlib.Path(sys.modules["nanogpt_images"].__file__).parent
        assert found == pathlib.Path(sys.argv[1]), found

sys.exit(pytest.main(sys.argv[2:], plugins=[Planted()]))
"""


@dataclass(frozen=True)
class Fault:
    """
    A piece of *file* that is replaced.

    Attributes:
        id: What it is called.
        file: Path within the package.
        find: Source that stands there exactly once.
        replace: What takes its place.
        tests: The files that should notice, relative to tests/.
        loses: What it would cost a user.
    """

    id: str
    file: str
    find: str
    replace: str
    tests: tuple[str, ...]
    loses: str

    @property
    def source(self) -> str:
        """The file without the fault."""
        return (ROOT / PACKAGE / self.file).read_text("utf-8")

    @property
    def fits(self) -> bool:
        """Whether the piece occurs exactly once, and its replacement differs."""
        return self.source.count(self.find) == 1 and self.find != self.replace


@dataclass(frozen=True)
class Outcome:
    """How the tests of a fault ended: *caught* names those that failed; *broken* says why they did not run."""

    fault: Fault
    seconds: float
    caught: tuple[str, ...] = ()
    broken: str = ""

    @property
    def line(self) -> str:
        """A row of the table."""
        found = ", ".join(self.caught) or (f"DID NOT RUN: {self.broken}" if self.broken else "SURVIVED")
        return f"{self.fault.id:44} {self.seconds:5.1f} s  {found}"


def main() -> int:
    """Run the faults asked for and print a line for each; return 1 where one survives or cannot be planted."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--only", default="", help="run the faults whose id matches this pattern")
    parser.add_argument("--workers", type=int, default=os.cpu_count() or 1, help="faults at the same time")
    options = parser.parse_args()
    faults = [fault for fault in read_faults() if re.search(options.only, fault.id)]
    if stale := [fault.id for fault in faults if not fault.fits]:
        print("the source has changed under these faults:", ", ".join(stale))
        return 1
    outcomes: list[Outcome] = []
    with concurrent.futures.ThreadPoolExecutor(options.workers) as pool:
        for done in concurrent.futures.as_completed([pool.submit(run, fault) for fault in faults]):
            outcomes.append(done.result())
            print(outcomes[-1].line, flush=True)
    bad = [outcome for outcome in outcomes if not outcome.caught]
    print(f"\n{len(outcomes)} faults, {len(outcomes) - len(bad)} caught")
    for outcome in bad:
        print(f"{outcome.line}\n    {outcome.fault.loses}")
    return 1 if bad or not faults else 0


def read_faults() -> list[Fault]:
    """The faults of faults.toml."""
    document = tomllib.loads((HERE / "faults.toml").read_text("utf-8"))
    return [Fault(**{**record, "tests": tuple(record["tests"])}) for record in document["fault"]]


def planted(fault: Fault, folder: Path) -> Path:
    """Copy the package into *folder* with *fault* in it, and return the copy."""
    copy = folder / PACKAGE
    # With its compiled modules: those that do not have the fault need not be compiled again.
    shutil.copytree(ROOT / PACKAGE, copy)
    (copy / fault.file).write_text(fault.source.replace(fault.find, fault.replace), "utf-8")
    for compiled in (copy / fault.file).parent.glob(f"__pycache__/{Path(fault.file).stem}.*"):
        compiled.unlink()
    return copy


def run(fault: Fault) -> Outcome:
    """Run the tests of *fault* on a package that has it."""
    began = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        copy = planted(fault, Path(folder))
        options = [
            "--maxfail=3",
            "--quiet",
            "--no-header",
            "--tb=no",
            "--timeout=120",
            "-p",
            "no:cacheprovider",
            "-p",
            "no:xdist",
        ]
        try:
            ended = subprocess.run(
                [sys.executable, "-P", "-c", _START, str(copy), *options, "--hypothesis-seed=0"]
                + [f"tests/{test}" for test in fault.tests],
                cwd=ROOT,
                env={
                    **os.environ,
                    "PYTHONPATH": folder,
                    "PYTHONSAFEPATH": "1",
                    "HYPOTHESIS_STORAGE_DIRECTORY": f"{folder}/hypothesis",
                },
                capture_output=True,
                text=True,
                timeout=LIMIT_S,
                check=False,
            )
        except subprocess.TimeoutExpired:
            return Outcome(fault, time.monotonic() - began, broken=f"no end after {LIMIT_S} s")
    seconds = time.monotonic() - began
    caught = tuple(dict.fromkeys(_FAILED.findall(ended.stdout)))
    # 1: tests failed; 0: none did. Anything else says that they were not run, which is no catch.
    if ended.returncode not in (0, 1) or (ended.returncode == 1 and not caught):
        lines = (ended.stdout + ended.stderr).strip().splitlines()
        return Outcome(fault, seconds, broken=lines[-1] if lines else f"exit {ended.returncode}")
    return Outcome(fault, seconds, caught=caught)


if __name__ == "__main__":
    sys.exit(main())
