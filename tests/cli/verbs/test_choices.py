"""Which rows `plan` and `batch` make of a manifest, and the question before they are paid for."""

import io
import json
from pathlib import Path

import pytest

from nanogpt_images.cli.manifests import consent

MODEL = "tiny-and-fast"


@pytest.fixture
def table(tmp_path: Path) -> Path:
    path = tmp_path / "m.csv"
    path.write_text("Text;Id;Category\n" + "".join(f"prompt {n};k{n};{'AB'[n % 2]}\n" for n in range(1, 13)))
    return path


def test_a_sweep_has_an_exact_plan(run, tmp_path: Path) -> None:
    """Two models, two resolutions and four seeds are 16 requests of a plan, and of the batch after it."""
    path = tmp_path / "m.txt"
    path.write_text("a red fox\n")
    arguments = (str(path), "-m", MODEL, "-m", "hidream", "--sweep", "seed=1..4", "--sandbox", "--json")
    plan = run("plan", *arguments)
    assert (plan.code, plan.document["rows"], plan.document["requests"]) == (0, 8, 8)
    ended = run("batch", *arguments, "-o", str(tmp_path / "out"), "--no-gallery")
    assert (ended.code, ended.document["requests"]) == (0, 8)
    keys = {json.loads(line)["key"] for line in (tmp_path / "out" / "results.jsonl").read_text().splitlines()}
    assert {
        f"a-red-fox-e6d732df_model-{model}_seed-{n}" for model in (MODEL, "hidream") for n in range(1, 5)
    } == keys


def test_pairs(run, tmp_path: Path) -> None:
    """With --zip two values and two seeds are two rows."""
    path = tmp_path / "m.txt"
    path.write_text("a red fox\n")
    zipped = ("--sweep", "resolution=64x64,256x256", "--sweep", "seed=1,2", "--zip")
    assert run("plan", str(path), "-m", MODEL, *zipped, "--sandbox", "--json").document["rows"] == 2


def test_refused_combinations(run, tmp_path: Path) -> None:
    """They are listed by the plan, keep a batch from starting, and are left out on request."""
    path = tmp_path / "m.txt"
    path.write_text("a red fox\n")
    given = (str(path), "-m", MODEL, "--sweep", "resolution=64x64,9x9,256x256", "--sandbox")
    plan = run("plan", *given)
    assert (plan.code, "resolution=9x9: resolution '9x9' is not offered" in plan.out) == (2, True)
    refused = run("batch", *given, "-o", str(tmp_path / "out"))
    assert (refused.code, (tmp_path / "out").exists()) == (2, False)
    assert "--skip-invalid" in refused.err
    plan = run("plan", *given, "--skip-invalid", "--json")
    assert (plan.code, plan.document["rows"], plan.document["left_out"][0]["combination"]) == (
        0,
        2,
        "resolution=9x9",
    )
    ended = run("batch", *given, "-o", str(tmp_path / "out"), "--skip-invalid", "--no-gallery", "--json")
    assert (ended.code, ended.document["requests"], ended.document["failed"]) == (0, 2, 0)


def test_some_rows_first(run, table: Path, tmp_path: Path) -> None:
    """A few, a sample, one category, then all: the rest pays for the rest alone, and every row is there once."""
    named = (str(table), "-m", MODEL, "--sandbox", "--prompt-column", "text", "--key-column", "id", "--json")
    runs = {"--limit 3": 3, "--sample 4 --seed 5": None, "--where category=A": None, "": None}
    made = 0
    for options, requests in runs.items():
        ended = run("batch", *named, "-o", str(tmp_path / "out"), "--no-gallery", *options.split())
        assert ended.code == 0
        assert requests in (None, ended.document["requests"])
        made += ended.document["requests"]
    lines = [json.loads(line) for line in (tmp_path / "out" / "results.jsonl").read_text().splitlines()]
    assert made == len(lines) == 12
    assert all(line["key"] == f"k{line['row']}" for line in lines)
    assert all(line["metadata"] == {"Category": "AB"[line["row"] % 2]} for line in lines)


def test_standard_input(run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`-` reads what a pipe gives, in the format that is named, and needs one."""
    pipe = io.TextIOWrapper(io.BytesIO(b'{"prompt": "a"}\n{"prompt": "b"}\n'))
    monkeypatch.setattr("sys.stdin", pipe)
    rows = run("plan", "-", "--format", "jsonl", "-m", MODEL, "--sandbox", "--json")
    assert (rows.code, rows.document["rows"]) == (0, 2)
    assert "--format" in run("plan", "-", "-m", MODEL).err


@pytest.mark.parametrize(
    "options",
    [
        ["--sweep", "seed="],
        ["--sweep", "seed"],
        ["--sweep", "seed=1..1000000000"],
        ["--sweep", "resoluton=1k"],
        ["--sweep", "seed=1", "--sweep", "seed=2"],
        ["-m", MODEL, "-m", MODEL],
        ["--where", "Category"],
        ["--where", "Kategorie=A"],
        ["--map", "Category"],
        ["--map", "Nothing=seed"],
        ["--limit", "0"],
        ["--limit", "2", "--sample", "2"],
        ["--format", "parquet"],
        [],
    ],
)
def test_bad_input_is_one_line(run, table: Path, tmp_path: Path, options: list[str]) -> None:
    """Exit code 2, one line, and nothing on the disk."""
    named = [] if not options else ["--prompt-column", "Text"]
    ended = run(
        "batch", str(table), "--sandbox", "-o", str(tmp_path / "out"), "-m", "hidream", *named, *options
    )
    assert ended.code == 2
    assert "Traceback" not in ended.err
    assert not (tmp_path / "out").exists()


def test_a_large_plan_needs_a_budget_or_consent(run, table: Path, tmp_path: Path) -> None:
    """Without a terminal a plan above the sum is refused; --yes and --budget agree to it, and what is paid counts."""
    given = (
        str(table),
        "-m",
        MODEL,
        "--prompt-column",
        "Text",
        "--sandbox",
        "-o",
        str(tmp_path / "out"),
        "--no-gallery",
    )
    refused = run("batch", *given, "--confirm-above", "0.0005")
    assert (refused.code, (tmp_path / "out").exists()) == (2, False)
    assert "more than $0.0005 (--confirm-above)" in refused.err
    assert run("batch", *given, "--confirm-above", "0.0005", "--limit", "5").code == 0
    assert run("batch", *given, "--confirm-above", "0.0005", "--limit", "10").code == 0
    assert run("batch", *given, "--confirm-above", "0.0001").code == 2
    assert run("batch", *given, "--confirm-above", "0.0001", "--yes").code == 0
    assert run("batch", *given, "--confirm-above", "0").code == 0
    assert run("batch", *given, "--confirm-above", "0", "--count", "2", "--budget", "1").code == 0


@pytest.mark.parametrize(("answer", "agreed"), [("y\n", True), ("n\n", False), ("\n", False)])
def test_a_terminal_is_asked(monkeypatch: pytest.MonkeyPatch, answer: str, agreed: bool) -> None:
    """Only a yes goes on."""
    monkeypatch.setattr("sys.stdin.isatty", lambda: True, raising=False)
    monkeypatch.setattr("sys.stderr.isatty", lambda: True, raising=False)
    monkeypatch.setattr("click.termui.visible_prompt_func", lambda _: answer.strip())
    if agreed:
        consent.ask(12.0, above_usd=10.0, may_ask=True)
    else:
        with pytest.raises(consent.ParameterError, match="not confirmed"):
            consent.ask(12.0, above_usd=10.0, may_ask=True)
    consent.ask(10.0, above_usd=10.0, may_ask=False)


def test_nothing_is_asked_where_nothing_is_charged() -> None:
    """A sandbox in the process itself charges nothing; a stated sum holds all the same."""
    assert consent.above_usd(None, free=True) is None
    assert consent.above_usd(None, free=False) == 10
    assert consent.above_usd(0.5, free=True) == 0.5
