"""Every fault at the command line, in this process: exit code, the one JSON document, files, and what is paid."""

from __future__ import annotations

import functools
import json
import logging
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TypeAlias

import pytest
from cells import ASKED, MODEL, PROMPT, URL_ONLY, Cell, Outcome, share
from leaks import nothing_left, unfinished_files

import nanogpt_images as ngi
from nanogpt_images.cli import app
from nanogpt_images.cli import client as _client
from nanogpt_images.sandbox import BlockingSandbox

CODES = {"AuthenticationError": 4, "InsufficientBalanceError": 4, "PermissionDeniedError": 4}
"""Exit codes of errors that have their own."""


@pytest.fixture(autouse=True)
def blockbuster() -> None:
    """No guard here: the command line's loop serves nobody else."""


Run: TypeAlias = Callable[..., tuple[int, Any]]


@pytest.fixture
def run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> Iterator[Callable[[Cell], Run]]:
    """Runs the command line with the options of a cell's client, and gives its exit code and its document."""
    log = logging.getLogger("nanogpt_images")
    before = log.handlers[:], log.propagate
    monkeypatch.chdir(tmp_path)

    def meeting(cell: Cell) -> Run:
        own = ("api_key", "base_url", "requests_per_second")
        options = {name: value for name, value in cell.options.items() if name not in own}
        monkeypatch.setattr(_client, "AsyncClient", functools.partial(ngi.AsyncClient, **options))
        monkeypatch.setenv("NANOGPT_API_KEY", cell.service.api_key)

        def run_here(*args: str) -> tuple[int, Any]:
            capfd.readouterr()
            with nothing_left():
                code = app.run([*args, "--json", "--base-url", cell.service.url])
            out, err = capfd.readouterr()
            assert "Traceback" not in err
            return code, json.loads(out)

        return run_here

    yield meeting
    log.handlers[:], log.propagate = before


@pytest.mark.parametrize("kind", share(0, of=2))
def test_generate(kind: str, service: BlockingSandbox, tmp_path: Path, run: Callable[[Cell], Run]) -> None:
    """`generate` writes the images, or tells in one document what became of them and of the money."""
    cell = Cell(kind, service)
    cell.strike()
    by_url = ("--route", "openai", "--delivery", "url") if kind in URL_ONLY else ()
    code, document = run(cell)("generate", PROMPT, "-m", MODEL, "-n", str(ASKED), "-o", "out", *by_url)
    cell.settle()
    error = document.get("error")
    outcome = Outcome(images=len(document.get("images", ())))
    if error is not None:
        outcome = Outcome(error=error["type"], charge=ngi.Charge(error["charge"]))
    cell.check_outcome(outcome)
    cell.check_ledger(outcome)
    assert code == _code(outcome.error, outcome.charge)
    out = tmp_path / "out"
    assert not unfinished_files(tmp_path)
    assert len(list(out.iterdir()) if out.exists() else ()) == outcome.images + cell.expected.stored


@pytest.mark.parametrize("kind", share(1, of=2))
def test_batch(kind: str, service: BlockingSandbox, tmp_path: Path, run: Callable[[Cell], Run]) -> None:
    """`batch` ends with the exit code that its row calls for; run again without the fault, it pays once at most."""
    cell = Cell(kind, service)
    cell.strike()
    by_url = ("--route", "openai", "--delivery", "url") if kind in URL_ONLY else ()
    (tmp_path / "prompts.txt").write_text(PROMPT)
    command = (
        "batch",
        "prompts.txt",
        "-m",
        MODEL,
        "--count",
        str(ASKED),
        "-o",
        "out",
        "--no-pacing",
        *by_url,
    )
    batch = run(cell)
    code, _ = batch(*command)
    cell.settle()
    expected = cell.expected
    cell.check_ledger(Outcome(images=expected.images, error=expected.error, charge=expected.charge))
    # A single refusal of this kind does not stop a batch.
    assert code == (
        1 if expected.error == "PermissionDeniedError" else _code(expected.error, expected.charge)
    )
    assert not unfinished_files(tmp_path)

    service.set_faults()
    posted = len(service.ledger.posts)
    again, _ = batch(*command)
    if again != 0:
        assert expected.charge in (ngi.Charge.CHARGED, ngi.Charge.UNKNOWN)
        assert len(service.ledger.posts) == posted
    assert len(service.ledger.billed) <= 1


def _code(error: str | None, charge: ngi.Charge | None) -> int:
    """The exit code that an error calls for."""
    if error is None:
        return 0
    return CODES.get(error, 2 if charge is ngi.Charge.NOT_SENT else 1)
