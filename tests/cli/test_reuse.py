"""`--reuse FILE`: the plan says what is saved, and a second job pays for what is new."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from nanogpt_images.cli.app import run
from nanogpt_images.sandbox import BlockingSandbox, Sandbox

PARTI = Path(__file__).parents[3] / "shared" / "data" / "PartiPrompts.tsv"
MODEL = "tiny-and-fast"


@pytest.fixture
def sandbox(monkeypatch: pytest.MonkeyPatch) -> Iterator[BlockingSandbox]:
    with Sandbox.in_thread(requests_per_second=None, balance_usd=1e6) as running:
        monkeypatch.setenv("NANOGPT_API_KEY", running.api_key)
        monkeypatch.setenv("NANOGPT_BASE_URL", running.url)
        yield running


def test_the_plan_says_what_is_saved(
    tmp_path: Path, sandbox: BlockingSandbox, capsys: pytest.CaptureFixture[str]
) -> None:
    """`plan --reuse` and `batch --reuse` count before anything is sent."""
    ledger, manifest = str(tmp_path / "paid.db"), tmp_path / "m.txt"
    manifest.write_text("a\nb\n")
    ask = [str(manifest), "-m", MODEL, "--reuse", ledger]
    assert run(["plan", *ask, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["reuse"]["requests"] == 0
    assert not Path(ledger).exists()
    assert run(["batch", *ask, "-o", str(tmp_path / "one"), "--no-pacing", "--no-gallery"]) == 0
    manifest.write_text("a\nb\nc\n")
    capsys.readouterr()
    assert run(["plan", *ask, "--json"]) == 0
    told = json.loads(capsys.readouterr().out)["reuse"]
    assert (told["requests"], told["images"]) == (2, 2)
    assert told["saves_usd"] == pytest.approx(sandbox.ledger.total_usd)
    assert run(["batch", *ask, "-o", str(tmp_path / "two"), "--no-pacing", "--no-gallery"]) == 0
    assert "reuse: 2 requests in" in capsys.readouterr().err
    assert len(sandbox.ledger.posts) == 3


@pytest.mark.skipif(not PARTI.exists(), reason="the prompts are not on this machine")
def test_real_prompts(tmp_path: Path, sandbox: BlockingSandbox) -> None:
    """PartiPrompts bought once; a second job over them and ten more pays for ten."""
    every = PARTI.read_text("utf-8").splitlines()
    prompts = every[:120] if len(every) > 120 else every
    first, second = tmp_path / "one.tsv", tmp_path / "two.tsv"
    first.write_text("\n".join(prompts) + "\n", "utf-8")
    columns = prompts[0].split("\t")
    more = ["\t".join([f"new prompt {number}", *[""] * (len(columns) - 1)]) for number in range(10)]
    second.write_text("\n".join([*prompts, *more]) + "\n", "utf-8")
    for number, file in enumerate((first, second)):
        code = run(
            [
                *(
                    "batch",
                    str(file),
                    "-m",
                    MODEL,
                    "--reuse",
                    str(tmp_path / "paid.db"),
                    "--no-gallery",
                    "--quiet",
                ),
                *(
                    "-o",
                    str(tmp_path / f"out{number}"),
                    "--no-pacing",
                    "--delivery",
                    "b64_json",
                    "--route",
                    "openai",
                ),
            ]
        )
        assert code == 0
        if number == 0:
            bought = len(sandbox.ledger.billed)
    assert len(sandbox.ledger.billed) - bought == 10
