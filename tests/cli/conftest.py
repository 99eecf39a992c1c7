"""The command line against a sandbox in a thread: called in this process, or as a process of its own."""

from __future__ import annotations

import json
import logging
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TypeAlias

import attrs
import pytest

from nanogpt_images.cli import app
from nanogpt_images.sandbox import BlockingSandbox, Sandbox

TIMEOUT_S = 60


@attrs.frozen(kw_only=True)
class Finished:
    """A run that ended."""

    code: int
    out: str
    err: str

    @property
    def document(self) -> Any:
        """The one JSON document on stdout."""
        return json.loads(self.out)


Run: TypeAlias = Callable[..., Finished]


def command(*args: str | Path) -> list[str]:
    return [sys.executable, "-m", "nanogpt_images", *map(str, args)]


def environment(**changes: str) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith("NANOGPT_")}
    return {**kept, "PYTHONDONTWRITEBYTECODE": "1", "PYTHONIOENCODING": "utf-8", **changes}


def until_posted(service: BlockingSandbox, number: int, process: subprocess.Popen[Any]) -> None:
    """Return when the sandbox has met *number* requests; no later than the end of *process*."""
    while len(service.ledger.posts) < number:
        try:
            process.wait(0.01)
        except subprocess.TimeoutExpired:
            continue
        break


@pytest.fixture(autouse=True)
def blockbuster() -> None:
    """No guard here: the command line's loop serves nobody else, so a look at a small file may block it."""


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Iterator[Run]:
    """Run the command line in this process, in an empty directory, without key and address."""
    log = logging.getLogger("nanogpt_images")
    before = log.handlers[:], log.propagate
    monkeypatch.chdir(tmp_path)

    def run_here(*args: str | Path, **variables: str) -> Finished:
        with monkeypatch.context() as patch:
            for name, value in variables.items():
                patch.setenv(name, value)
            capfd.readouterr()
            code = app.run(list(map(str, args)))
        out, err = capfd.readouterr()
        return Finished(code=code, out=out, err=err)

    yield run_here
    log.handlers[:], log.propagate = before


@pytest.fixture
def spawn(tmp_path: Path) -> Run:
    """Run the command line as a process of its own, in an empty directory, without key and address."""

    def run_there(*args: str | Path, **variables: str) -> Finished:
        done = subprocess.run(
            command(*args),
            cwd=tmp_path,
            env=environment(**variables),
            capture_output=True,
            encoding="utf-8",
            timeout=TIMEOUT_S,
            check=False,
        )
        assert "Traceback" not in done.stderr, done.stderr
        return Finished(code=done.returncode, out=done.stdout, err=done.stderr)

    return run_there


@pytest.fixture(scope="session")
def _service() -> Iterator[BlockingSandbox]:
    with Sandbox.in_thread(requests_per_second=None) as sandbox:
        yield sandbox


@pytest.fixture
def service(_service: BlockingSandbox) -> Iterator[BlockingSandbox]:
    """A sandbox with empty books and no faults."""
    _service.reset()
    _service.set_faults()
    yield _service
    _service.set_faults()


@pytest.fixture
def manifest(tmp_path: Path) -> Path:
    """Three rows: one of six images, one with a key, one plain."""
    rows = [
        {"prompt": "a red fox", "count": 6},
        {"prompt": "two hares", "key": "hares"},
        {"prompt": "an owl at dusk"},
    ]
    file = tmp_path / "prompts.jsonl"
    file.write_text("".join(f"{json.dumps(row)}\n" for row in rows))
    return file
