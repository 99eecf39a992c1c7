"""Every block of code in the documentation runs, in the order of its page, against a sandbox."""

from __future__ import annotations

import json
import logging
import os
import re
import shlex
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import attrs
import click
import pytest

from nanogpt_images.cli import app
from nanogpt_images.sandbox import BlockingSandbox, Sandbox

DOCS = Path(__file__).parent.parent / "docs"
# Each block of the page on Ray would start a cluster of its own; tests/integrations/ray does what they show.
PAGES = sorted(path for path in DOCS.glob("*.md") if path.name != "ray.md")
BLOCK = re.compile(r"^```([a-z{}-]+)\n(.*?)^```", re.MULTILINE | re.DOTALL)
# What a reader's machine does, and not this package; what serves until it is stopped; what is said of a shell.
NOT_RUN = ("pip install", "nanogpt-images sandbox", "eval ")
# Pages that speak of a batch that is there already, and of prompts of the reader's own.
PREPARED = {"export.md", "gallery.md", "web-apps.md", "cli.md", "paid-once.md"}

# A page is one notebook: its blocks share their names, and may await at the top level.
NOTEBOOK = """
import ast, asyncio, inspect, json, sys
names = {"__name__": "page"}
loop = asyncio.new_event_loop()
for block in json.loads(sys.stdin.read()):
    code = compile(block, "page", "exec", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
    if code.co_flags & inspect.CO_COROUTINE:
        loop.run_until_complete(eval(code, names))
    else:
        exec(code, names)
loop.run_until_complete(asyncio.sleep(0))
loop.close()
"""


@attrs.frozen
class Block:
    """A block of code, and in which language it is."""

    language: str
    code: str


def blocks_of(page: Path) -> list[Block]:
    return [Block(*found) for found in BLOCK.findall(page.read_text(encoding="utf-8"))]


@pytest.fixture(scope="module")
def sandbox() -> Iterator[BlockingSandbox]:
    with Sandbox.in_thread(requests_per_second=None, balance_usd=10_000) as running:
        yield running


@pytest.fixture(autouse=True)
def blockbuster() -> None:
    """No guard here: the command line's loop serves nobody else."""


@pytest.fixture
def variables(sandbox: BlockingSandbox) -> dict[str, str]:
    address = {"NANOGPT_API_KEY": sandbox.api_key, "NANOGPT_BASE_URL": sandbox.url}
    return {**os.environ, **address, "PYTHONIOENCODING": "utf-8"}


@pytest.fixture
def command(
    tmp_path: Path,
    variables: dict[str, str],
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> Iterator[Callable[..., None]]:
    """Runs `nanogpt-images` in this process, in the page's directory; one that fails, fails the test."""
    log = logging.getLogger("nanogpt_images")
    before = log.handlers[:], log.propagate
    monkeypatch.chdir(tmp_path)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(click, "launch", lambda *_, **__: 0)

    def run_here(*words: str) -> None:
        code = app.run(list(words))
        assert code == 0, f"{words}\n{capfd.readouterr().err[-4000:]}"

    yield run_here
    log.handlers[:], log.propagate = before


def run(words: list[str], directory: Path, variables: dict[str, str], given: str = "") -> str:
    """What a program prints; one that fails or hangs fails the test."""
    done = subprocess.run(
        [sys.executable, *words],
        cwd=directory,
        env=variables,
        input=given,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, f"{words[-3:]}\n{done.stdout[-2000:]}\n{done.stderr[-4000:]}"
    return done.stdout


def commands_of(block: Block) -> list[str]:
    lines = (line.removeprefix("$ ") for line in block.code.splitlines() if line.startswith("$ "))
    return [line for line in lines if not line.startswith(NOT_RUN)]


def save_picks(directory: Path) -> None:
    """Save what a reader picks in the gallery: one image to keep, and one to make again."""
    with closing(sqlite3.connect(directory / "out" / "journal.db")) as journal:
        chosen = journal.execute(
            "SELECT lower(hex(id)), file FROM unit JOIN image ON unit = seq ORDER BY seq"
        )
        picks = [
            {"pick": pick, "request": request, "file": file}
            for pick, (request, file) in zip("5x", chosen, strict=True)
        ]
    (directory / "picks.json").write_text(json.dumps({"format": "nanogpt_images picks", "picks": picks}))


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_the_code_of_a_page_runs(
    page: Path, tmp_path: Path, variables: dict[str, str], command: Callable[..., None]
) -> None:
    """Python as in a notebook, commands as in a shell, tests with pytest; JSON is JSON."""
    if page.name in PREPARED:
        (tmp_path / "prompts.txt").write_text("a red fox\nan owl at dusk\n")
        command("batch", "prompts.txt", "-m", "tiny-and-fast", "-o", "out", "--no-gallery", "-q")
        save_picks(tmp_path)
    notebook = [block.code for block in blocks_of(page) if block.language == "python"]
    tests = [code for code in notebook if re.search(r"^(async )?def test_", code, re.MULTILINE)]
    run(["-c", NOTEBOOK], tmp_path, variables, json.dumps([code for code in notebook if code not in tests]))
    for number, code in enumerate(tests):
        (tmp_path / f"test_page_{number}.py").write_text(code)
    if tests:
        run(["-m", "pytest", "-q", "--nanogpt-record", "-p", "no:cacheprovider", "."], tmp_path, variables)
    for block in blocks_of(page):
        if block.language == "json":
            json.loads(block.code)
        for line in commands_of(block) if block.language == "console" else ():
            program, *words = shlex.split(line, comments=True)
            assert program == "nanogpt-images", line
            command(*words)


def test_the_pages_hold_code() -> None:
    """The blocks are found, and none is of a language that nothing here runs."""
    found = [block for page in PAGES for block in blocks_of(page)]
    assert sum(block.language == "python" for block in found) >= 30
    assert sum(len(commands_of(block)) for block in found if block.language == "console") >= 8
    known = {"python", "console", "json", "text", "javascript", "{toctree}", "{eval-rst}"}
    assert {block.language for block in found} <= known


def test_extras_that_are_named_exist() -> None:
    """What a reader is told to install can be installed."""
    project = (DOCS.parent / "pyproject.toml").read_text(encoding="utf-8")
    texts = [path.read_text(encoding="utf-8") for path in (*PAGES, DOCS.parent / "README.md")]
    named = {
        extra
        for text in texts
        for names in re.findall(r"install (?:-\S+ )*'\.\[([\w,-]+)\]'", text)
        for extra in names.split(",")
    }
    assert named
    assert all(re.search(rf"^{extra} = \[", project, re.MULTILINE) for extra in named), named


def test_files_that_the_architecture_names_exist() -> None:
    """Each path on the page leads to a file: of the package, or beside a neighbour that is named with its folder."""
    page = (DOCS / "architecture.md").read_text(encoding="utf-8")
    package = DOCS.parent / "nanogpt_images"
    named = set(re.findall(r"`([\w/]+/[\w.]+\.(?:py|js))`", page))
    assert len(named) > 40
    missing = [
        name for name in named if not (package / name).is_file() and not (DOCS.parent / name).is_file()
    ]
    assert not missing


HEADING = re.compile(r"^#+ (.+)$", re.MULTILINE)


def test_sources_lead_to_a_heading() -> None:
    """What a docstring cites as its source is a page of this documentation, and a heading on it."""
    cited = set[tuple[str, str]]()
    for path in (DOCS.parent / "nanogpt_images").rglob("*.py"):
        text = " ".join(path.read_text(encoding="utf-8").split())
        cited |= set(re.findall(r"(docs/[\w/-]+\.md)(?:, \"([^\"]+)\")?", text))
    assert len(cited) > 15
    wrong = [
        (page, heading)
        for page, heading in cited
        if not (file := DOCS.parent / page).is_file()
        or (heading and heading not in HEADING.findall(file.read_text(encoding="utf-8")))
    ]
    assert not wrong
