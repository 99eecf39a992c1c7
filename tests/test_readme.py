"""What the README shows works: its Python runs, its commands succeed, its links lead somewhere."""

from __future__ import annotations

import json
import os
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from nanogpt_images.sandbox import BlockingSandbox, Sandbox

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"^```(\w+)\n(.*?)^```", README, re.MULTILINE | re.DOTALL)
SCRIPTS = [code for language, code in BLOCKS if language == "python"]
MANIFESTS = [code for language, code in BLOCKS if language == "json"]
LINES = [line for language, code in BLOCKS if language == "console" for line in code.splitlines()]
COMMANDS = [line for line in LINES if line.startswith("nanogpt-images")]


@pytest.fixture(scope="module")
def sandbox() -> Iterator[BlockingSandbox]:
    with Sandbox.in_thread(requests_per_second=None) as running:
        yield running


def run(words: list[str], directory: Path, **variables: str) -> str:
    """Run Python as a reader would, and return what it prints."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("NANOGPT_")}
    done = subprocess.run(
        [sys.executable, *words],
        cwd=directory,
        env={**kept, "PYTHONIOENCODING": "utf-8", **variables},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, f"{words}\n{done.stdout}\n{done.stderr}"
    return done.stdout


def test_every_block_is_one_that_runs_here() -> None:
    """Three scripts, a manifest, and commands; what is not run sets up an environment."""
    assert (len(SCRIPTS), len(MANIFESTS)) == (3, 1)
    assert len(COMMANDS) == 4
    assert [line for line in LINES if line not in COMMANDS and not line.startswith("python3 -m venv")] == []
    assert {language for language, _ in BLOCKS} == {"console", "json", "python"}


def test_a_reader_goes_through_it_in_one_directory(sandbox: BlockingSandbox, tmp_path: Path) -> None:
    """Commands and scripts run one after the other in one directory, twice, without meeting each other."""
    (tmp_path / "prompts.jsonl").write_text(MANIFESTS[0], encoding="utf-8")
    for _ in range(2):
        for command in COMMANDS:
            run(["-m", "nanogpt_images", *shlex.split(command)[1:]], tmp_path)
        for code in SCRIPTS:
            run(["-c", code], tmp_path, NANOGPT_API_KEY=sandbox.api_key, NANOGPT_BASE_URL=sandbox.url)
    wanted = sum(json.loads(line).get("count", 1) for line in MANIFESTS[0].splitlines())
    assert len(list((tmp_path / "out" / "images").iterdir())) == wanted
    assert len(list((tmp_path / "animals" / "images").iterdir())) == 6
    assert {path.name for path in tmp_path.glob("*.png")} == {"fox.png", "owl.png", "hare.png"}
    assert f"The demo makes {len(list((tmp_path / 'nanogpt-demo' / 'images').iterdir()))} images" in README
    assert (tmp_path / "nanogpt-demo" / "index.html").exists()


@pytest.mark.parametrize("target", re.findall(r"\]\((?!https?:)([^)#]+)", README))
def test_relative_link_leads_to_a_file(target: str) -> None:
    """A relative link of the README names a file of the repository."""
    assert (ROOT / target).is_file()
