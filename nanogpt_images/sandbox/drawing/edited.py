"""An edit drawn into its input image: everywhere, or where its mask allows and nowhere else."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from PIL.Image import Image as Picture

_HALF = 128


def edited(scene: Picture, base: bytes | None, mask: bytes | None) -> Picture:
    """
    Draw *scene* into *base*, at the size of *scene*.

    A mask with an alpha channel allows changes where it is transparent, as OpenAI's clients send it; any other where
    it is white. Without a mask both are mixed in equal parts.
    """
    from PIL import Image

    if base is None:
        return scene
    picture = _opened(base)
    picture = picture.convert("RGBA" if picture.has_transparency_data else "RGB").resize(scene.size)
    drawn = scene.convert(picture.mode)
    if mask is None:
        return Image.blend(picture, drawn, 0.5)
    return Image.composite(
        drawn, picture, _allowed(_opened(mask)).resize(scene.size, Image.Resampling.NEAREST)
    )


def _allowed(mask: Picture) -> Picture:
    """Return 255 where the image may change, else 0."""
    if mask.has_transparency_data:
        return mask.convert("RGBA").getchannel("A").point([255 * (level < _HALF) for level in range(256)])
    return mask.convert("L").point([255 * (level >= _HALF) for level in range(256)])


def _opened(data: bytes) -> Picture:
    from PIL import Image

    return Image.open(io.BytesIO(data))
