"""The list of faults fits the source; `run.py` beside it plants them."""

from __future__ import annotations

import importlib.util
import sys
from collections import Counter
from pathlib import Path

HERE = Path(__file__).parent


def load_runner():
    spec = importlib.util.spec_from_file_location("mutants_run", HERE / "run.py")
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


FAULTS = load_runner().read_faults()


def test_every_fault_fits_the_source() -> None:
    """Each piece still stands exactly once in its file, or the fault would test nothing."""
    assert [fault.id for fault in FAULTS if not fault.fits] == []


def test_every_test_file_exists() -> None:
    """A test that moved takes its name in the list along."""
    named = {test.partition("::")[0] for fault in FAULTS for test in fault.tests}
    assert [test for test in sorted(named) if not (HERE.parent / test).exists()] == []


def test_every_fault_is_named_once_and_explained() -> None:
    """An id means one fault, and each says what a user would lose."""
    assert [name for name, times in Counter(fault.id for fault in FAULTS).items() if times > 1] == []
    assert [fault.id for fault in FAULTS if not fault.tests or not fault.loses.endswith(".")] == []
