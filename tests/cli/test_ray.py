"""`batch --ray`: interrupted on a cluster, finished at home."""

from __future__ import annotations

import signal
import subprocess
from pathlib import Path

import pytest

from nanogpt_images.sandbox import Sandbox

from .conftest import Run, command, environment, until_posted


def test_interrupted_there_and_finished_here(run: Run, tmp_path: Path) -> None:
    """Ctrl-C lets what is under way end and exits with 130; the same job goes on without Ray and pays for nothing twice."""
    pytest.importorskip("ray")
    manifest = tmp_path / "prompts.txt"
    manifest.write_text("".join(f"a fox in field {number}\n" for number in range(60)))
    with Sandbox.in_thread(requests_per_second=None, latency_s=0.1) as service:
        args = ("batch", manifest, "-m", "tiny-and-fast", "-o", tmp_path / "out", "--base-url", service.url)
        ray = ("--ray", "--concurrency", "4", "--no-pacing", "--key-budget", "1")
        process = subprocess.Popen(
            command(*args, *ray),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=environment(RAY_AUTH_MODE="disabled"),
        )
        until_posted(service, 5, process)
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=60)
        assert process.returncode == 130, err
        assert 5 <= len(service.ledger.billed) < 60
        assert run(*args).code == 0
        assert len({entry.prompt for entry in service.ledger.billed}) == len(service.ledger.billed) == 60


def test_join_and_ray_exclude_each_other(run: Run, tmp_path: Path) -> None:
    """Workers take part by themselves."""
    (tmp_path / "p.txt").write_text("a fox\n")
    assert run("batch", tmp_path / "p.txt", "-m", "m", "-o", "out", "--ray", "--join").code == 2
