"""Resolution tokens to pixels: `1024x1024`, `2k`, `16:9`, `1080p`, `1mp`, `auto`, scale factors."""

from __future__ import annotations

import math
import re

MAX_SIDE = 4096
_PIXELS = re.compile(r"(\d+)[x*](\d+)")
_RATIO = re.compile(r"(\d+(?:\.\d+)?):(\d+(?:\.\d+)?)")
_THOUSANDS = re.compile(r"(?:auto_)?(\d+(?:\.\d+)?)k", re.IGNORECASE)
_LINES = re.compile(r"(\d+)p")
_MEGAPIXELS = re.compile(r"(\d+(?:\.\d+)?)mp")
_FACTOR = re.compile(r"\d")


def pixel_size(resolution: str, aspect_ratio: str | None = None) -> tuple[int, int]:
    """
    Return the width and height of a resolution token, in pixels; an unknown token is 1024 by 1024.

    An aspect ratio reshapes the same area, unless the token gives both sides. No side exceeds 4,096.
    """
    if match := _PIXELS.fullmatch(resolution):
        return _clamped(int(match[1]), int(match[2]))
    if match := _LINES.fullmatch(resolution):
        return _clamped(round(int(match[1]) * 16 / 9), int(match[1]))
    ratio = _RATIO.fullmatch(aspect_ratio or "") or _RATIO.fullmatch(resolution)
    share = float(ratio[1]) / float(ratio[2]) if ratio and float(ratio[1]) and float(ratio[2]) else 1.0
    side = _side(resolution)
    return _clamped(round(side * math.sqrt(share) / 8) * 8, round(side / math.sqrt(share) / 8) * 8)


def _side(resolution: str) -> float:
    if match := _THOUSANDS.fullmatch(resolution):
        return float(match[1]) * 1024
    if match := _MEGAPIXELS.fullmatch(resolution):
        return 1024 * math.sqrt(float(match[1]))
    if _FACTOR.fullmatch(resolution):
        # A scale factor multiplies an input of 256 pixels, whatever the actual input.
        return 256.0 * int(resolution)
    return 1024.0


def _clamped(width: int, height: int) -> tuple[int, int]:
    return max(1, min(width, MAX_SIDE)), max(1, min(height, MAX_SIDE))
