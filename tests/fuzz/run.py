"""
Run all fuzz targets at once for some seconds: `python tests/fuzz/run.py 60`.

A target that finds something prints its traceback and the input; run it alone with the file of the input to
see it again: `python tests/fuzz/fuzz_b64stream.py crash-…`.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from importlib.util import find_spec
from pathlib import Path

HERE = Path(__file__).parent


def run(target: Path, seconds: int, found: Path) -> tuple[Path, int, str]:
    """Run a target in a process of its own; inputs that it finds go to *found*."""
    done = subprocess.run(
        [sys.executable, target, f"-max_total_time={seconds}", f"-artifact_prefix={found}{os.sep}"],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        encoding="utf-8",
        errors="replace",
        timeout=seconds + 120,
        check=False,
    )
    return target, done.returncode, done.stdout


def main(seconds: int) -> int:
    """Run all targets; return how many found something."""
    if find_spec("atheris") is None:
        print("no fuzzing here: there is no atheris for this platform")
        return 0
    found = Path(tempfile.mkdtemp(prefix="fuzz-"))
    targets = sorted(HERE.glob("fuzz_*.py"))
    with ThreadPoolExecutor(len(targets)) as pool:
        runs = pool.map(lambda target: run(target, seconds, found), targets)
        failed = 0
        for target, code, output in runs:
            lines = output.splitlines()
            done = next((line for line in reversed(lines) if line.startswith("Done ")), "no end")
            print(
                f"{target.name}: {done}"
                if code == 0
                else f"{target.name} failed with {code}, inputs in {found}"
            )
            if code:
                failed += 1
                print("\n".join(lines[-60:]))
    return failed


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1]) if len(sys.argv) > 1 else 60))
