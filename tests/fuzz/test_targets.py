"""The fuzz targets themselves; `run.py` runs them."""

from __future__ import annotations

import runpy
from pathlib import Path

import pytest

HERE = Path(__file__).parent


@pytest.mark.parametrize("target", sorted(HERE.glob("fuzz_*.py")), ids=lambda path: path.stem)
def test_a_target_accepts_its_own_seeds(target: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What each target begins with raises nothing, also where atheris cannot be installed."""
    monkeypatch.syspath_prepend(str(HERE))
    names = runpy.run_path(str(target))
    assert names["SEEDS"]
    for seed in names["SEEDS"]:
        names["check"](seed)
