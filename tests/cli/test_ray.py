"""`batch --ray`: interrupted on a cluster, finished at home."""

from __future__ import annotations

import signal
import subprocess
from pathlib import Path

import pytest

from nanogpt_images import read_provenance
from nanogpt_images.cli.client import api_keys
from nanogpt_images.integrations.ray import ray_batch
from nanogpt_images.sandbox import Sandbox

from .conftest import Run, command, environment, until_posted


def test_interrupted_there_and_finished_here(run: Run, tmp_path: Path) -> None:
    """Ctrl-C lets what is under way end and exits with 130; the same job goes on without Ray and pays for nothing twice."""
    pytest.importorskip("ray")
    manifest = tmp_path / "prompts.txt"
    manifest.write_text("".join(f"a fox in field {number}\n" for number in range(60)))
    with Sandbox.in_thread(requests_per_second=None, latency_s=0.1) as service:
        args = (
            "batch",
            manifest,
            "-m",
            "tiny-and-fast",
            "-o",
            tmp_path / "out",
            "--base-url",
            service.url,
            "--provenance",
        )
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
    images = list((tmp_path / "out" / "images").iterdir())
    assert len(images) == 60
    assert all(read_provenance(image) is not None for image in images)


def test_several_keys(monkeypatch: pytest.MonkeyPatch) -> None:
    """They stand in one variable; without it there is the one key of every other command."""
    monkeypatch.setenv("NANOGPT_API_KEYS", "sk-nano-1, sk-nano-2")
    assert api_keys("https://nano-gpt.com") == ["sk-nano-1", "sk-nano-2"]
    monkeypatch.delenv("NANOGPT_API_KEYS")
    monkeypatch.setenv("NANOGPT_API_KEY", "sk-nano-3")
    assert api_keys("https://nano-gpt.com") == ["sk-nano-3"]


def test_no_key_is_without_a_worker(tmp_path: Path) -> None:
    """Two workers for three keys would leave one key unused, and a job that never ends for its sake."""
    batch = ray_batch([], out=tmp_path, keys=[f"sk-nano-{number}" for number in range(3)], workers=2)
    assert batch.workers == 3


def test_join_and_ray_exclude_each_other(run: Run, tmp_path: Path) -> None:
    """Workers take part by themselves."""
    (tmp_path / "p.txt").write_text("a fox\n")
    assert run("batch", tmp_path / "p.txt", "-m", "m", "-o", "out", "--ray", "--join").code == 2
