"""Pictures for edits: a plain one, and masks of its size."""

from __future__ import annotations

import io
from pathlib import Path

from PIL import Image

SIZE = (64, 48)
COLOUR = (10, 200, 30)
HOLE = (16, 12, 48, 36)
"""The part of `mask()` that may change: left, top, right, bottom."""


def encoded(image: Image.Image, kind: str = "PNG") -> bytes:
    """*image* as a file."""
    buffer = io.BytesIO()
    image.save(buffer, kind)
    return buffer.getvalue()


def plain(size: tuple[int, int] = SIZE) -> bytes:
    """A PNG of one colour."""
    return encoded(Image.new("RGB", size, COLOUR))


def mask(size: tuple[int, int] = SIZE) -> bytes:
    """A PNG that is white where the image may change."""
    drawn = Image.new("L", size, 0)
    drawn.paste(255, HOLE)
    return encoded(drawn)


def clear_mask() -> bytes:
    """The same mask in the form of OpenAI's clients: transparent where the image may change."""
    drawn = Image.new("RGBA", SIZE, (0, 0, 0, 255))
    drawn.paste((0, 0, 0, 0), HOLE)
    return encoded(drawn)


def large(path: Path, size_bytes: int) -> Path:
    """A PNG of about so many bytes at *path*, whose pixels do not compress."""
    side = int((size_bytes / 3) ** 0.5)
    Image.effect_noise((side, side), 100).convert("RGB").save(path, compress_level=0)
    return path


def changed_outside(data: bytes) -> int:
    """How many pixels outside the hole are not the colour of `plain`; asserts that some within it are not."""
    with Image.open(io.BytesIO(data)) as opened:
        picture = opened.convert("RGB")
    assert picture.size == SIZE
    changed = [(x, y) for x in range(SIZE[0]) for y in range(SIZE[1]) if picture.getpixel((x, y)) != COLOUR]
    left, top, right, bottom = HOLE
    inside = [(x, y) for x, y in changed if left <= x < right and top <= y < bottom]
    assert inside
    return len(changed) - len(inside)
