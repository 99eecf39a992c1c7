"""A journal → files."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from nanogpt_images.errors import Charge, ConfigurationError, JournalError, OutputError
from nanogpt_images.gallery import write_gallery, writer

from .conftest import MakeJob, Row

ROWS = [
    Row(prompt="two foxes", fields={"count": 2}),
    Row(prompt="a hare", ending=Charge.REJECTED),
    Row(prompt="an owl"),
    Row(prompt="a broken one", files=[b"?"]),
]


def entries(page: Path) -> list[dict[str, Any]]:
    found = re.search(
        r'<script type="application/json" id="data">(.*?)</script>', page.read_text(), re.DOTALL
    )
    assert found
    return json.loads(found[1])


async def test_a_gallery(make_job: MakeJob) -> None:
    """Every request that ended is on the page, with a thumbnail file for each image that can be read."""
    out = await make_job(ROWS)
    seen: list[tuple[int, int]] = []
    made = await write_gallery(out, on_progress=lambda *numbers: seen.append(numbers))
    assert (made.index, made.pages) == (out / "index.html", (out / "index.html",))
    assert (made.images, made.not_shown, made.thumbnails_made) == (4, 1, 3)
    assert [entry["prompt"] for entry in entries(made.index)] == [row.prompt for row in ROWS]
    images = [image for entry in entries(made.index) for image in entry["images"]]
    assert [(out / image["thumbnail"]).is_file() for image in images if "thumbnail" in image] == [True] * 3
    assert seen[-1] == (4, 4)


async def test_same_journal_same_bytes(make_job: MakeJob) -> None:
    """A second run makes no thumbnail again, writes the same page, and changes neither journal nor results."""
    out = await make_job(ROWS)
    kept = {path: path.read_bytes() for path in (out / "journal.db", out / "results.jsonl")}
    first = await write_gallery(out)
    before = first.index.read_bytes()
    again = await write_gallery(out)
    assert again.thumbnails_made == 0
    assert again.index.read_bytes() == before
    assert {path: path.read_bytes() for path in kept} == kept


async def test_pages(make_job: MakeJob) -> None:
    """More cards than a page takes go on further pages; those of an earlier gallery that are not needed go."""
    out = await make_job(ROWS)
    made = await write_gallery(out, max_cards=2)
    assert [page.name for page in made.pages] == ["index.html", "gallery-2.html", "gallery-3.html"]
    assert [len(entries(page)) for page in made.pages] == [1, 2, 1]
    (out / "gallery-mine.html").write_text("mine")
    await write_gallery(out)
    assert sorted(path.name for path in out.glob("*.html")) == ["gallery-mine.html", "index.html"]


async def test_a_strangers_page_is_kept(make_job: MakeJob) -> None:
    """An index.html that is not a gallery is not replaced, and nothing else is made."""
    out = await make_job(ROWS)
    (out / "index.html").write_text("<h1>mine</h1>")
    with pytest.raises(OutputError, match="not made by this package"):
        await write_gallery(out)
    assert (out / "index.html").read_text() == "<h1>mine</h1>"
    assert not (out / "thumbnails").exists()


async def test_no_journal(tmp_path: Path) -> None:
    """A directory without a batch is refused and stays as it is."""
    with pytest.raises(JournalError, match="no journal"):
        await write_gallery(tmp_path)
    assert list(tmp_path.iterdir()) == []


async def test_a_full_disk(make_job: MakeJob, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where a file cannot be written the error says so, and the page of before stands."""
    out = await make_job(ROWS)
    before = (await write_gallery(out)).index.read_bytes()

    def full(self: Path, target: object) -> Path:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "replace", full)
    with pytest.raises(OutputError, match="No space left on device"):
        await write_gallery(out)
    assert (out / "index.html").read_bytes() == before
    assert not list(out.glob(".*.partial"))


async def test_without_the_extra(make_job: MakeJob, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without Jinja2 the error names the extra."""
    monkeypatch.setattr(writer.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ConfigurationError, match=r'pip install "jinja2>='):
        await write_gallery(await make_job([]))


async def test_the_plan_is_shown(make_job: MakeJob) -> None:
    """What the batch was planned to cost stands beside what it cost."""
    made = await write_gallery(await make_job(ROWS))
    assert "planned" in made.index.read_text()
