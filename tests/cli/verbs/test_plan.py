"""`plan`."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from nanogpt_images.sandbox import BlockingSandbox, Fault, Sandbox

from ..conftest import Run


def test_json(run: Run, service: BlockingSandbox, manifest: Path) -> None:
    """`plan --json` prints the names of `estimate`, and sends nothing."""
    done = run("plan", manifest, "-m", "tiny-and-fast", "--json", "--base-url", service.url)
    assert done.code == 0
    plan = done.document
    assert (plan["rows"], plan["requests"], plan["images"]) == (3, 4, 8)
    assert plan["cost_usd"] == 0.0008
    assert plan["problems"] == []
    assert service.ledger.posts == []


def test_surplus_of_a_fixed_count(run: Run, service: BlockingSandbox, manifest: Path) -> None:
    """A model that always makes four is planned in fours, and the surplus is said."""
    done = run("plan", manifest, "-m", "midjourney-like/grid", "--base-url", service.url)
    assert done.code == 0
    assert "3 rows, 4 requests, 16 images" in done.out
    assert "8 images that fixed counts" in done.out
    assert "at least under 1 s" not in done.out


def test_problems_by_line(run: Run, service: BlockingSandbox, tmp_path: Path) -> None:
    """Rows that would fail are named by their line; exit code 2."""
    (tmp_path / "bad.jsonl").write_text(
        '{"prompt": "fine"}\n{"key": "x"}\n{"prompt": "odd", "resolution": "9x9"}\n{"prompt": "who", "model": "nope"}\n'
    )
    done = run("plan", "bad.jsonl", "-m", "tiny-and-fast", "--base-url", service.url)
    assert done.code == 2
    assert "3 rows would fail" in done.out
    for text in ("line 2: there is no prompt", "line 3: resolution '9x9'", "line 4: model 'nope'"):
        assert text in done.out


def test_only_the_first_problems(run: Run, service: BlockingSandbox, tmp_path: Path) -> None:
    """Twenty problems are shown, the rest is counted."""
    (tmp_path / "bad.jsonl").write_text('{"key": "x"}\n' * 25)
    done = run("plan", "bad.jsonl", "-m", "tiny-and-fast", "--base-url", service.url)
    assert done.out.count("there is no prompt") == 20
    assert "and 5 more rows" in done.out


def test_missing_file(run: Run) -> None:
    """A file that is not there is told without asking the service."""
    done = run("plan", "none.jsonl", "-m", "tiny-and-fast", "--base-url", "http://127.0.0.1:9", "--json")
    assert done.code == 2
    assert done.document["error"]["type"] == "ManifestError"


def test_defaults_for_rows(run: Run, service: BlockingSandbox, manifest: Path) -> None:
    """--count and --param fill the gaps of rows only."""
    done = run(
        "plan", manifest, "-m", "tiny-and-fast", "--count", "4", "--param", "resolution=256x256", "--json",
        "--base-url", service.url,
    )  # fmt: skip
    assert done.document["images"] == 6 + 4 + 4
    assert done.document["cost_usd"] == 0.0028


def test_half_a_catalogue_is_named(run: Run, service: BlockingSandbox, manifest: Path) -> None:
    """With one of the listings down the plan is made of the other, and says so."""
    service.set_faults(Fault("500", route="image-models"))
    done = run("plan", manifest, "-m", "tiny-and-fast", "--json", "--base-url", service.url)
    assert done.code == 0
    assert done.document["images"] == 8
    assert "One of the two listings is not available" in done.err


def test_parameters_have_the_options_that_generate_has(run: Run, tmp_path: Path) -> None:
    """`-r`, `--quality`, `-n` and their like fill the gaps of rows, on either route; what is said twice is refused."""
    (tmp_path / "p.jsonl").write_text('{"prompt": "a"}\n{"prompt": "b", "resolution": "1024x768"}\n')
    (tmp_path / "q.txt").write_text("a fox\n")
    with Sandbox.in_thread(requests_per_second=None) as service:
        address = ("--base-url", service.url, "--no-pacing", "--no-gallery")
        args = (
            "p.jsonl",
            "-m",
            "gpt-image-2",
            "-r",
            "1024x1024",
            "--output-format",
            "png",
            "-n",
            "2",
            "--seed",
            "7",
        )
        plan = run("plan", *args, "--base-url", service.url, "--json").document
        assert (plan["images"], plan["problem_count"]) == (4, 0)
        assert run("batch", *args, "-o", "out", *address).code == 0
        assert (
            run(
                "batch", "q.txt", "-m", "hidream", "--route", "openai", "-r", "1024x1024", "-o", "b", *address
            ).code
            == 0
        )
    made = [json.loads(line)["parameters"] for line in Path("out/results.jsonl").read_text().splitlines()]
    assert sorted(parameters["resolution"] for parameters in made) == ["1024x1024"] * 2 + ["1024x768"] * 2
    assert {(parameters["output_format"], parameters["seed"]) for parameters in made} == {("png", 7)}
    assert json.loads(Path("b/results.jsonl").read_text())["parameters"] == {"size": "1024x1024"}
    twice = run("plan", "p.jsonl", "-r", "1k", "--param", "resolution=2k")
    assert (twice.code, "given by --param and by its own option" in twice.err) == (2, True)


def test_quotes(run: Run, service: BlockingSandbox, tmp_path: Path) -> None:
    """`--quote` sets the service's price beside the catalogue's, fills what that lacks, and says which is which."""
    rows = [
        {"prompt": "a", "model": "odd/no-price", "count": 5},
        {"prompt": "b", "model": "hidream", "count": 2},
    ]
    (tmp_path / "rows.jsonl").write_text("\n".join(map(json.dumps, rows)))
    args = ("plan", "rows.jsonl", "--base-url", service.url)
    assert run(*args, "--json").document["unpriced_requests"] == 2
    numbers = run(*args, "--quote", "--json").document
    assert (numbers["unpriced_requests"], numbers["quoted_requests"], numbers["filled_requests"]) == (0, 3, 2)
    assert numbers["cost_usd"] == numbers["quoted_usd"] == pytest.approx(0.278)
    assert (
        "$0.278 by the service, for 3 requests; the catalogue has no price for 2 of them"
        in run(*args, "--quote").out
    )
    service.set_faults(Fault("404", route="estimate"))
    without = run(*args, "--quote")
    assert "the catalogue's price stands where there is one" in without.err
    assert "by the service" not in without.out
    assert service.ledger.posts == []


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ((), "at least 40 s at 25 requests per second, 300 at once if each takes 12 s"),
        (("--concurrency", "300"), "at least 40 s at 25 requests per second, 300 at once if each takes 12 s"),
        (
            ("--concurrency", "64"),
            "at least 40 s at 25 requests per second; with --concurrency 64 3 min 8 s if each takes 12 s",
        ),
    ],
)
def test_the_time_is_said_with_pace_and_concurrency(
    run: Run, service: BlockingSandbox, tmp_path: Path, options: tuple[str, ...], said: str
) -> None:
    """What a cap on the requests at once costs is known before the batch is started."""
    manifest = tmp_path / "rows.txt"
    manifest.write_text("".join(f"fox {number}\n" for number in range(1_000)))
    done = run("plan", manifest, "-m", "tiny-and-fast", "--base-url", service.url, *options)
    assert said in " ".join(done.out.split())
