"""`mark`: images of an earlier batch say that they are generated, and the job stays what it was."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

from exiftool import TERMS, needs_exiftool, tags_of
from pictures import plain

from nanogpt_images.sandbox import BlockingSandbox

from ..conftest import Run

EDIT, IMAGE = "compositeWithTrainedAlgorithmicMedia", "trainedAlgorithmicMedia"


def job(run: Run, service: BlockingSandbox, tmp_path: Path, *more: str) -> list[str]:
    """A batch with an image of each format and an edit; returns the command that made it."""
    (tmp_path / "in.png").write_bytes(plain())
    rows: list[dict[str, object]] = [
        {"prompt": "a fox", "model": "formats/jpeg", "output_format": kind, "key": kind}
        for kind in ("png", "jpeg", "webp")
    ]
    rows.append({"prompt": "a hat", "model": "restyle", "route": "edit", "image": "in.png", "key": "edit"})
    (tmp_path / "rows.jsonl").write_text("\n".join(map(json.dumps, rows)))
    command = ["batch", "rows.jsonl", "-o", "out", "--no-gallery", *more, "--base-url", service.url]
    assert run(*command).code == 0
    return command


def lines(tmp_path: Path) -> list[dict[str, object]]:
    return [json.loads(line) for line in (tmp_path / "out" / "results.jsonl").read_text().splitlines()]


@needs_exiftool
def test_mark_a_batch(run: Run, service: BlockingSandbox, tmp_path: Path) -> None:
    """Files, journal and list agree after it, nothing is paid again, and ExifTool and `show` say the term."""
    command = job(run, service, tmp_path)
    assert run("mark", "out").out.startswith("4 images marked · 0 said it already")
    for line in lines(tmp_path):
        file = tmp_path / "out" / str(line["file"])
        data = file.read_bytes()
        assert (line["bytes"], line["sha256"]) == (len(data), hashlib.sha256(data).hexdigest())
        term = EDIT if line["key"] == "edit" else IMAGE
        assert tags_of(file)[0]["DigitalSourceType"] == f"{TERMS}{term}"
        shown = run("show", str(file), "--json")
        assert (shown.code, shown.document["digital_source_type"]) == (0, term)
    assert run("mark", "out", "--json").document == {"marked": 0, "already": 4, "left": {}}
    assert run(*command).code == 0
    assert len(service.ledger.billed) == 4
    # The journal is lost: what the list says of the files still holds, so they are adopted and not paid for again.
    for file in (tmp_path / "out").glob("journal.db*"):
        file.unlink()
    assert run(*command, "--adopt").code == 0
    assert len(service.ledger.billed) == 4


def test_images_with_provenance_are_marked_already(
    run: Run, service: BlockingSandbox, tmp_path: Path
) -> None:
    """Provenance brings the mark along; `show` says it."""
    job(run, service, tmp_path, "--provenance")
    assert run("mark", "out", "--json").document["already"] == 4
    assert EDIT in run("show", str(tmp_path / "out" / str(lines(tmp_path)[3]["file"]))).out


def test_what_is_left_alone(run: Run, service: BlockingSandbox, tmp_path: Path) -> None:
    """A file that is gone or is not the batch's own is named and not touched; an interrupted call is completed."""
    job(run, service, tmp_path)
    files = [tmp_path / "out" / str(line["file"]) for line in lines(tmp_path)]
    original = files[2].read_bytes()
    files[0].write_bytes(plain())
    files[1].unlink()
    done = run("mark", "out")
    assert done.code == 1
    assert "not the file that the batch wrote" in done.err
    assert "cannot be read" in done.err
    assert files[0].read_bytes() == plain()
    # As after a crash between the journal and the file.
    files[2].write_bytes(original)
    assert run("mark", "out", "--json").document["marked"] == 1
    assert files[2].read_bytes() != original


def test_mark_nothing(run: Run) -> None:
    """A directory that holds no batch is refused."""
    done = run("mark", "out")
    assert done.code == 2
    assert "journal.db" in done.err
