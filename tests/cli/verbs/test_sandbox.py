"""`sandbox` and `demo`."""

from __future__ import annotations

import json
import signal
import socket
import subprocess
import urllib.request
from pathlib import Path

import pytest

from ..conftest import Run, command, environment


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="POSIX signals")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_serves_until_interrupted(run: Run, number: signal.Signals) -> None:
    """`sandbox` prints two lines to export, serves, and ends with 0 on a signal."""
    with subprocess.Popen(
        command("sandbox"), env=environment(), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        exports = dict(
            process.stdout.readline().removeprefix("export ").strip().split("=", 1) for _ in range(2)
        )
        assert set(exports) == {"NANOGPT_BASE_URL", "NANOGPT_API_KEY"}
        assert run("models", "--search", "krea", **exports).code == 0
        process.send_signal(number)
        _, errors = process.communicate(timeout=30)
    assert process.returncode == 0
    assert "Traceback" not in errors


def test_json_and_faults(tmp_path: Path, run: Run) -> None:
    """--json names address and key; --faults makes the requests fail that it names."""
    (tmp_path / "faults.json").write_text('[{"kind": "500", "prompt_contains": "BOOM"}]')
    with subprocess.Popen(
        command("sandbox", "--json", "--faults", tmp_path / "faults.json"),
        env=environment(),
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        text = ""
        while not text.endswith("}\n"):
            text += process.stdout.readline()
        document = json.loads(text)
        done = run("generate", "BOOM", "-m", "tiny-and-fast", "--json", "--base-url", document["base_url"])
        with urllib.request.urlopen(document["ledger"]) as answer:
            ledger = json.load(answer)
        process.terminate()
        process.wait(30)
    assert done.document["error"]["status"] == 500
    assert ledger["posts"] == 1


def test_port_in_use(run: Run) -> None:
    """A port that is taken is one line and exit code 2."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        done = run("sandbox", "--port", str(taken.getsockname()[1]))
    assert done.code == 2
    assert "choose another" in done.err
    assert len(done.err.splitlines()) == 1


@pytest.mark.parametrize("content", [None, "not json", '[{"kind": "no such kind"}]'])
def test_bad_faults(run: Run, tmp_path: Path, content: str | None) -> None:
    """A file of faults that cannot be used is one line and exit code 2."""
    if content is not None:
        (tmp_path / "faults.json").write_text(content)
    done = run("sandbox", "--faults", "faults.json")
    assert done.code == 2
    assert len(done.err.splitlines()) == 1


def test_demo(run: Run, spawn: Run, tmp_path: Path) -> None:
    """`demo` makes real images over several models; a second one makes nothing again."""
    done = spawn("demo", "--json")
    assert done.code == 0
    document = done.document
    assert document["rows"] == 40
    assert document["images"] == document["planned"]["images"]
    images = list((tmp_path / "nanogpt-demo" / "images").iterdir())
    assert len(images) == document["images"]
    assert {image.suffix for image in images} >= {".png", ".jpg"}
    lines = (tmp_path / "nanogpt-demo" / "results.jsonl").read_text().splitlines()
    assert len({json.loads(line)["model"] for line in lines}) >= 5
    again = run("demo")
    assert again.code == 0
    assert "nanogpt-demo exists" in again.err
    assert "0 requests done" in again.out
    assert "would have charged $" in again.out
