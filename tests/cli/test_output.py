"""What people read: money, durations, lines, progress, hints."""

from __future__ import annotations

import sys
from pathlib import Path

import click
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nanogpt_images._base.display import duration
from nanogpt_images.cli.errors import document, exit_code, report, sentence
from nanogpt_images.cli.output import command_line, money, one_line, size
from nanogpt_images.errors import (
    AuthenticationError,
    BudgetExceededError,
    Charge,
    ConnectError,
    InsufficientBalanceError,
    ManifestError,
    NanoGPTError,
    NotFoundError,
    OutputError,
    PermissionDeniedError,
    ServerError,
)


@pytest.mark.parametrize(
    ("started", "on_path", "text"),
    [
        ("{bin}/nanogpt-images", True, "nanogpt-images status out"),
        ("{bin}/nanogpt-images", False, "{bin}/nanogpt-images status out"),
        ("elsewhere/nanogpt-images", True, "elsewhere/nanogpt-images status out"),
        ("site-packages/nanogpt_images/__main__.py", True, "python3.11 -m nanogpt_images status out"),
        ("pytest", True, "nanogpt-images status out"),
    ],
)
def test_a_command_is_printed_as_it_works(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, started: str, on_path: bool, text: str
) -> None:
    """A command to type next starts with the path that this one was started by, where the name would not do."""
    program = tmp_path / "nanogpt-images"
    program.touch(mode=0o755)
    monkeypatch.setenv("PATH", str(tmp_path) if on_path else "")
    monkeypatch.setattr(sys, "argv", [started.format(bin=tmp_path)])
    monkeypatch.setattr(sys, "orig_argv", ["python3.11", "-m", "nanogpt_images"])
    assert command_line("status", "out") == text.format(bin=tmp_path)


@pytest.mark.parametrize(
    ("usd", "text"),
    [
        (0, "$0.00"),
        (0.06551, "$0.06551"),
        (0.5, "$0.50"),
        (12.3456789, "$12.345679"),
        (1234.5, "$1,234.50"),
        (None, "unknown"),
    ],
)
def test_money(usd: float | None, text: str) -> None:
    """Money has cents at least, and more digits only while they mean something."""
    assert money(usd) == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0 s"),
        (0.2, "under 1 s"),
        (45, "45 s"),
        (59.7, "1 min"),
        (200, "3 min 20 s"),
        (7500, "2 h 5 min"),
        (273_600, "3 d 4 h"),
    ],
)
def test_duration(seconds: float, text: str) -> None:
    """A duration has two units at most."""
    assert duration(seconds) == text


@pytest.mark.parametrize(
    ("number", "text"), [(None, "size unknown"), (812, "812 B"), (12_345, "12.3 kB"), (4_500_000, "4.5 MB")]
)
def test_size(number: int | None, text: str) -> None:
    """Sizes are in the unit that fits."""
    assert size(number) == text


@given(st.text(), st.integers(min_value=1, max_value=80))
def test_one_line_is_safe_for_a_terminal(text: str, width: int) -> None:
    """No text of a service or a manifest can break the line or control the terminal."""
    shown = one_line(text, width)
    assert len(shown) <= width
    assert all(character.isprintable() for character in shown)


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (click.UsageError("x"), 2),
        (ManifestError("x"), 2),
        (OutputError("x"), 2),
        (OutputError("x", charge=Charge.CHARGED), 1),
        (NotFoundError("x", status=404, charge=Charge.NOT_SENT), 2),
        (NotFoundError("x", status=404), 1),
        (BudgetExceededError("x"), 3),
        (AuthenticationError("x", status=401), 4),
        (InsufficientBalanceError("x", status=402), 4),
        (PermissionDeniedError("x", status=403), 4),
        (ServerError("x", status=500, charge=Charge.UNKNOWN), 1),
        (ConnectError("x"), 1),
        (RuntimeError("x"), None),
    ],
)
def test_exit_codes(error: Exception, code: int | None) -> None:
    """Each kind of error has its exit code; a defect has none."""
    assert exit_code(error) == code


def test_sentence_tells_of_money_once() -> None:
    """The sentence about the money comes of the charge, before the request and the hint."""
    assert sentence(ManifestError("no rows.")) == "no rows. Nothing was sent."
    error = ServerError("it broke", status=500, charge=Charge.UNKNOWN, request_id="req-1")
    assert sentence(error).startswith(
        "it broke. It may have been charged. Request req-1. Look at your account"
    )


@pytest.mark.parametrize(
    ("pays", "error", "text"),
    [
        (True, ManifestError("no rows."), "error: no rows. Nothing was sent."),
        (False, ManifestError("no rows."), "error: no rows."),
        (False, OutputError("no room.", charge=Charge.CHARGED), "error: no room. It was charged."),
    ],
)
def test_only_a_verb_that_pays_says_that_nothing_was_sent(
    capsys: pytest.CaptureFixture[str], pays: bool, error: NanoGPTError, text: str
) -> None:
    """Where nothing could have been sent, that nothing was is no news."""
    report(error, as_json=False, pays=pays)
    assert capsys.readouterr().err == f"{text}\n"


def test_document_is_of_plain_values() -> None:
    """The JSON form of an error has the facts of a StatusError."""
    made = document(ServerError("it broke", status=503, code="busy", request_id="req-1"))
    assert (made["status"], made["code"], made["request_id"], made["charge"]) == (
        503,
        "busy",
        "req-1",
        "rejected",
    )
