"""Every script in examples/ runs against a sandbox, with what its inline metadata names."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

from nanogpt_images.sandbox import BlockingSandbox, Sandbox

EXAMPLES = Path(__file__).parent.parent / "examples"
SCRIPTS = sorted(EXAMPLES.glob("*.py"))
METADATA = re.compile(r"^# /// script\n((?:#.*\n)+?)# ///$", re.MULTILINE)


@pytest.fixture(scope="module")
def sandbox() -> Iterator[BlockingSandbox]:
    with Sandbox.in_thread(requests_per_second=None, balance_usd=100) as running:
        yield running


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.stem)
def test_an_example_runs_twice_in_one_directory(
    script: Path, sandbox: BlockingSandbox, tmp_path: Path
) -> None:
    """The second run meets what the first one wrote, and pays for no row of a batch again."""
    variables = {**os.environ, "NANOGPT_API_KEY": sandbox.api_key, "NANOGPT_BASE_URL": sandbox.url}
    billed = []
    for _ in range(2):
        before = len(sandbox.ledger.entries)
        done = subprocess.run(
            [sys.executable, str(script)],
            cwd=tmp_path,
            env=variables,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        assert done.stdout.strip()
        billed.append(len(sandbox.ledger.entries) - before)
    if (tmp_path / "animals").exists() or (tmp_path / "compared").exists():
        assert billed[0] > 0
        assert billed[1] == 0


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.stem)
def test_an_example_says_what_it_needs(script: Path) -> None:
    """Inline metadata, by name alone, and a line in the table of the folder."""
    found = METADATA.search(script.read_text("utf-8"))
    assert found, script
    metadata = tomllib.loads(re.sub(r"^# ?", "", found[1], flags=re.MULTILINE))
    assert metadata == {"requires-python": ">=3.11", "dependencies": ["nanogpt_images"]}
    assert f"]({script.name})" in (EXAMPLES / "README.md").read_text("utf-8")
