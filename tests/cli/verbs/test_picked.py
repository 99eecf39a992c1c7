"""`export --picked` and `retry --picked`."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import pytest

from nanogpt_images.sandbox import BlockingSandbox

from ..conftest import Run


@pytest.fixture
def job(run: Run, service: BlockingSandbox, manifest: Path) -> list[dict[str, Any]]:
    """The entries of a gallery of eight images."""
    run("batch", manifest, "-m", "tiny-and-fast", "-o", "out", "--no-pacing", "--base-url", service.url)
    page = Path("out/index.html").read_text("utf-8")
    text = page.partition('id="data">')[2].partition("</script>")[0]
    entries: list[dict[str, Any]] = json.loads(text)
    return entries


def save(*picks: tuple[str, dict[str, Any]]) -> Path:
    file = Path("picks.json")
    found = [
        {"pick": pick, "request": entry["id"], "file": entry["images"][0]["file"]} for pick, entry in picks
    ]
    file.write_text(json.dumps({"format": "nanogpt_images picks", "picks": found}))
    return file


def test_export_of_picked_images(run: Run, job: list[dict[str, Any]]) -> None:
    """Images with 1 to 5 are exported, those to make again and all others are not."""
    picks = save(("5", job[0]), ("1", job[2]), ("x", job[1]))
    done = run("export", "out", "--to", "csv", "--picked", picks)
    assert (done.code, done.err) == (0, "")
    with Path("out/export.csv").open(newline="", encoding="utf-8-sig") as file:
        files = {line["file"] for line in csv.DictReader(file)}
    assert files == {job[0]["images"][0]["file"], job[2]["images"][0]["file"]}


def test_retry_of_picked_images(run: Run, service: BlockingSandbox, job: list[dict[str, Any]]) -> None:
    """What is marked with x is said, sent and paid for once more; a second `batch` sends nothing."""
    picks = save(("x", job[1]), ("5", job[0]))
    before = len(service.ledger.posts)
    done = run("retry", "out", "--picked", picks, "--no-pacing", "--base-url", service.url)
    assert done.code == 0
    assert "1 picked request, 1 of them paid for again" in done.err
    assert len(service.ledger.posts) == before + 1
    status = run("status", "out", "--json").document
    assert status["spent_usd"] == pytest.approx(service.ledger.total_usd)
    run("retry", "out", "--no-pacing", "--base-url", service.url)
    assert len(service.ledger.posts) == before + 1


def test_picks_that_say_nothing(run: Run, service: BlockingSandbox, job: list[dict[str, Any]]) -> None:
    """A file without what is asked for, or of no gallery, is one line and exit 2; nothing is sent or written."""
    before = len(service.ledger.posts)
    kept, again = save(("5", job[0])).read_text(), save(("x", job[0])).read_text()
    for text, verb in ((kept, "retry"), (again, "export"), ("{}", "retry"), ("{}", "export")):
        Path("picks.json").write_text(text)
        options = ["--to", "csv"] if verb == "export" else ["--base-url", service.url]
        done = run(verb, "out", "--picked", "picks.json", *options)
        assert done.code == 2
        assert len(done.err.splitlines()) == 1
    assert run("retry", "out", "--picked", "picks.json", "--unknown").code == 2
    assert len(service.ledger.posts) == before
    assert not Path("out/export.csv").exists()
