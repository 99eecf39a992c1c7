"""Some seeds of the simulation, and its own promises: it ends, it finds what is wrong, and a seed is always the same run."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).parent


def simulate(*options: object, **environment: str) -> tuple[int, str]:
    """Run the simulation in a process of its own; its exit code and what it says."""
    ended = subprocess.run(
        [sys.executable, HERE / "simulate.py", *map(str, options)],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, **environment},
    )
    return ended.returncode, ended.stdout + ended.stderr


def test_no_seed_breaks_a_rule(request: pytest.FixtureRequest) -> None:
    """Whatever is killed, cancelled, refused, cut, full or late: the rules of `auditor` hold."""
    code, told = simulate("--seeds", request.config.getoption("seeds"))
    assert code == 0, told


@pytest.mark.parametrize("seed", [10, 40, 57])
def test_a_seed_is_one_run(seed: int) -> None:
    """Two processes write the same trace, byte for byte, also where other seeds were run before."""
    alone = simulate("--seed", seed, "--trace")
    assert alone[1].count("\n") > 5
    assert simulate("--seed", seed, "--trace", PYTHONHASHSEED="1") == alone
    assert simulate("--seed", seed, "--trace", "--before", 5) == alone
