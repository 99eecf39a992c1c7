"""Interrupts in the first and the last moments of a run: exit code 130, and no traceback."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import pytest

from .conftest import TIMEOUT_S, environment

# Sends this process a signal when a module is looked for, or when a function is called: moments without a clock.
_HARNESS = """
import importlib, os, sys
number, moment = int(sys.argv[1]), sys.argv[2]
kind, _, name = moment.partition(":")

def strike(*args, **options):
    os.kill(os.getpid(), number)

class Finder:
    struck = False

    def find_spec(self, module, path=None, target=None):
        if module == name and not Finder.struck:
            Finder.struck = True
            strike()
        return None

from nanogpt_images.__main__ import main
if kind == "import":
    sys.meta_path.insert(0, Finder())
else:
    module, _, function = name.rpartition(".")
    loaded = importlib.import_module(module)
    original = getattr(loaded, function)

    def struck(*args, **options):
        setattr(loaded, function, original)
        strike()
        return original(*args, **options)

    setattr(loaded, function, struck)
sys.argv = ["nanogpt-images", *sys.argv[3:]]
main()
"""
MOMENTS = [
    "import:click",
    "import:nanogpt_images.cli.app",
    "import:nanogpt_images.cli.verbs.batch",
    "import:nanogpt_images.sandbox",
    "call:nanogpt_images.cli.verbs.batch.run_async",
    "call:nanogpt_images.cli.batch_run.open_client",
    "call:nanogpt_images.cli.batch_run.totals_of",
    "call:nanogpt_images.cli.gallery_page.write_gallery",
    "call:nanogpt_images.cli.verbs.batch.close",
    "call:nanogpt_images.cli.summary.say",
]


def struck(number: int, moment: str, directory: Path) -> subprocess.CompletedProcess[str]:
    (directory / "p.txt").write_text("a fox\n")
    batch = ["batch", "p.txt", "-m", "tiny-and-fast", "-o", "out", "--sandbox"]
    return subprocess.run(
        [sys.executable, "-c", _HARNESS, str(number), moment, *batch],
        cwd=directory,
        env=environment(),
        capture_output=True,
        encoding="utf-8",
        timeout=TIMEOUT_S,
        check=False,
    )


@pytest.mark.parametrize("moment", MOMENTS)
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupt_at_any_moment(number: int, moment: str, tmp_path: Path) -> None:
    """While modules load, before anything begins, while the gallery is written, while the summary is printed."""
    done = struck(number, moment, tmp_path)
    assert done.returncode == 130, done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupt_after_the_end_changes_nothing(number: int, tmp_path: Path) -> None:
    """Once the exit code is known there is nothing left to stop."""
    assert struck(number, "call:sys.exit", tmp_path).returncode == 0
