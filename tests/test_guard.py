"""The guard of conftest.py: a blocking call on the event loop fails a test."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from blockbuster import BlockingError

from nanogpt_images import read_provenance
from nanogpt_images.outputs import write_image


async def test_a_blocking_call_is_caught(tmp_path: Path) -> None:
    """Reading a file on the loop is an error, and in a thread it is not."""
    image = write_image(b"?", tmp_path / "fox")
    with pytest.raises(BlockingError, match="Blocking call to"):
        read_provenance(image)
    assert await asyncio.to_thread(read_provenance, image) is None


async def test_inline_writes_are_allowed(tmp_path: Path) -> None:
    """Writes to the page cache are done in place by decision, and are the only exception."""
    assert write_image(b"?", tmp_path / "new" / "fox").name == "fox.bin"


def test_without_a_loop_anything_goes(tmp_path: Path) -> None:
    """Blocking code may block."""
    assert read_provenance(write_image(b"?", tmp_path / "fox")) is None
