"""The key stays out of all that the command line prints, logs and writes."""

from __future__ import annotations

import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from exposure import contents, listening

from nanogpt_images.cli.app import _VERBS
from nanogpt_images.sandbox import BlockingSandbox, Fault, Sandbox

from .conftest import Run, command, environment

KEY = "opensesame.team7+gateway"
BATCH = ("batch", "prompts.jsonl", "-m", "tiny-and-fast", "-o", "out", "--provenance")
CALLS = {
    "models": ["models"],
    "model": ["model", "tiny-and-fast"],
    "generate": ["generate", "a fox", "-m", "tiny-and-fast", "-o", "foxes"],
    "plan": ["plan", "prompts.jsonl", "-m", "tiny-and-fast"],
    "batch": [*BATCH],
    "status": ["status", "out"],
    "retry": ["retry", "out", "--unknown"],
    "gallery": ["gallery", "out"],
    "export": ["export", "out", "--to", "csv", "--overwrite"],
    "show": ["show", "out/images/{image}"],
    "edit": ["edit", "a hat", "--image", "out/images/{image}", "-m", "restyle", "-o", "edited"],
    "mark": ["mark", "out"],
    "regenerate": ["regenerate", "out/images/{image}", "-o", "again"],
    "settle": ["settle", "out"],
    "ledger": ["ledger", "list", "paid.db"],
    "explain": ["explain", "401"],
    "config": ["config"],
    "demo": ["demo"],
}
HERE = {
    "status",
    "gallery",
    "demo",
    "export",
    "show",
    "mark",
    "ledger",
    "explain",
    "config",
}  # verbs that take no address


@pytest.fixture
def service() -> Iterator[BlockingSandbox]:
    """A sandbox that takes this key alone, and where two rows of the manifest go wrong."""
    faults = [Fault("reset_after_body", prompt_contains="owl"), Fault("401", prompt_contains="hares")]
    with Sandbox.in_thread(requests_per_second=None, key=KEY, faults=faults) as sandbox:
        yield sandbox


def test_every_verb_is_looked_at() -> None:
    """A new verb has to be added here."""
    assert set(_VERBS) <= {*CALLS, "sandbox"}


@pytest.mark.parametrize("verb", [verb for verb in CALLS if verb in _VERBS])
def test_no_verb_shows_the_key(
    verb: str, run: Run, service: BlockingSandbox, manifest: Path, tmp_path: Path
) -> None:
    """Neither output nor logs nor files of a verb hold the key, in either form of output."""
    address = () if verb in HERE else ("--base-url", service.url)
    with listening() as ear:
        run(*BATCH, "--base-url", service.url, NANOGPT_API_KEY=KEY)
        image = next(path.name for path in (tmp_path / "out" / "images").iterdir())
        words = [word.format(image=image) for word in CALLS[verb]]
        runs = [run(*words, *more, *address, NANOGPT_API_KEY=KEY) for more in ((), ("--json",))]
    assert all(done.out or done.err for done in runs)
    assert service.ledger.posts
    assert not [text for done in runs for text in (done.out, done.err) if KEY in text]
    assert not [text for text in ear.heard + contents(tmp_path) if KEY in text]
    assert KEY not in repr(service.visits)


def test_an_unusable_key_is_not_shown(run: Run) -> None:
    """A key that no header can carry is refused without being repeated."""
    done = run("generate", "a fox", "-m", "m", NANOGPT_API_KEY=f"{KEY}\nX: y")
    assert done.code == 4
    assert KEY not in done.out + done.err


def test_the_sandbox_verb_does_not_show_the_key() -> None:
    """`sandbox` prints a key of its own, never that of the environment."""
    with subprocess.Popen(
        command("sandbox"),
        env=environment(NANOGPT_API_KEY=KEY),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    ) as process:
        assert process.stdout is not None
        lines = [process.stdout.readline() for _ in range(2)]
        process.send_signal(signal.SIGINT)
        rest, _ = process.communicate(timeout=30)
    assert any("NANOGPT_API_KEY" in line for line in lines)
    assert KEY not in "".join(lines) + rest
