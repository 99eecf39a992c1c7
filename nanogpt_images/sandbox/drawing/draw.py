"""Draw images: the same sketch always gives the same bytes, with a legible prompt."""

from __future__ import annotations

import hashlib
import importlib.util
import io
import random
from typing import TYPE_CHECKING

import attrs

from ..catalog.definitions import ImageFormat
from ..edits import EditInputs
from .caption import add_caption
from .edited import edited
from .scenes import picture

if TYPE_CHECKING:
    from PIL import Image


@attrs.frozen(kw_only=True)
class Sketch:
    """Everything that determines the pixels and the bytes of an image."""

    prompt: str
    model: str
    resolution: str
    seed: int | None
    index: int
    width: int
    height: int
    image_format: ImageFormat
    inputs: EditInputs | None = None


def encoded(sketch: Sketch) -> bytes:
    """Draw *sketch* and return the bytes of an image file."""
    identity = f"{sketch.model}\n{sketch.prompt}\n{sketch.resolution}\n{sketch.seed}\n{sketch.index}"
    rng = random.Random(hashlib.sha256(identity.encode("utf-8", "replace")).digest())  # noqa: S311 - a picture, not a secret
    image = picture(sketch.width, sketch.height, rng)
    seed = "" if sketch.seed is None else f" · seed {sketch.seed}"
    add_caption(image, sketch.prompt, f"{sketch.model} · {sketch.resolution}{seed} · #{sketch.index + 1}")
    if sketch.inputs is not None:
        mask = sketch.inputs.mask
        image = edited(image, sketch.inputs.images[0].data, None if mask is None else mask.data)
    return _file(image, sketch.image_format)


def require_pillow() -> None:
    """
    Check that Pillow is installed.

    Raises:
        ImportError: Pillow is not installed.
    """
    if importlib.util.find_spec("PIL") is None:
        raise ImportError("The sandbox draws with Pillow: pip install pillow")


def _file(image: Image.Image, image_format: ImageFormat) -> bytes:
    buffer = io.BytesIO()
    if image_format == "png":
        image.save(buffer, "PNG", compress_level=1)
    else:
        options = {"quality": 82} if image_format == "jpeg" else {"quality": 70, "method": 0}
        image.convert("RGB").save(buffer, image_format, **options)
    return buffer.getvalue()
