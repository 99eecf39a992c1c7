"""`batch`: runs, resumes, stops, and refuses."""

from __future__ import annotations

import asyncio
import itertools
import json
import signal
import subprocess
import threading
from pathlib import Path

import pytest

from nanogpt_images._base.threads import in_thread
from nanogpt_images.batch.rows import BatchRow
from nanogpt_images.cli.manifests import manifest as _manifest
from nanogpt_images.sandbox import BlockingSandbox, Fault, Sandbox, SandboxModel

from ..conftest import Run, command, environment, until_posted


def results(directory: Path) -> list[dict[str, object]]:
    return [json.loads(line) for line in (directory / "results.jsonl").read_text().splitlines()]


def test_all_done(spawn: Run, service: BlockingSandbox, manifest: Path, tmp_path: Path) -> None:
    """Every row becomes files and lines of results; the plan is set beside what came."""
    done = spawn("batch", manifest, "-m", "tiny-and-fast", "-o", "out", "--base-url", service.url)
    assert done.code == 0
    assert sorted(entry.n or 0 for entry in service.ledger.billed) == [1, 1, 2, 4]
    lines = results(tmp_path / "out")
    assert len(lines) == 8
    assert all((tmp_path / "out" / str(line["file"])).is_file() for line in lines)
    assert "plan: 3 rows, 4 requests, 8 images · cost $0.0008" in done.err
    assert "4 requests done · 8 images" in done.out
    assert "planned" in done.out
    assert "out/results.jsonl" in done.out


def test_rerun_sends_nothing(run: Run, service: BlockingSandbox, manifest: Path) -> None:
    """The same command again pays for nothing and ends with 0."""
    args = ("batch", manifest, "-m", "tiny-and-fast", "-o", "out", "--base-url", service.url)
    run(*args)
    posts = len(service.ledger.posts)
    again = run(*args)
    assert again.code == 0
    assert len(service.ledger.posts) == posts
    assert "4 done before" in again.out


def test_json(run: Run, service: BlockingSandbox, manifest: Path) -> None:
    """--json prints the report, the plan and the journal's sums as one document, and notes nothing."""
    done = run("batch", manifest, "-m", "tiny-and-fast", "-o", "out", "--json", "--base-url", service.url)
    document = done.document
    assert (document["rows"], document["requests"], document["images"]) == (3, 4, 8)
    assert document["cost_usd"] == document["planned"]["cost_usd"] == 0.0008
    assert document["totals"]["requests"]["done"] == 4
    assert document["error"] is None
    assert document["exit_code"] == 0
    assert done.err == ""


def test_openai_route_with_urls(run: Run, service: BlockingSandbox, manifest: Path, tmp_path: Path) -> None:
    """--route openai --delivery url holds for every row."""
    done = run(
        "batch", manifest, "-m", "tiny-and-fast", "-o", "out", "--route", "openai", "--delivery", "url",
        "--base-url", service.url,
    )  # fmt: skip
    assert done.code == 0
    assert {entry.route for entry in service.ledger.billed} == {"openai"}
    assert len(service.visits) == 8
    assert len(results(tmp_path / "out")) == 8


@pytest.mark.parametrize("suffix", [".txt", ".csv", ".tsv"])
def test_other_manifests(run: Run, service: BlockingSandbox, tmp_path: Path, suffix: str) -> None:
    """Text, CSV and TSV are manifests too; the prompt column may be in any case."""
    header = "" if suffix == ".txt" else "Prompt\n"
    (tmp_path / f"p{suffix}").write_text(f"{header}a fox\na hare\n")
    done = run("batch", f"p{suffix}", "-m", "tiny-and-fast", "-o", "out", "--base-url", service.url)
    assert done.code == 0
    assert sorted(entry.prompt for entry in service.ledger.billed) == ["a fox", "a hare"]


def test_a_failed_row(run: Run, service: BlockingSandbox, manifest: Path) -> None:
    """A refused row does not end the run; the exit code is 1 and the reason is said."""
    service.set_faults(Fault("content_policy", prompt_contains="hares"))
    done = run("batch", manifest, "-m", "tiny-and-fast", "-o", "out", "--base-url", service.url)
    assert done.code == 1
    assert "1 failed" in done.out
    assert "1 x ContentPolicyError" in done.out
    assert len(service.ledger.billed) == 3


def test_a_mended_row_ends_well(run: Run, service: BlockingSandbox, tmp_path: Path) -> None:
    """When the row that failed is mended, the same command ends with 0 and pays for that row only."""
    file = tmp_path / "p.jsonl"
    file.write_text('{"prompt": "a fox"}\n{"prompt": "a hare", "resolution": "9x9"}\n')
    args = ("batch", "p.jsonl", "-m", "tiny-and-fast", "-o", "out", "--base-url", service.url)
    first = run(*args)
    assert first.code == 1
    assert "1 row will fail, line 2" in first.err
    assert "once the failed rows are fixed" in first.out
    file.write_text('{"prompt": "a fox"}\n{"prompt": "a hare", "resolution": "64x64"}\n')
    assert run(*args).code == 0
    assert len(service.ledger.billed) == 2


def test_unknown_outcome(run: Run, service: BlockingSandbox, manifest: Path) -> None:
    """A lost answer is unknown: exit code 1, also for a rerun, which does not pay again."""
    service.set_faults(Fault("reset_after_body", prompt_contains="hares"))
    args = ("batch", manifest, "-m", "tiny-and-fast", "-o", "out", "--base-url", service.url)
    done = run(*args)
    assert done.code == 1
    assert "1 unknown" in done.out
    assert "retry out --unknown" in done.out
    posts = len(service.ledger.posts)
    assert run(*args).code == 1
    assert len(service.ledger.posts) == posts


def test_budget(run: Run, service: BlockingSandbox, manifest: Path) -> None:
    """At the budget the run stops with 3, never above it, and a higher one goes on."""
    args = ("batch", manifest, "-m", "tiny-and-fast", "-o", "out", "--base-url", service.url)
    done = run(*args, "--budget", "0.0005")
    assert done.code == 3
    assert service.ledger.total_usd <= 0.0005
    assert "with a higher --budget" in done.out
    assert "stopped: " in done.err
    again = run(*args, "--budget", "0.0008", "--json")
    assert again.code == 0
    assert service.ledger.total_usd == 0.0008


def test_budget_without_a_price(run: Run, service: BlockingSandbox, manifest: Path, tmp_path: Path) -> None:
    """A budget cannot be kept without prices: refused before anything is sent, with the way out."""
    service.set_faults(Fault("404", route="estimate"))
    done = run(
        "batch", manifest, "-m", "odd/no-price", "-o", "out", "--budget", "1", "--base-url", service.url
    )
    assert done.code == 2
    assert "--assume-price" in done.err
    assert service.ledger.posts == []
    assert not (tmp_path / "out").exists()


def test_daily_limit(run: Run, service: BlockingSandbox, manifest: Path) -> None:
    """A daily limit stops the run with 1 and says when it can go on."""
    service.set_faults(Fault("429_daily"))
    done = run("batch", manifest, "-m", "tiny-and-fast", "-o", "out", "--base-url", service.url)
    assert done.code == 1
    assert "00:00 UTC" in done.err
    assert service.ledger.billed == []


def test_wrong_key(run: Run, manifest: Path) -> None:
    """A refused key stops the run with 4."""
    with Sandbox.in_thread(key="sk-nano-the-right-one", requests_per_second=None) as service:
        done = run(
            "batch", manifest, "-m", "tiny-and-fast", "-o", "out", "--base-url", service.url,
            NANOGPT_API_KEY="sk-nano-wrong-one",
        )  # fmt: skip
    assert done.code == 4
    assert "NANOGPT_API_KEY" in done.err


def test_without_a_key(run: Run, manifest: Path, tmp_path: Path) -> None:
    """Without key and sandbox one line names both ways on, and nothing is written."""
    done = run("batch", manifest, "-m", "tiny-and-fast", "-o", "out")
    assert done.code == 4
    assert "NANOGPT_API_KEY" in done.err
    assert "--sandbox" in done.err
    assert len(done.err.splitlines()) == 1
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("name", "content", "text"),
    [
        ("none.jsonl", None, "there is no file none.jsonl"),
        ("empty.jsonl", "", "holds no rows"),
        ("blank.txt", "\n\n", "holds no rows"),
        ("table.csv", "title\nfox\n", "no prompt column"),
        ("rows.jsonl", '{"prompt": "ok"}\n{"key": "k"}\n{"prompt": ""}\n', "line 2: there is no prompt"),
        ("broken.jsonl", '{"prompt": "ok"}\n{"prompt": \n', "line 2 is not JSON"),
        ("prompts.pdf", "x", "as a manifest: its suffix"),
    ],
)
def test_bad_manifest(run: Run, tmp_path: Path, name: str, content: str | None, text: str) -> None:
    """A bad manifest is one line and exit code 2, before the service is asked anything."""
    if content is not None:
        (tmp_path / name).write_text(content)
    done = run("batch", name, "-m", "tiny-and-fast", "-o", "out", "--base-url", "http://127.0.0.1:9")
    assert done.code == 2
    assert text in done.err
    assert len(done.err.splitlines()) == 1
    assert not (tmp_path / "out").exists()


def test_unknown_model(run: Run, service: BlockingSandbox, manifest: Path, tmp_path: Path) -> None:
    """An unknown model for all rows is bad usage: near matches are named, nothing is written."""
    done = run("batch", manifest, "-m", "tiny-and-fas", "-o", "out", "--base-url", service.url)
    assert done.code == 2
    assert "tiny-and-fast" in done.err
    assert not (tmp_path / "out").exists()


def test_no_row_can_be_sent(run: Run, service: BlockingSandbox, manifest: Path, tmp_path: Path) -> None:
    """Where every row would fail, nothing is begun."""
    done = run(
        "batch", manifest, "-m", "tiny-and-fast", "-o", "out", "--param", "resolution=9x9", "--base-url", service.url
    )  # fmt: skip
    assert done.code == 2
    assert "line 1" in done.err
    assert not (tmp_path / "out").exists()


def test_directory_that_cannot_be_made(
    run: Run, service: BlockingSandbox, manifest: Path, tmp_path: Path
) -> None:
    """A target that is a file is refused before anything is sent."""
    (tmp_path / "out").write_text("a file")
    done = run("batch", manifest, "-m", "tiny-and-fast", "-o", "out", "-q", "--base-url", service.url)
    assert done.code == 2
    assert len(done.err.splitlines()) == 1
    assert service.ledger.posts == []


def test_closed_port(run: Run, manifest: Path, tmp_path: Path) -> None:
    """A closed port is one line and exit code 1, with nothing written."""
    done = run("batch", manifest, "-m", "tiny-and-fast", "-o", "out", "--base-url", "http://127.0.0.1:9")
    assert done.code == 1
    assert "cannot reach" in done.err
    assert len(done.err.splitlines()) == 1
    assert not (tmp_path / "out").exists()


def test_quiet(run: Run, service: BlockingSandbox, manifest: Path) -> None:
    """-q leaves stderr empty; the summary still comes."""
    done = run("batch", manifest, "-m", "tiny-and-fast", "-o", "out", "-q", "--base-url", service.url)
    assert done.err == ""
    assert "4 requests done" in done.out


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="POSIX signals")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_interrupt_drains_and_resumes(run: Run, tmp_path: Path, number: signal.Signals) -> None:
    """An interrupt lets requests under way finish, ends with 130, and the rerun pays for the rest only."""
    (tmp_path / "many.txt").write_text("".join(f"prompt {i}\n" for i in range(40)))
    with Sandbox.in_thread(requests_per_second=None, latency_s=0.2) as service:
        args = (
            "batch",
            "many.txt",
            "-m",
            "tiny-and-fast",
            "-o",
            "out",
            "--concurrency",
            "4",
            "--base-url",
            service.url,
        )
        with subprocess.Popen(
            command(*args),
            cwd=tmp_path,
            env=environment(),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        ) as process:
            until_posted(service, 4, process)
            process.send_signal(number)
            out, err = process.communicate(timeout=30)
        assert process.returncode == 130
        assert "stopping: finishing " in err
        assert " batch many.txt" in out
        assert "unknown" not in out
        sent = len(service.ledger.billed)
        assert 4 <= sent < 40
        assert len(results(tmp_path / "out")) == sent
        assert run(*args, "--concurrency", "40").code == 0
        assert len(service.ledger.billed) == 40


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="POSIX signals")
def test_second_interrupt_stops_at_once(run: Run, tmp_path: Path) -> None:
    """A second interrupt breaks off what is under way; it is listed as unknown."""
    (tmp_path / "many.txt").write_text("".join(f"prompt {i}\n" for i in range(8)))
    with Sandbox.in_thread(requests_per_second=None, faults=[Fault("stall_before_headers")]) as service:
        args = (
            "batch",
            "many.txt",
            "-m",
            "tiny-and-fast",
            "-o",
            "out",
            "--concurrency",
            "2",
            "--base-url",
            service.url,
        )
        with subprocess.Popen(
            command(*args, "--json"),
            cwd=tmp_path,
            env=environment(),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        ) as process:
            until_posted(service, 2, process)
            process.send_signal(signal.SIGINT)
            process.send_signal(signal.SIGTERM)
            out, _ = process.communicate(timeout=30)
        assert process.returncode == 130
        document = json.loads(out)
        assert document["interrupted"] is True
        assert document["totals"]["requests"]["unknown"] == 2
        assert len(service.ledger.posts) == 2


def test_a_directory_in_use(run: Run, manifest: Path, tmp_path: Path) -> None:
    """A second process on one directory is refused and told who holds it; `status` names the holder."""
    with Sandbox.in_thread(requests_per_second=None, faults=[Fault("stall_before_headers")]) as service:
        args = ("batch", manifest, "-m", "tiny-and-fast", "-o", "out", "--base-url", service.url)
        with subprocess.Popen(
            command(*args, "-q"), cwd=tmp_path, env=environment(), stdout=subprocess.PIPE
        ) as process:
            until_posted(service, 4, process)
            second = run(*args, "-q")
            status = run("status", "out")
            process.kill()
            process.communicate(timeout=30)
    assert second.code == 2
    assert f"in use by process {process.pid}" in second.err
    assert "--join" in second.err
    assert f"process {process.pid} on" in status.out
    assert "4 in flight" in status.out


def test_a_joined_process_says_what_a_living_peer_still_holds(
    run: Run, manifest: Path, tmp_path: Path
) -> None:
    """What is in the hands of another process is not done: it is counted, said at the end, and the exit code is 1."""
    with Sandbox.in_thread(requests_per_second=None, faults=[Fault("stall_before_headers")]) as service:
        args = ("batch", manifest, "-m", "tiny-and-fast", "-o", "out", "--join", "--base-url", service.url)
        with subprocess.Popen(
            command(*args, "-q"), cwd=tmp_path, env=environment(), stdout=subprocess.PIPE
        ) as process:
            until_posted(service, 4, process)
            said, told = run(*args), run(*args, "--json")
            process.kill()
            process.communicate(timeout=30)
    assert (said.code, told.code) == (1, 1)
    assert "left: 4 requests of this job still to do, 4 of them in the hands of other processes" in said.err
    assert (told.document["pending"], told.document["held_by_others"]) == (4, 4)


@pytest.mark.parametrize("as_json", [False, True])
def test_a_joined_process_never_calls_an_unfinished_job_done(
    run: Run, service: BlockingSandbox, as_json: bool
) -> None:
    """Stopped at the budget it counts what is left; another one that is through ends with 1 and says how to go on."""
    Path("many.txt").write_text("".join(f"p{number}\n" for number in range(30)))
    Path("one.txt").write_text("a fox\n")
    options = ("-o", "out", "-m", "tiny-and-fast", "--join", "--base-url", service.url)
    shape = ("--json",) if as_json else ("-q",)
    stopped = run("batch", "many.txt", *options, "--budget", "0", *shape)
    through = run("batch", "one.txt", *options, *shape)
    assert (stopped.code, through.code) == (3, 1)
    if as_json:
        assert (stopped.document["pending"], through.document["pending"]) == (30, 30)
        assert through.document["next"].startswith("nanogpt-images retry out")
    else:
        assert "left: 30 requests of this job still to do" in stopped.err
        assert "left: 30 requests of this job still to do" in through.err
        assert "'nanogpt-images retry out" in through.err
    assert run("retry", "out", "--base-url", service.url).code == 0
    assert run("batch", "many.txt", *options).code == 0


def test_large_manifest(
    run: Run, service: BlockingSandbox, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All of a large manifest is planned before anything is sent, and that it takes a while is said."""
    monkeypatch.setattr(_manifest, "MAX_SCANNED_BYTES", 10)
    monkeypatch.setattr(_manifest, "_FIRST_ROWS", 2)
    (tmp_path / "large.txt").write_text("a fox\na hare\nan owl\n")
    done = run("batch", "large.txt", "-m", "tiny-and-fast", "-o", "out", "--base-url", service.url)
    assert done.code == 0
    assert "checking all rows of large.txt first" in done.err
    assert "plan: 3 rows, 3 requests, 3 images" in done.err
    assert len(service.ledger.billed) == 3


@pytest.mark.parametrize("options", [(), ("--no-validate",)])
def test_a_wrong_row_deep_in_a_large_manifest_is_met_before_anything_is_sent(
    run: Run,
    service: BlockingSandbox,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    options: tuple[str, ...],
) -> None:
    """Nothing is paid before it, and the next row that is wrong is counted."""
    monkeypatch.setattr(_manifest, "MAX_SCANNED_BYTES", 10)
    monkeypatch.setattr(_manifest, "_FIRST_ROWS", 2)
    rows = ['{"prompt": "a fox"}'] * 3 + ["{", '{"prompt": "a hare"}', '{"prompt": 5}']
    (tmp_path / "large.jsonl").write_text("\n".join(rows))
    done = run(
        *("batch", "large.jsonl", "-m", "tiny-and-fast", "-o", "out", "--base-url", service.url), *options
    )
    assert done.code == 2
    assert "line 4" in done.err
    assert "1 more row is wrong" in done.err
    assert "Nothing was sent" in done.err
    assert service.ledger.posts == []


def test_a_cost_in_another_currency(run: Run, tmp_path: Path) -> None:
    """The end of a batch, and `generate`, name what was paid in another currency."""
    (tmp_path / "fox.txt").write_text("a red fox\na blue fox\n")
    with Sandbox.in_thread(faults=[Fault("other_currency")]) as sandbox:
        options = ("-m", "hidream", "--base-url", sandbox.url)
        done = run("batch", "fox.txt", "-o", "out", *options)
        assert "2 requests: 1.12 XNO; counted above at the expected price" in done.out
        assert "cost 0.56 XNO" in run("generate", "a fox", "-o", "one", *options).out


def test_a_manifest_whose_content_is_refused_stops_and_says_how_to_go_on(
    run: Run, service: BlockingSandbox, tmp_path: Path
) -> None:
    """Exit code 1, the rest pending; `--keep-going` sends all of it."""
    service.set_faults(Fault("content_policy"))
    (tmp_path / "many.txt").write_text("".join(f"a fox {number}\n" for number in range(120)))
    args = ("batch", "many.txt", "-m", "tiny-and-fast", "-o", "out", "--no-pacing", "--no-gallery", "--json")
    done = run(*args, "--base-url", service.url)
    assert done.code == 1
    assert done.document["error"]["type"] == "ContentPolicyError"
    assert "continue anyway with keep_going=True (--keep-going)" in done.document["error"]["message"]
    assert done.document["totals"]["requests"]["pending"] > 0
    assert {failure["error"] for failure in done.document["failures"]} == {"ContentPolicyError"}
    done = run(*args, "--keep-going", "--base-url", service.url)
    assert (done.code, done.document["failed"], done.document["stopped"]) == (1, 120, None)


@pytest.mark.parametrize("rate", ["inf", "nan", "-1", "0", "1e300", "10001", "1e-300", "0.0000115"])
@pytest.mark.parametrize(
    "verb", [("batch", "p.txt", "-o", "out", "-m", "tiny-and-fast", "--sandbox"), ("sandbox",)]
)
def test_a_rate_that_no_limiter_keeps_to_is_a_usage_error(run: Run, verb: tuple[str, ...], rate: str) -> None:
    """One line and exit code 2; 0 switches the sandbox's limit off."""
    Path("p.txt").write_text("a fox\n")
    if verb == ("sandbox",) and rate == "0":
        return
    done = run(*verb, "--requests-per-second", rate)
    assert (done.code, done.err.count("\n")) == (2, 1)
    assert "--requests-per-second" in done.err


@pytest.mark.parametrize("verb", ["plan", "batch", "generate"])
@pytest.mark.parametrize(
    "nested", ["[" * 100_000, "[" * 20_000 + "]" * 20_000, '{"a":' * 20_000, "[" * 500 + "]" * 500]
)
def test_a_parameter_that_is_nested_too_deeply_is_a_usage_error(run: Run, verb: str, nested: str) -> None:
    """Whether it is JSON or only begins like it."""
    Path("p.txt").write_text("a fox\n")
    given = ["x"] if verb == "generate" else ["p.txt"]
    out = [] if verb == "plan" else ["-o", "out"]
    done = run(verb, *given, "-m", "tiny-and-fast", "--sandbox", *out, "--param", f"style={nested}")
    assert done.code == 2
    assert "nested" in done.err + done.out
    assert "Traceback" not in done.err


@pytest.mark.parametrize("price", [1e3, 1e6, 1e9])
@pytest.mark.parametrize("verb", ["batch", "status", "retry", "gallery", "plan"])
def test_prices_beyond_measure(run: Run, price: float, verb: str) -> None:
    """Twenty requests at what no image costs: each verb ends with its own exit code, and sums stay sums."""
    Path("p.txt").write_text("".join(f"prompt {number}\n" for number in range(20)))
    model = SandboxModel(
        id="dear", name="Dear", owner="x", prices_usd={"auto": price}, unlisted_price_usd=price
    )
    with Sandbox.in_thread(models=[model], balance_usd=1e12, requests_per_second=None) as service:
        made = run(
            "batch", "p.txt", "-m", "dear", "-o", "out", "--no-gallery", "--base-url", service.url, "--yes"
        )
        assert made.code == (0 if price <= 1e3 else 1)
        assert len(service.ledger.posts) == (20 if price <= 1e3 else 0)
        if verb != "batch":
            given = ["p.txt", "-m", "dear"] if verb == "plan" else ["out"]
            done = run(verb, *given, "--base-url", service.url)
            assert done.code in (0, 1)


@pytest.mark.parametrize("kind", ["file", "s3"])
def test_images_url_is_tried_before_anything_is_paid(run: Run, kind: str, tmp_path: Path) -> None:
    """A place that takes no images is found out with one line, nothing is sent, and a good one keeps no trace."""
    pytest.importorskip("obstore")
    Path("p.txt").write_text("a fox\n")
    (tmp_path / "in the way").write_text("")
    good, bad = tmp_path / "good", tmp_path / "in the way" / "below"
    url = bad.as_uri() if kind == "file" else "s3://bucket/prefix"
    variables = {"AWS_ENDPOINT": "http://127.0.0.1:9", "AWS_ALLOW_HTTP": "true", "AWS_ACCESS_KEY_ID": "a",
                 "AWS_SECRET_ACCESS_KEY": "b", "AWS_REGION": "c"}  # fmt: skip
    with Sandbox.in_thread(requests_per_second=None) as service:
        args = [
            "batch",
            "p.txt",
            "-m",
            "tiny-and-fast",
            "-o",
            "out",
            "--no-gallery",
            "--base-url",
            service.url,
        ]
        done = run(*args, "--images-url", url, **variables)
        assert (done.code, len(service.ledger.posts)) == (2, 0)
        assert "cannot" in done.err
        assert run(*args, "--images-url", good.as_uri()).code == 0
        assert len(service.ledger.posts) == 1
    assert [path.suffix for path in good.iterdir()] == [".png"]


def test_a_lost_journal(spawn: Run, service: BlockingSandbox, manifest: Path, tmp_path: Path) -> None:
    """Images without their journal are bad usage, exit 2, with both ways on; --adopt takes them over."""
    out = tmp_path / "out"
    command = ("batch", str(manifest), "-m", "tiny-and-fast", "-o", str(out), "--base-url", service.url)
    assert spawn(*command).code == 0
    posts = len(service.ledger.posts)
    (out / "journal.db").unlink()
    refused = spawn(*command)
    assert refused.code == 2
    assert "another directory" in refused.err
    assert "--adopt" in refused.err
    assert spawn(*command, "--adopt").code == 0
    assert len(service.ledger.posts) == posts


def test_all_keys_of_the_environment_are_used(
    run: Run, service: BlockingSandbox, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each is used and capped, and none is shown."""
    keys = [f"sk-nano-00000000-0000-4000-8000-00000000000{number}" for number in range(3)]
    monkeypatch.setenv("NANOGPT_API_KEYS", " ".join(keys))
    (tmp_path / "rows.txt").write_text("".join(f"fox {number}\n" for number in range(12)))
    with Sandbox.in_thread(requests_per_second=None) as sandbox:
        options = ("-m", "tiny-and-fast", "-o", "out", "--base-url", sandbox.url)
        done = run("batch", "rows.txt", *options, "--key-budget", "0.0005")
        assert done.code == 0
        assert len(sandbox.ledger.billed) == 12
        assert len({entry.key for entry in sandbox.ledger.billed}) == 3
        shown = done.out + done.err + (tmp_path / "out" / "results.jsonl").read_text()
    assert not any(key in shown for key in keys)


async def test_an_interrupt_ends_the_check_of_a_large_manifest() -> None:
    """The thread that looks through it ends at the next row; a process would wait for it before it ends."""
    begun, ended = threading.Event(), threading.Event()

    def look(faults: _manifest.Faults) -> None:
        for _ in faults.noted(itertools.repeat(BatchRow("a fox", "m"))):
            begun.set()
        ended.set()

    task = asyncio.create_task(_manifest._looked_through(look))
    assert await in_thread(begun.wait, 20)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert await in_thread(ended.wait, 20)
