"""A directory for a journal, and images in it."""

import hashlib
from collections.abc import Callable
from pathlib import Path

import pytest

from nanogpt_images.batch.journal import ImageRecord


@pytest.fixture
def out(tmp_path: Path) -> Path:
    """A batch's directory, not made yet."""
    return tmp_path / "out"


@pytest.fixture
def image(out: Path) -> Callable[..., ImageRecord]:
    """Write an image file and give its record."""

    def make(name: str = "fox", index: int = 0) -> ImageRecord:
        path = out / "images" / f"{name}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(name.encode())
        return ImageRecord(
            index=index,
            file=f"images/{name}.png",
            media_type="image/png",
            width=8,
            height=6,
            bytes=len(name),
            sha256=hashlib.sha256(name.encode()).hexdigest(),
        )

    return make
