"""`status` and `retry`."""

from __future__ import annotations

from pathlib import Path

import pytest

from nanogpt_images.sandbox import BlockingSandbox, Fault

from .conftest import Run


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
