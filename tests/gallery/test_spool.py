"""Lines, parted into pages."""

from __future__ import annotations

from pathlib import Path

from nanogpt_images.gallery import spool as module
from nanogpt_images.gallery.spool import Spool


def pages(spool: Spool) -> list[list[str]]:
    return [[str(line) for line in spool.lines(page)] for page in range(spool.pages)]


def test_by_cards(tmp_path: Path) -> None:
    """A page ends before the request that would make it too full; a request is never parted."""
    with Spool(tmp_path, max_cards=3, max_bytes=1_000) as spool:
        for line, cards in [("a", 1), ("b", 2), ("c", 1), ("d", 5), ("e", 1)]:
            spool.add(line, cards)
        assert pages(spool) == [["a", "b"], ["c"], ["d"], ["e"]]


def test_by_bytes(tmp_path: Path) -> None:
    """A page also ends where its text would grow too long."""
    with Spool(tmp_path, max_cards=100, max_bytes=10) as spool:
        for line in ("aaaa", "bbbb", "cccc", "d" * 50):
            spool.add(line, 1)
        assert pages(spool) == [["aaaa", "bbbb"], ["cccc"], ["d" * 50]]


def test_nothing(tmp_path: Path) -> None:
    """A job without anything to show has one empty page."""
    with Spool(tmp_path, max_cards=3, max_bytes=10) as spool:
        assert pages(spool) == [[]]


def test_many_lines_go_to_disk(tmp_path: Path, monkeypatch) -> None:
    """What outgrows the memory is the same, and leaves no file behind."""
    monkeypatch.setattr(module, "_IN_MEMORY_BYTES", 100)
    with Spool(tmp_path, max_cards=50, max_bytes=10_000) as spool:
        for number in range(200):
            spool.add(f"line {number}", 1)
        assert [line for page in pages(spool) for line in page] == [f"line {number}" for number in range(200)]
    assert list(tmp_path.iterdir()) == []
