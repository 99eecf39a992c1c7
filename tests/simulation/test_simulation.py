"""Some seeds of the simulation, and its own promises: it ends, it finds what is wrong, and a seed is always the same run."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

HERE = Path(__file__).parent


def load_planter():
    spec = importlib.util.spec_from_file_location("simulation_plant", HERE / "plant.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


PLANTED = load_planter()


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


def test_every_planted_fault_fits_the_source() -> None:
    """Each piece still stands exactly once in its file, is named once, and says what a user would lose."""
    faults = PLANTED.read_faults()
    assert [fault.id for fault in faults if not fault.fits] == []
    assert [name for name, times in Counter(fault.id for fault in faults).items() if times > 1] == []
    assert [fault.id for fault in faults if not fault.loses.endswith(".")] == []
    assert len(faults) >= 50


def test_a_planted_fault_is_found(tmp_path: Path) -> None:
    """The first seeds find an intent that is written down after its POST, in a copy of the package."""
    (fault,) = [fault for fault in PLANTED.read_faults() if fault.id == "intent-after-the-post"]
    seeds, rule = PLANTED.find(fault, 100)
    assert seeds is not None
    assert rule.startswith("every charge")
