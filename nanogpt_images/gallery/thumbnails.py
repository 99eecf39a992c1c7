"""Thumbnails: small WebP files named by the image's digest, made once."""

from __future__ import annotations

import os
import re
import threading
from pathlib import Path, PurePosixPath
from typing import Final

import attrs
from PIL import Image, ImageOps

from ..batch.outcomes import ImageRecord

DIRECTORY: Final = "thumbnails"
MAX_SIZE: Final = (640, 320)
"""Greatest width and height: rows of the page are some 220 pixels high, and screens are dense."""
MAX_PIXELS: Final = 8192 * 8192
"""Larger images are not decoded: their pixels, four bytes each, could fill the memory."""

# No more than images come in: Pillow knows formats that start other programs.
_FORMATS: Final = ("PNG", "JPEG", "WEBP", "GIF", "AVIF", "BMP", "TIFF")
_SVG: Final = "image/svg+xml"
_DIGEST: Final = re.compile(r"[0-9a-f]{64}")
_QUALITY: Final = 78
_TOO_LARGE: Final = "It has too many pixels for a preview."


@attrs.frozen(kw_only=True)
class Thumbnail:
    """
    How an image is shown small.

    Attributes:
        file: What to show, relative to the batch's directory; None where there is nothing.
        fault: Why there is nothing.
        made: It was made just now.
    """

    file: str | None = None
    fault: str = ""
    made: bool = False


def make_thumbnail(directory: Path, image: ImageRecord) -> Thumbnail:
    """
    The thumbnail of an image of the batch in *directory*, made unless it exists.

    Raises:
        OSError: It cannot be written.
    """
    if not _is_inside(image.file) or not _DIGEST.fullmatch(image.sha256):
        return Thumbnail(fault="Its record does not name a file of this batch.")
    source = directory / image.file
    if image.media_type == _SVG and source.is_file():
        # Drawn by the browser, which runs no script of what it shows as an image.
        return Thumbnail(file=image.file)
    name = f"{DIRECTORY}/{image.sha256[:2]}/{image.sha256[:32]}.webp"
    target = directory / name
    # A power cut can leave an empty file behind a name.
    if target.is_file() and target.stat().st_size:
        return Thumbnail(file=name)
    small = _small(source, image)
    if isinstance(small, str):
        return Thumbnail(fault=small)
    with small:
        _write(small, target)
    return Thumbnail(file=name, made=True)


def _is_inside(file: str) -> bool:
    path = PurePosixPath(file)
    return not path.is_absolute() and ".." not in path.parts


def _area(width: int | None, height: int | None) -> int:
    return (width or 0) * (height or 0)


def _small(source: Path, image: ImageRecord) -> Image.Image | str:
    """The picture, or what is wrong with its file."""
    if _area(image.width, image.height) > MAX_PIXELS:
        return _TOO_LARGE
    try:
        return _decoded(source)
    except FileNotFoundError:
        return "Its file is missing."
    except (Image.DecompressionBombError, Image.DecompressionBombWarning):
        return _TOO_LARGE
    except Exception as error:
        # A broken file fails in whatever way its decoder likes.
        return f"Its file cannot be read as an image ({type(error).__name__})."


def _decoded(source: Path) -> Image.Image:
    with Image.open(source, formats=_FORMATS) as image:
        # The file decides, not its record: opening reads no more than the header.
        if _area(*image.size) > MAX_PIXELS:
            raise Image.DecompressionBombError
        image.draft("RGB", MAX_SIZE)
        # Colours of a palette cannot be averaged by their numbers.
        small = image.convert("RGBA" if image.has_transparency_data else "RGB")
    small.thumbnail(MAX_SIZE, Image.Resampling.LANCZOS)
    return ImageOps.exif_transpose(small)


def _write(image: Image.Image, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    # Two threads can meet at one name: equal images have equal digests.
    partial = target.with_name(f".{target.stem}.{os.getpid()}-{threading.get_ident()}.partial")
    try:
        image.save(partial, "WEBP", quality=_QUALITY, method=2)
        partial.replace(target)
    finally:
        partial.unlink(missing_ok=True)
