"""The caption panel of an image: the wrapped prompt, and the model, resolution and seed."""

from __future__ import annotations

import unicodedata
from functools import lru_cache
from typing import TYPE_CHECKING

from .scenes import CAPTION_START

if TYPE_CHECKING:
    from PIL import Image, ImageFont

    Font = ImageFont.FreeTypeFont | ImageFont.ImageFont

_MAX_CHARACTERS = 2000
_MAX_WORD = 40


def add_caption(image: Image.Image, prompt: str, foot: str) -> None:
    """Draw a panel with *prompt*, and *foot* in small letters, at the bottom of *image*."""
    from PIL import Image as Images
    from PIL import ImageDraw

    width, height = image.size
    size = max(9, min(width, height) // 26)
    line_height = size * 1.3
    font, small = _font(size), _font(max(8, size * 6 // 10))
    margin = size
    max_lines = max(1, int(height * 0.45 / line_height))
    lines = _wrapped(_plain(prompt), font, width - 2 * margin, max_lines)
    panel_height = min(height, int(margin * 1.2 + len(lines) * line_height + size))
    panel = Images.new("L", (width, panel_height), 0)
    pen = ImageDraw.Draw(panel)
    for number, line in enumerate(lines):
        pen.text((margin, margin * 0.6 + number * line_height), line, fill=255, font=font)
    pen.text((margin, panel_height - size * 1.1), _plain(foot), fill=150, font=small)
    # Map grey levels to the palette's ramp from foreground to white: smooth letters without true colour.
    indices = panel.tobytes().translate(_TO_INDEX)
    image.paste(Images.frombytes("L", panel.size, indices), (0, height - panel_height))


_TO_INDEX = bytes(CAPTION_START + level // 4 for level in range(256))


@lru_cache(maxsize=64)
def _font(size: int) -> Font:
    from PIL import ImageFont

    return ImageFont.load_default(size=size)


def _plain(text: str) -> str:
    """Strip accents, which the built-in font lacks, and lone surrogates from *text*."""
    sound = text[:_MAX_CHARACTERS].encode("utf-8", "replace").decode()
    return "".join(c for c in unicodedata.normalize("NFKD", sound) if not unicodedata.combining(c))


def _wrapped(text: str, font: Font, width: int, max_lines: int) -> list[str]:
    """Wrap *text* into lines of at most *width* pixels; an ellipsis ends the last line if text is left."""
    lines: list[str] = []
    line = ""
    for word in _words(text):
        longer = f"{line} {word}".strip()
        if not line or font.getlength(longer) <= width:
            line = longer
            continue
        if len(lines) == max_lines - 1:
            return [*lines, line + "…"]
        lines.append(line)
        line = word
    return [*lines, line] if line else lines


def _words(text: str) -> list[str]:
    """Split *text* into words; cut very long ones so that they wrap."""
    return [word[cut : cut + _MAX_WORD] for word in text.split() for cut in range(0, len(word), _MAX_WORD)]
