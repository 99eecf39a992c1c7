"""`ledger`: list, show, verify, prune and forget, from the file alone."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

import nanogpt_images as ngi
from nanogpt_images.cli.app import run
from nanogpt_images.sandbox import Fault, Sandbox


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """A ledger with a paid call, an automatic one, two that failed, and one whose outcome is not known."""
    path = tmp_path / "paid.db"
    with Sandbox.in_thread(requests_per_second=None) as sandbox:
        with ngi.Client(sandbox.api_key, sandbox.url, ledger=path) as client:
            client.images.generate("a fox", model="tiny-and-fast", key="order-1")
            client.images.generate("a hare", model="tiny-and-fast", key=ngi.AUTO, seed=1)
            for key, fault in (("order-3", "zero_images"), ("order-4", "402")):
                sandbox.set_faults(Fault(fault))
                with pytest.raises(ngi.NanoGPTError):
                    client.images.generate("an elk", model="tiny-and-fast", key=key)
            sandbox.set_faults(Fault("reset_after_body"))
            with pytest.raises(ngi.TransportError):
                client.images.generate("an owl", model="tiny-and-fast", key="order-2")
    return path


@pytest.fixture
def tell(capsys: pytest.CaptureFixture[str]) -> Callable[..., tuple[int, dict[str, object]]]:
    """Runs the command and gives its exit code and document."""

    def run_json(*args: object) -> tuple[int, dict[str, object]]:
        code = run(["ledger", *map(str, args), "--json"])
        return code, json.loads(capsys.readouterr().out)

    return run_json


def test_list_and_show(
    file: Path, tell: Callable[..., tuple[int, dict]], capsys: pytest.CaptureFixture
) -> None:
    """Every call is listed; an unknown one makes the exit code 1."""
    code, told = tell("list", file)
    assert code == 1
    calls = [(call["key"], call["state"], call["charge"], call["cost_usd"]) for call in told["calls"]]
    assert calls == [
        ("order-1", "done", None, 0.0001),
        (None, "done", None, 0.0001),
        ("order-3", "failed", "charged", None),
        ("order-4", "failed", "rejected", 0.0),
        ("order-2", "unknown", "unknown", None),
    ]
    code, told = tell("list", file, "--unknown")
    assert [call["key"] for call in told["calls"]] == ["order-2"]
    code, told = tell("show", file, "order-1")
    assert (code, told["calls"][0]["request"]["prompt"]) == (0, "a fox")
    assert run(["ledger", "list", str(file)]) == 1
    assert run(["ledger", "show", str(file), "order-2"]) == 0
    text = capsys.readouterr()
    assert "order-2" in text.out
    assert "nanogpt-images settle" in text.err
    lines = {line[:7]: line for line in text.out.splitlines()}
    for key, told in {"order-3": "failed, charged", "order-4": "failed, not charged", "order-2": "?"}.items():
        assert told in lines[key]
    assert run(["ledger", "show", str(file), "order"]) == 2
    assert "ledger list" in capsys.readouterr().err


def test_verify_and_prune(
    file: Path, tell: Callable[..., tuple[int, dict]], capsys: pytest.CaptureFixture
) -> None:
    """A changed image makes the exit code 1; bounds remove images and orphans."""
    folder = file.with_name("paid.db.images")
    (folder / "orphan.png").write_bytes(b"x")
    code, told = tell("verify", file)
    assert (code, told["images"], told["orphans"]) == (0, 2, ["orphan.png"])
    code, told = tell("prune", file, "--max-age-s", 10_000)
    assert (code, told["calls"], told["files"]) == (0, 0, 1)
    stored = next(iter(sorted(folder.iterdir())))
    stored.write_bytes(b"other")
    code, told = tell("verify", file)
    assert (code, len(told["changed"])) == (1, 1)
    code, told = tell("prune", file, "--max-bytes", 0)
    assert (code, told["calls"], told["files"]) == (0, 2, 2)
    assert run(["ledger", "verify", str(file)]) == 0
    assert "0 images" in capsys.readouterr().out


def test_forget(file: Path, tell: Callable[..., tuple[int, dict]]) -> None:
    """A key is forgotten once."""
    assert tell("forget", file, "order-2")[0] == 0
    code, told = tell("forget", file, "order-2")
    assert (code, told["error"]["type"]) == (2, "ParameterError")
    assert tell("list", file)[0] == 0


@pytest.mark.parametrize("verb", ["list", "verify", "prune"])
def test_what_is_not_a_ledger(tmp_path: Path, tell: Callable[..., tuple[int, dict]], verb: str) -> None:
    """A missing or foreign file is a usage error, and is not made or changed."""
    code, told = tell(verb, tmp_path / "none.db")
    assert (code, told["error"]["type"]) == (2, "LedgerError")
    assert not (tmp_path / "none.db").exists()
    (tmp_path / "text").write_text("no database, but long enough to be looked at " * 20)
    assert tell(verb, tmp_path / "text")[0] == 2
