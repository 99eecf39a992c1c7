"""`status` and `retry`."""

from __future__ import annotations

import json
import signal
import sqlite3
import subprocess
from contextlib import closing
from datetime import date
from pathlib import Path

import pytest

import nanogpt_images as ngi
from nanogpt_images.cli.reconciliation import _ranges
from nanogpt_images.sandbox import BlockingSandbox, Fault, Sandbox

from .conftest import TIMEOUT_S, Run, command, environment, until_posted


@pytest.fixture
def troubled(run: Run, service: BlockingSandbox, manifest: Path) -> BlockingSandbox:
    """A batch in `out` with one failed and one unknown request, and the sandbox well again."""
    service.set_faults(
        Fault("content_policy", prompt_contains="hares"), Fault("reset_after_body", prompt_contains="owl")
    )
    assert (
        run("batch", manifest, "-m", "tiny-and-fast", "-o", "out", "-q", "--base-url", service.url).code == 1
    )
    service.set_faults()
    return service


def test_status(run: Run, troubled: BlockingSandbox) -> None:
    """`status` adds up requests, images and money, and names what went wrong; it needs no service."""
    done = run("status", "out")
    assert done.code == 0
    for text in ("2 done, 1 failed, 1 unknown", "6 of 8", "$0.0006", "ContentPolicyError", "an-owl-at-dusk"):
        assert text in done.out
    assert "next  nanogpt-images retry out --sandbox" in done.out
    assert done.err == ""


def test_status_as_json(run: Run, troubled: BlockingSandbox) -> None:
    """`status --json` holds the same numbers and the single endings."""
    document = run("status", "out", "--json").document
    assert document["requests"] == {
        "pending": 0,
        "sent": 0,
        "linked": 0,
        "done": 2,
        "failed": 1,
        "unknown": 1,
    }
    assert document["unknown_usd"] == 0.0001
    assert [ending["prompt"] for ending in document["unknowns"]] == ["an owl at dusk"]
    assert [ending["key"] for ending in document["failures"]] == ["hares"]
    assert document["holders"] == []
    (model,) = document["models"]
    assert (model["requests"], model["done"], model["failed"], model["unknown"]) == (4, 2, 1, 1)
    assert (model["spent_usd"], model["unknown_usd"]) == (document["spent_usd"], 0.0001)
    assert model["median_s"] >= 0


def test_retry_leaves_unknowns_alone(run: Run, troubled: BlockingSandbox) -> None:
    """`retry` sends failures again; what may have been charged stays, and so does exit code 1."""
    before = len(troubled.ledger.posts)
    done = run("retry", "out", "--base-url", troubled.url)
    assert done.code == 1
    assert len(troubled.ledger.posts) == before + 1
    assert "retry out --unknown" in done.out


def test_retry_unknown_finishes(run: Run, troubled: BlockingSandbox) -> None:
    """`retry --unknown` finishes the job, and says that it pays again."""
    done = run("retry", "out", "--unknown", "--base-url", troubled.url)
    assert done.code == 0
    assert "1 of which are paid for again" in done.err
    document = run("status", "out", "--json").document
    assert document["requests"]["done"] == 4


def test_retry_of_what_is_done(run: Run, service: BlockingSandbox, manifest: Path) -> None:
    """Where nothing is open `retry` says so and ends with 0."""
    run("batch", manifest, "-m", "tiny-and-fast", "-o", "out", "-q", "--base-url", service.url)
    posts = len(service.ledger.posts)
    done = run("retry", "out", "--base-url", service.url)
    assert done.code == 0
    assert "nothing to send again" in done.err
    assert len(service.ledger.posts) == posts


@pytest.mark.parametrize("verb", ["status", "retry"])
@pytest.mark.parametrize("name", ["empty", "missing"])
def test_no_journal(run: Run, tmp_path: Path, verb: str, name: str) -> None:
    """A directory without a journal is one line and exit code 2, and none is made."""
    (tmp_path / "empty").mkdir()
    done = run(verb, name, *(["--sandbox"] if verb == "retry" else []))
    assert done.code == 2
    assert "journal.db" in done.err
    assert len(done.err.splitlines()) == 1
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["empty"]


def test_status_tells_what_was_planned(run: Run, troubled: BlockingSandbox) -> None:
    """`status` sets the planned money beside the spent, and what a changed manifest leaves to be sent."""
    document = run("status", "out", "--json").document
    assert document["planned_usd"] == pytest.approx(0.0008)
    assert document["to_come_usd"] == 0
    assert document["unpriced_requests"] == 0
    assert "planned   $0.0008" in run("status", "out").out


def test_status_of_a_stopped_batch(run: Run, service: BlockingSandbox, manifest: Path) -> None:
    """What a budget kept from being sent is still to come."""
    batch = ("batch", manifest, "-m", "tiny-and-fast", "-o", "out", "-q", "--base-url", service.url)
    assert run(*batch, "--budget", "0.0005", "--concurrency", "1").code == 3
    document = run("status", "out", "--json").document
    assert document["to_come_usd"] == pytest.approx(document["planned_usd"] - document["spent_usd"])
    assert "of it still to be sent" in run("status", "out").out


def test_status_beside_the_account(run: Run, troubled: BlockingSandbox) -> None:
    """`status --account` sets the service's own figures, refunds among them, beside the journal's."""
    for entry in troubled.ledger.billed:
        if entry.prompt == "an owl at dusk":
            troubled.refund(entry)
    options = ("status", "out", "--account", "--base-url", troubled.url)
    account = run(*options, "--json").document["account"]
    (line,) = account["models"]
    assert line == {
        "model": "tiny-and-fast",
        "journal_usd": pytest.approx(0.0006),
        "open_usd": pytest.approx(0.0001),
        "charged_usd": pytest.approx(0.0007),
        "refunded_usd": pytest.approx(0.0001),
    }
    assert account["balance_usd"] == pytest.approx(99.9994)
    shown = run(*options).out
    assert "refunded" in shown
    assert "$0.0007" in shown


def test_the_account_names_models_by_their_labels(run: Run, service: BlockingSandbox, tmp_path: Path) -> None:
    """Usage is matched by label, models of one label share a line, and what matches nothing is shown."""
    models = ("tiny-and-fast", "runware:106@1", "flux-1-dev", "sd3_base_medium.safetensors")
    rows = [{"prompt": "a fox", "model": model} for model in models]
    (tmp_path / "rows.jsonl").write_text("\n".join(map(json.dumps, rows)))
    address = ("--base-url", service.url)
    assert run("batch", "rows.jsonl", "-o", "out", *address).code == 0
    assert run("generate", "an owl", "-m", "hidream", "-o", "one", *address).code == 0
    account = run("status", "out", "--account", *address, "--json").document["account"]
    charged = {line["model"]: line["charged_usd"] for line in account["models"]}
    assert charged == {
        "tiny-and-fast": pytest.approx(0.0001),
        "flux-1-dev, runware:106@1": pytest.approx(0.0077),
        "sd3_base_medium.safetensors": pytest.approx(0.002),
    }
    assert account["unmatched"] == [
        {"model": "HiDream", "requests": 1, "charged_usd": pytest.approx(0.014), "refunded_usd": 0.0}
    ]
    assert account["charged_usd"] == pytest.approx(service.ledger.total_usd)
    shown = run("status", "out", "--account", *address).out
    assert "HiDream" in shown
    assert "belongs to none of its models" in shown


def test_an_account_is_asked_in_ranges_that_it_takes() -> None:
    """A job of more than 366 days is asked for in parts that follow each other."""
    ranges = list(_ranges(date(2024, 1, 1), date(2026, 1, 2)))
    assert [(last - first).days for first, last in ranges] == [365, 365, 0]
    assert ranges[1][0] == date(2025, 1, 1)
    assert list(_ranges(date(2026, 1, 1), date(2026, 1, 1))) == [(date(2026, 1, 1), date(2026, 1, 1))]


def test_the_account_of_another_service(run: Run, troubled: BlockingSandbox) -> None:
    """A journal is not compared with the account of a service that it was not made with."""
    done = run("status", "out", "--account", NANOGPT_API_KEY="sk-nano-somebody")
    assert done.code == 2
    assert "was made with sandbox" in done.err


def stopped(run: Run, service: BlockingSandbox, rows: int) -> list[str]:
    """Have a budget stop a batch after a third of its rows; the options of the next command."""
    Path("many.txt").write_text("".join(f"prompt {i}\n" for i in range(rows)))
    options = ["--base-url", service.url, "--no-gallery", "--no-pacing"]
    batch = ("batch", "many.txt", "-m", "tiny-and-fast", "-o", "out", "-q", *options)
    assert run(*batch, "--budget", f"{rows // 3 * 0.0001:.4f}").code == 3
    assert len(service.ledger.billed) == rows // 3
    return options


def test_the_rest_of_a_manifest(run: Run, service: BlockingSandbox) -> None:
    """`status` and the gallery know the rows that were never read, and `retry` reads them: each is paid for once."""
    options = stopped(run, service, 2_000)
    document = run("status", "out", "--json").document
    unread = document["unread_rows"]
    assert 0 < unread < 2_000 - 666
    assert (document["manifest_rows"], document["rows"]) == (2_000, 2_000 - unread)
    assert f"rows      {2_000 - unread:,} of 2,000, {unread:,} not read yet\n" in run("status", "out").out
    assert run("gallery", "out").code == 0
    assert f"{unread:,} of 2,000 rows not read yet" in Path("out/index.html").read_text()

    done = run("retry", "out", *options)
    assert f"{unread:,} rows of the manifest that were not read yet" in done.err
    assert done.code == 0
    assert len({entry.prompt for entry in service.ledger.billed}) == len(service.ledger.billed) == 2_000
    document = run("status", "out", "--json").document
    assert (document["rows"], document["unread_rows"], document["requests"]["done"]) == (2_000, 0, 2_000)
    assert "rows      2,000\n" in run("status", "out").out
    assert "nothing to send again" in run("retry", "out", *options).err


@pytest.mark.parametrize("fate", ["gone", "changed"])
def test_a_manifest_that_cannot_be_finished(run: Run, service: BlockingSandbox, fate: str) -> None:
    """Where the manifest is not what it was, `retry` sends what is open, counts the rows never read, and ends with 1."""
    options = stopped(run, service, 300)
    manifest = Path("many.txt")
    unread = run("status", "out", "--json").document["unread_rows"]
    if fate == "gone":
        manifest.unlink()
    else:
        manifest.write_text(manifest.read_text().replace("prompt", "Prompt"))
    for _ in range(2):
        done = run("retry", "out", *options)
        assert done.code == 1
        assert (
            f"{unread:,} rows of {manifest.absolute()} never read, which is gone or has changed" in done.out
        )
    assert run("retry", "out", *options, "--json").document["unread"] == unread
    assert len(service.ledger.billed) == 300 - unread


def test_the_same_manifest_with_other_options(run: Run, service: BlockingSandbox, manifest: Path) -> None:
    """A retry reads a manifest as the batch did: with its model, count and parameters."""
    batch = ("batch", manifest, "-m", "tiny-and-fast", "-o", "out", "-q", "--base-url", service.url)
    options = ("--count", "2", "--param", "resolution=64x64")
    assert run(*batch, *options, "--budget", "0.0001").code == 3
    (record,) = run("status", "out", "--json").document["manifests"]
    assert (record["path"], record["rows"], record["read"]) == (str(manifest), 3, 3)
    manifest.write_text(manifest.read_text() + '{"prompt": "a wolf"}\n')
    assert run(*batch, *options).code == 0
    (record,) = run("status", "out", "--json").document["manifests"]
    assert (record["rows"], record["read"]) == (4, 4)


@pytest.mark.parametrize(
    ("bound", "made_with", "option"),
    [
        ("sandbox", "a sandbox", " --sandbox"),
        ("loopback:8000", "loopback:8000", ""),
        ("loopback", "loopback", ""),
        ("https://nano-gpt.com", "https://nano-gpt.com", ""),
    ],
)
def test_status_sends_nobody_to_another_service(
    run: Run, troubled: BlockingSandbox, tmp_path: Path, bound: str, made_with: str, option: str
) -> None:
    """Only a batch of the sandbox is said to be one, and only its next command names the sandbox."""
    with closing(sqlite3.connect(tmp_path / "out" / "journal.db")) as journal, journal:
        journal.execute("UPDATE meta SET value = ? WHERE name = 'service'", (bound,))
    shown = run("status", "out").out
    assert f"made with {made_with}\n" in shown
    assert f"next  nanogpt-images retry out{option}\n" in shown
    assert run("status", "out", "--json").document["service"] == bound


def test_a_batch_of_the_command_lines_own_sandbox_goes_on(
    run: Run, manifest: Path, service: BlockingSandbox
) -> None:
    """`--sandbox` and `nanogpt-images sandbox` are one service, each time at another port."""
    batch = ("batch", manifest, "-m", "tiny-and-fast", "-o", "out", "-q")
    assert run(*batch, "--budget", "0.0005", "--concurrency", "1", "--sandbox").code == 3
    assert run(*batch, "--base-url", service.url).code == 0
    done = run(*batch, "--sandbox", "--json")
    assert (done.code, done.document["requests"]) == (0, 0)


def test_a_retry_downloads_what_an_unknown_request_brought(
    run: Run, service: BlockingSandbox, tmp_path: Path
) -> None:
    """Signed URLs of an answer that broke off are what `status` points to, and `retry` downloads them without paying."""
    fields = {"prompt": "a fox", "route": "openai", "parameters": {"response_format": "url"}, "count": 4}
    service.set_faults(Fault("close_in_response_body", times=1), Fault("url_503"))
    # Without the waits between the downloads, which take a minute on the command line.
    with ngi.Client(service.api_key, service.url, retry=ngi.RetryPolicy.none()) as client:
        assert client.run_batch([fields], model="tiny-and-fast", out=tmp_path / "out").unknown == 1
    service.set_faults()
    assert "--unknown" not in run("status", "out").out
    done = run("retry", "out", "--json", "--base-url", service.url)
    assert (done.code, done.document["unresolved"], len(service.ledger.posts)) == (1, 1, 1)
    assert done.document["images"] == len(list((tmp_path / "out" / "images").iterdir())) > 0
    assert "--unknown" in run("status", "out").out


@pytest.mark.parametrize("rows", [300, pytest.param(2_000, marks=pytest.mark.long)])
@pytest.mark.parametrize("verb", ["retry", "batch"])
def test_a_job_interrupted_after_a_third(run: Run, tmp_path: Path, rows: int, verb: str) -> None:
    """An interrupted process, `status`, a second process that goes on, `status`: true at each step, and one payment a row."""
    (tmp_path / "many.txt").write_text("".join(f"prompt {i}\n" for i in range(rows)))
    with Sandbox.in_thread(requests_per_second=None, latency_s=0.002) as service:
        options = ["--base-url", service.url, "--no-gallery", "--no-pacing"]
        batch = ["batch", "many.txt", "-m", "tiny-and-fast", "-o", "out", "--concurrency", "8", *options]
        variables = environment(NANOGPT_API_KEY=service.api_key)
        with subprocess.Popen(
            command(*batch), cwd=tmp_path, env=variables, stderr=subprocess.PIPE, stdout=subprocess.PIPE
        ) as first:
            until_posted(service, rows // 3, first)
            first.send_signal(signal.SIGINT)
            first.communicate(timeout=TIMEOUT_S)
        assert first.returncode == 130

        paid = len(service.ledger.billed)
        document = run("status", "out", "--json").document
        unread = document["unread_rows"]
        assert rows // 3 <= paid == document["requests"]["done"] < rows
        assert document["manifest_rows"] == document["rows"] + unread == rows
        assert unread > 0
        assert document["job_usd"] == pytest.approx(rows * 0.0001)
        shown = run("status", "out").out
        assert f"{rows - unread:,} of {rows:,}, {unread:,} not read yet" in shown
        assert f"planned   ${rows * 0.0001:.2f} for all rows, " in shown

        again = command(*(batch if verb == "batch" else ["retry", "out", *options]))
        second = subprocess.run(
            again,
            cwd=tmp_path,
            env=variables,
            capture_output=True,
            encoding="utf-8",
            timeout=120,
            check=False,
        )
        assert second.returncode == 0
        if verb == "batch":
            assert f"left: {rows - paid:,} requests · cost " in second.stderr
            assert f"; {paid:,} ended in earlier runs" in second.stderr
        assert len({entry.prompt for entry in service.ledger.billed}) == len(service.ledger.billed) == rows
        document = run("status", "out", "--json").document
        assert (document["rows"], document["unread_rows"], document["requests"]["done"]) == (rows, 0, rows)
        third = run(*batch, NANOGPT_API_KEY=service.api_key)
        assert (third.code, len(service.ledger.billed)) == (0, rows)
        assert "left: 0 requests · cost $0.00" in third.err


def test_status_watches_until_nobody_works(run: Run, tmp_path: Path) -> None:
    """While a process works on the batch, `status --watch` goes on; its last word is the end of the job."""
    (tmp_path / "p.txt").write_text("".join(f"prompt {i}\n" for i in range(30)))
    with Sandbox.in_thread(requests_per_second=None, latency_s=0.05) as service:
        args = (
            "batch",
            "p.txt",
            "-m",
            "tiny-and-fast",
            "-o",
            "out",
            "--concurrency",
            "2",
            "--no-pacing",
            "--no-gallery",
        )
        with subprocess.Popen(
            command(*args, "--base-url", service.url),
            cwd=tmp_path,
            env=environment(NANOGPT_API_KEY=service.api_key),
            stderr=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
        ) as process:
            until_posted(service, 3, process)
            watched = run("status", "out", "--watch").out
    assert watched.startswith("batch     out, made with a sandbox\nrunning   process ")
    last = watched.rpartition("batch     out")[2]
    assert "running" not in last
    assert "requests  30 done" in last


def test_show_finds_the_batch_of_an_image(run: Run, service: BlockingSandbox, tmp_path: Path) -> None:
    """An image without a record of its own is explained by the journal of the directory that it lies in."""
    (tmp_path / "p.csv").write_text("prompt,key,Category\na red fox,fox,Animals\n")
    args = ("-m", "tiny-and-fast", "-o", "out", "-r", "64x64", "--no-gallery", "--base-url", service.url)
    assert run("batch", "p.csv", *args).code == 0
    (image,) = Path("out/images").iterdir()
    done = run("show", image)
    assert done.code == 0
    for text in (
        "a red fox",
        "tiny-and-fast",
        'resolution="64x64"',
        'Category="Animals"',
        "key         fox",
        "$0.0001",
    ):
        assert text in done.out
    document = run("show", image, "--json").document
    assert (document["provenance"], document["batch"]["key"], document["batch"]["row"]) == (None, "fox", 1)
    stray = image.with_name("stray.png")
    stray.write_bytes(image.read_bytes())
    assert run("show", stray).code == 1
