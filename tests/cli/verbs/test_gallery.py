"""`gallery`, and the one that other verbs leave behind."""

from __future__ import annotations

import signal
from pathlib import Path

import anyio
import click
import pytest

from nanogpt_images.batch.journal import Totals
from nanogpt_images.batch.states import State
from nanogpt_images.cli import gallery_page as _gallery
from nanogpt_images.cli.job import Outcome
from nanogpt_images.errors import NanoGPTError
from nanogpt_images.sandbox import BlockingSandbox, Fault

from ..conftest import Run


@pytest.fixture
def batch(run: Run, service: BlockingSandbox, tmp_path: Path) -> Run:
    """Runs a batch of three different images, with further options."""
    manifest = tmp_path / "prompts.txt"
    manifest.write_text("a red fox\ntwo hares\nan owl at dusk\n")

    def start(*args: str):
        return run("batch", manifest, "-m", "tiny-and-fast", "-o", "out", "--base-url", service.url, *args)

    return start


def test_batch_leaves_a_gallery(batch: Run, tmp_path: Path) -> None:
    """A batch ends with a page beside its images, with planned and actual cost, and says where it is."""
    done = batch()
    page = (tmp_path / "out" / "index.html").read_text()
    assert "gallery  out/index.html" in done.out
    assert "of $0.0003 planned" in page
    assert len(list((tmp_path / "out" / "thumbnails").rglob("*.webp"))) == 3


def test_no_gallery(batch: Run, tmp_path: Path) -> None:
    """--no-gallery leaves it out, and `gallery` makes it later with the same numbers."""
    done = batch("--no-gallery", "--json")
    assert done.document["gallery"] is None
    assert not (tmp_path / "out" / "index.html").exists()


def test_verb(batch: Run, run: Run, tmp_path: Path) -> None:
    """`gallery` says where the page is and what it made; again, it makes no thumbnail."""
    batch("--no-gallery")
    done = run("gallery", "out")
    assert done.code == 0
    assert "out/index.html" in done.out
    assert "3 made now" in done.out
    document = run("gallery", "out", "--json").document
    assert document == {
        "gallery": "out/index.html",
        "pages": ["out/index.html"],
        "images": 3,
        "not_shown": 0,
        "thumbnails_made": 0,
    }
    assert "of $0.0003 planned" in (tmp_path / "out" / "index.html").read_text()


def test_open(batch: Run, run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is opened unless --open asks for it."""
    opened: list[str] = []
    monkeypatch.setattr(click, "launch", lambda url: opened.append(url) or 0)
    batch()
    run("gallery", "out")
    assert opened == []
    run("gallery", "out", "--open")
    assert opened == [str(tmp_path / "out" / "index.html")]


def test_retry_renews_it(batch: Run, run: Run, service: BlockingSandbox, tmp_path: Path) -> None:
    """After a retry the page shows what has come since."""
    service.set_faults(Fault("content_policy", prompt_contains="hares"))
    batch()
    page = tmp_path / "out" / "index.html"
    assert '"state":"failed"' in page.read_text()
    service.set_faults()
    run("retry", "out", "--base-url", service.url)
    assert '"state":"failed"' not in page.read_text()


def test_a_batch_is_no_worse_without(batch: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the page cannot be made a note says so, and the batch ends as it would have."""

    async def broken(*args: object, **options: object) -> None:
        raise NanoGPTError("no room")

    monkeypatch.setattr(_gallery, "write_gallery", broken)
    done = batch()
    assert done.code == 0
    assert "gallery: left out: no room." in done.err
    assert "index.html" not in done.out


def test_large_jobs_are_left_to_the_verb(batch: Run, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Above the limit a batch does not spend its user's time on thumbnails, and says what would."""
    monkeypatch.setattr(_gallery, "MOST_AT_END", 2)
    done = batch()
    assert done.code == 0
    assert "'nanogpt-images gallery out' makes it" in done.err
    assert not (tmp_path / "out" / "index.html").exists()


def test_an_interrupt_stops_the_gallery_alone(batch: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """Ctrl-C while the page is made leaves it out and exits with 130; the batch is reported as it ended."""

    async def slow(*args: object, **options: object) -> None:
        signal.raise_signal(signal.SIGINT)
        await anyio.sleep_forever()

    monkeypatch.setattr(_gallery, "write_gallery", slow)
    done = batch()
    assert done.code == 130
    assert "3 images" in done.out
    assert "gallery: left out; 'nanogpt-images gallery out' makes it" in done.err


async def test_after_an_interrupt_nothing_is_begun(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Who interrupts a batch wants the command to end: no gallery is made."""
    monkeypatch.setattr(_gallery, "write_gallery", lambda *args, **options: pytest.fail("begun"))
    totals = Totals(
        rows=1,
        units=dict.fromkeys(State, 0),
        charged_failures=0,
        expected_images=1,
        images=1,
        planned_nano=0,
        to_come_nano=0,
        unpriced_units=0,
        spent_nano=0,
        reserved_nano=0,
        unknown_nano=0,
    )
    for outcome in (Outcome(totals=totals, interrupted=1), Outcome(totals=None)):
        assert await _gallery.gallery_at_end(tmp_path, outcome, silent=True) is None


def test_progress_is_told_now_and_then(capsys: pytest.CaptureFixture[str]) -> None:
    """A line comes at most every ten seconds."""
    now = 0.0
    tell = _gallery.progress_notes(silent=False, clock=lambda: now)
    assert tell is not None
    for now in (1.0, 11.0, 12.0, 21.5):
        tell(int(now), 1_000)
    assert capsys.readouterr().err.splitlines() == [
        "gallery: 11 of 1,000 images",
        "gallery: 21 of 1,000 images",
    ]


def test_no_batch(run: Run, tmp_path: Path) -> None:
    """A directory without a journal is one line and exit code 2, and nothing is made."""
    done = run("gallery", "missing")
    assert (done.code, done.out) == (2, "")
    assert "journal.db" in done.err
    assert list(tmp_path.iterdir()) == []
