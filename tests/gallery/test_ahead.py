"""Thumbnails beside a batch that runs."""

from __future__ import annotations

import json
from pathlib import Path

import anyio
import pytest

from nanogpt_images.gallery import thumbnails_ahead, write_gallery

from .conftest import Row, write_job


class Pauses:
    """Stands in for sleeping; the second look at the list finds nothing new and waits for ever."""

    def __init__(self, looks: int = 2) -> None:
        self.lengths: list[float] = []
        self.idle = anyio.Event()
        self._looks = looks

    async def __call__(self, seconds: float) -> None:
        self.lengths.append(seconds)
        if self.lengths.count(1.0) > self._looks - 1:
            self.idle.set()
            await anyio.sleep_forever()
        await anyio.lowlevel.checkpoint()


async def test_nothing_is_left_to_the_end(tmp_path: Path) -> None:
    """The gallery finds the thumbnails of all images that came while it ran."""
    out = await write_job(tmp_path / "job", [Row(prompt=f"fox {number}") for number in range(5)])
    pauses = Pauses()
    async with thumbnails_ahead(out, sleep=pauses):
        await pauses.idle.wait()
    gallery = await write_gallery(out)
    assert (gallery.images, gallery.thumbnails_made, gallery.not_shown) == (5, 0, 0)


async def test_rest_in_proportion(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """After a turn it rests until its processor time is the share of all time that was allowed."""
    out = await write_job(tmp_path / "job", [Row(prompt="fox")])
    monkeypatch.setattr("nanogpt_images.gallery.ahead._make", lambda _, images: (images.clear() or 0.5, 0.6))
    pauses = Pauses()
    async with thumbnails_ahead(out, share=0.25, sleep=pauses):
        await pauses.idle.wait()
    assert pauses.lengths == [1.0, pytest.approx(1.4), 1.0]


async def test_no_share(tmp_path: Path) -> None:
    """Without a share of a core nothing is made."""
    out = await write_job(tmp_path / "job", [Row(prompt="fox")])
    async with thumbnails_ahead(out, share=0):
        pass
    assert not (out / "thumbnails").exists()


@pytest.mark.parametrize(
    "lines",
    [
        None,
        b"{",
        b"[]\n{}\nnull\n\xff\n",
        json.dumps(
            {"index": 0, "file": 7, "media_type": 7, "bytes": 7, "sha256": 7, "width": "", "height": ""}
        ).encode()
        + b"\n",
    ],
)
async def test_what_is_wrong_disturbs_no_batch(tmp_path: Path, lines: bytes | None) -> None:
    """A missing directory, half a line and lines of another hand are passed over."""
    out = tmp_path / "job"
    if lines is not None:
        await anyio.Path(out).mkdir()
        await anyio.Path(out / "results.jsonl").write_bytes(lines)
    pauses = Pauses()
    async with thumbnails_ahead(out, sleep=pauses):
        await pauses.idle.wait()


async def test_a_list_that_was_written_again(tmp_path: Path) -> None:
    """A list that has become shorter is read from its beginning, and one that grew from where the last look ended."""
    out = await write_job(tmp_path / "job", [Row(prompt="a fox in the snow"), Row(prompt="a hare")])
    file = anyio.Path(out / "results.jsonl")
    first, second = (await file.read_bytes()).splitlines(keepends=True)
    await file.write_bytes(first + second[:40])
    pauses = Pauses(looks=4)
    looked = 0

    async def sleep(seconds: float) -> None:
        nonlocal looked
        looked += seconds == 1.0
        if looked == 3:
            await file.write_bytes(second)
        await pauses(seconds)

    async with thumbnails_ahead(out, sleep=sleep):
        await pauses.idle.wait()
    assert (await write_gallery(out)).thumbnails_made == 0
