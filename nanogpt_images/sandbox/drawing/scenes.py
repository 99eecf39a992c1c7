"""Random scenes in palette colours: hills, circles and tiles."""

from __future__ import annotations

import math
import random
from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from PIL import Image
    from PIL.ImageDraw import ImageDraw as Pen

Colour = tuple[int, int, int]

# Each palette: sky, middle, foreground, accent. The caption's background is the foreground.
_PALETTES: tuple[tuple[Colour, Colour, Colour, Colour], ...] = (
    ((253, 231, 205), (244, 151, 113), (44, 48, 88), (214, 73, 92)),
    ((214, 238, 246), (122, 182, 214), (21, 60, 92), (252, 191, 73)),
    ((233, 244, 222), (143, 190, 131), (28, 66, 58), (238, 108, 77)),
    ((246, 226, 240), (196, 140, 196), (58, 32, 88), (255, 183, 104)),
    ((255, 246, 214), (240, 196, 92), (82, 44, 34), (62, 142, 134)),
    ((222, 226, 240), (140, 150, 190), (26, 30, 52), (240, 92, 92)),
    ((40, 52, 92), (92, 70, 130), (16, 18, 40), (250, 220, 140)),
    ((206, 240, 232), (88, 184, 172), (18, 62, 72), (250, 130, 110)),
)
# Palette indices below this run from sky to foreground; the rest from foreground to white.
CAPTION_START = 192
_ACCENT = 191


def picture(width: int, height: int, rng: random.Random) -> Image.Image:
    """Draw a random scene in palette colours: one byte per pixel is fast to draw and compress."""
    from PIL import Image, ImageDraw

    image = Image.new("P", (width, height), 0)
    palette = rng.choice(_PALETTES)
    image.putpalette(_ramp(palette))
    draw = ImageDraw.Draw(image)
    bands = 12
    for band in range(bands):
        draw.rectangle((0, band * height // bands, width, height), fill=band * 5)
    scene = rng.choice((_hills, _circles, _tiles))
    scene(draw, width, height, rng)
    return image


def _ramp(palette: Sequence[Colour]) -> list[int]:
    """Compute 256 colours: sky → middle → foreground, the accent, then foreground → white for the caption."""
    sky, middle, foreground, accent = palette
    half = CAPTION_START // 2
    ramp = [_mix(sky, middle, i / half) for i in range(half)]
    ramp += [_mix(middle, foreground, i / (half - 2)) for i in range(half - 1)]
    ramp += [accent]
    ramp += [_mix(foreground, (255, 255, 255), i / 63) for i in range(64)]
    return [channel for colour in ramp for channel in colour]


def _mix(one: Colour, other: Colour, share: float) -> Colour:
    return (
        round(one[0] + (other[0] - one[0]) * share),
        round(one[1] + (other[1] - one[1]) * share),
        round(one[2] + (other[2] - one[2]) * share),
    )


def _hills(draw: Pen, width: int, height: int, rng: random.Random) -> None:
    """Draw a sun over ranges of hills."""
    radius = min(width, height) * rng.uniform(0.09, 0.16)
    x, y = width * rng.uniform(0.2, 0.8), height * rng.uniform(0.18, 0.36)
    draw.ellipse((x - radius, y - radius, x + radius, y + radius), fill=_ACCENT)
    ranges = 5
    step = max(2, width // 128)
    for layer in range(ranges):
        base = height * (0.42 + 0.1 * layer)
        waves = [
            (rng.uniform(0.5, 3.5), rng.uniform(0, math.tau), height * rng.uniform(0.015, 0.05))
            for _ in range(3)
        ]
        ridge = [
            (
                px,
                base
                + sum(high * math.sin(math.tau * often * px / width + phase) for often, phase, high in waves),
            )
            for px in range(0, width + step, step)
        ]
        draw.polygon([*ridge, (width, height), (0, height)], fill=80 + 22 * layer)


def _circles(draw: Pen, width: int, height: int, rng: random.Random) -> None:
    """Draw overlapping discs, the large ones first."""
    radii = sorted((min(width, height) * rng.uniform(0.04, 0.28) for _ in range(18)), reverse=True)
    for radius in radii:
        x, y = width * rng.random(), height * 0.85 * rng.random()
        fill = _ACCENT if rng.random() < 0.15 else rng.randrange(40, 180)
        draw.ellipse((x - radius, y - radius, x + radius, y + radius), fill=fill)
        draw.ellipse(
            (x - radius * 0.6, y - radius * 0.6, x + radius * 0.6, y + radius * 0.6), fill=max(0, fill - 26)
        )


def _tiles(draw: Pen, width: int, height: int, rng: random.Random) -> None:
    """Draw tiles of quarter circles."""
    side = max(8, min(width, height) // 8)
    for left in range(0, width, side):
        for top in range(0, height, side):
            fill = _ACCENT if rng.random() < 0.08 else rng.randrange(20, 185)
            draw.rectangle((left, top, left + side, top + side), fill=rng.randrange(10, 150))
            x, y = left + side * rng.randrange(2), top + side * rng.randrange(2)
            # Draw only the quarter of the disc that lies within its tile.
            start = {
                (left, top): 0,
                (left + side, top): 90,
                (left + side, top + side): 180,
                (left, top + side): 270,
            }[(x, y)]
            draw.pieslice((x - side, y - side, x + side, y + side), start, start + 90, fill=fill)
