"""The command line on a real terminal: tables that fit, and a live line that goes away."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from nanogpt_images.sandbox import BlockingSandbox, Fault, Sandbox

from .conftest import command, environment

if sys.platform == "win32":
    pytest.skip("pseudo-terminals are POSIX", allow_module_level=True)

import fcntl
import pty
import struct
import termios

_CONTROL = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")


def on_terminal(args: list[str], directory: Path, columns: int) -> tuple[int, str]:
    """The exit code of a run on a terminal of *columns*, and all that it wrote there."""
    terminal, end = pty.openpty()
    fcntl.ioctl(end, termios.TIOCSWINSZ, struct.pack("HHHH", 40, columns, 0, 0))
    variables = environment(TERM="xterm-256color", COLUMNS=str(columns))
    with subprocess.Popen(args, cwd=directory, env=variables, stdin=end, stdout=end, stderr=end) as process:
        os.close(end)
        written = b""
        while True:
            try:
                piece = os.read(terminal, 65536)
            except OSError:
                break
            if not piece:
                break
            written += piece
    os.close(terminal)
    return process.returncode, written.decode()


@pytest.mark.parametrize(("columns", "named"), [(80, False), (120, True)])
def test_models_fit(service: BlockingSandbox, tmp_path: Path, columns: int, named: bool) -> None:
    """The table of models fits the terminal and keeps every ID whole; wide ones show the names too."""
    code, text = on_terminal(command("models", "--base-url", service.url), tmp_path, columns)
    lines = _CONTROL.sub("", text).splitlines()
    assert code == 0
    # The command that a hint names is as long as the path by which this one was started.
    assert max(len(line) for line in lines if "nanogpt_images model" not in line) <= columns
    assert ("Krea v2 Turbo" in text) is named
    for model in service.sandbox.models:
        assert any(line.startswith(model.id) for line in lines)


def test_live_progress_while_everybody_waits(tmp_path: Path) -> None:
    """During the pause that a 429 asks for there are no events, and the live line says all the same why."""
    (tmp_path / "p.txt").write_text("".join(f"prompt {i}\n" for i in range(6)))
    faults = [Fault("429", times=1, skip=2)]
    with Sandbox.in_thread(requests_per_second=None, faults=faults) as service:
        args = command(
            "batch", "p.txt", "-m", "tiny-and-fast", "-o", "out", "--concurrency", "2", "--base-url", service.url
        )  # fmt: skip
        code, text = on_terminal(args, tmp_path, 140)
    assert code == 0
    assert re.search(r"paused for 1 s.* after 429 rate_limit_exceeded", _CONTROL.sub("", text))


def test_live_progress(tmp_path: Path) -> None:
    """On a terminal a batch shows a live line, and the summary after it."""
    (tmp_path / "p.txt").write_text("".join(f"prompt {i}\n" for i in range(12)))
    with Sandbox.in_thread(requests_per_second=None, latency_s=0.15) as service:
        args = command(
            "batch", "p.txt", "-m", "tiny-and-fast", "-o", "out", "--budget", "1", "--concurrency", "2", "--base-url", service.url
        )  # fmt: skip
        code, text = on_terminal(args, tmp_path, 100)
    plain = _CONTROL.sub("", text)
    assert code == 0
    assert "of 12 done" in plain
    assert "of $1.00" in plain
    assert "12 requests done · 12 images" in plain
    assert "planned" in plain


@pytest.mark.parametrize("columns", [80, 100, 120])
def test_a_bar_and_its_numbers_fit(tmp_path: Path, columns: int) -> None:
    """At any width the bar stays, also while a reason is shown; the report comes before the gallery."""
    (tmp_path / "p.txt").write_text("".join(f"prompt {i}{' bad' * (i % 5 == 3)}\n" for i in range(15)))
    faults = [Fault("content_policy", prompt_contains="bad"), Fault("429", times=1, skip=6)]
    with Sandbox.in_thread(requests_per_second=None, latency_s=0.1, faults=faults) as service:
        args = command(
            "batch", "p.txt", "-m", "tiny-and-fast", "-o", "out", "--budget", "123", "--concurrency", "2", "--base-url", service.url
        )  # fmt: skip
        code, text = on_terminal(args, tmp_path, columns)
    plain = _CONTROL.sub("", text)
    frames = [
        frame for frame in re.split("[\r\n]+", plain) if " done · " in frame and "requests done" not in frame
    ]
    assert code == 1
    assert len(frames) > 3
    assert {"━" in frame for frame in frames} == {True}
    assert max(map(len, frames)) <= columns - 4
    assert any("paused for 1 s" in frame for frame in frames)
    assert "3 x ContentPolicyError, content_policy_violation, tiny-and-fast" in plain
    assert (
        plain.index("such as prompt-") < plain.index("results  out") < plain.index("gallery  out/index.html")
    )
