"""The caption panel of an image: the wrapped prompt, and the model, resolution and seed."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterator
from typing import TYPE_CHECKING

from .lettering import Lettering, drawable
from .scenes import CAPTION_START

if TYPE_CHECKING:
    from PIL import Image

_MAX_CHARACTERS = 2000
_MAX_WORD = 40


def add_caption(image: Image.Image, prompt: str, foot: str) -> None:
    """Draw a panel with *prompt*, and *foot* in small letters, at the bottom of *image*."""
    from PIL import Image as Images
    from PIL import ImageDraw

    width, height = image.size
    size = max(9, min(width, height) // 26)
    line_height = size * 1.3
    letters, small = Lettering(size), Lettering(max(8, size * 6 // 10))
    margin = size
    max_lines = max(1, int(height * 0.45 / line_height))
    lines = _wrapped(drawable(_sound(prompt)), letters, width - 2 * margin, max_lines)
    panel_height = min(height, int(margin * 1.2 + len(lines) * line_height + size))
    panel = Images.new("L", (width, panel_height), 0)
    pen = ImageDraw.Draw(panel)
    for number, line in enumerate(lines):
        letters.draw(pen, margin, margin * 0.6 + number * line_height, line, fill=255)
    small.draw(pen, margin, panel_height - size * 1.1, drawable(_sound(foot)), fill=150)
    # Map grey levels to the palette's ramp from foreground to white: smooth letters without true colour.
    indices = panel.tobytes().translate(_TO_INDEX)
    image.paste(Images.frombytes("L", panel.size, indices), (0, height - panel_height))


_TO_INDEX = bytes(CAPTION_START + level // 4 for level in range(256))


def _sound(text: str) -> str:
    """Cut *text*, and replace lone surrogates."""
    return text[:_MAX_CHARACTERS].encode("utf-8", "replace").decode()


def _wrapped(text: str, letters: Lettering, width: int, max_lines: int) -> list[str]:
    """Wrap *text* into lines of at most *width* pixels; an ellipsis ends the last line if text is left."""
    lines: list[str] = []
    line = ""
    for space, word in _words(text):
        longer = f"{line}{space}{word}" if line else word
        if not line or letters.length(longer) <= width:
            line = longer
            continue
        if len(lines) == max_lines - 1:
            return [*lines, line + "…"]
        lines.append(line)
        line = word
    return [*lines, line] if line else lines


def _words(text: str) -> Iterator[tuple[str, str]]:
    """Split *text* into words, each with what stands before it; very long ones and wide characters wrap anywhere."""
    for word in text.split():
        space, start = " ", 0
        for end in range(1, len(word) + 1):
            if end == len(word) or end - start == _MAX_WORD or _is_wide(word[end]) or _is_wide(word[end - 1]):
                yield space, word[start:end]
                space, start = "", end


def _is_wide(character: str) -> bool:
    return unicodedata.east_asian_width(character) in ("W", "F")
