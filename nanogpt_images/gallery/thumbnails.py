"""Make thumbnails: small WebP files, named by the image's digest."""

from __future__ import annotations

import contextlib
import os
import re
import threading
from pathlib import Path
from typing import Final

import attrs
from PIL import Image, ImageOps

from ..batch.outcomes import ImageRecord

DIRECTORY: Final = "thumbnails"
MAX_SIZE: Final = (640, 320)
"""Maximum width and height: rows of the page are about 220 pixels high, on screens of high density."""
MAX_PIXELS: Final = 8192 * 8192
"""Larger images are not decoded: at four bytes per pixel, they could fill the memory."""

# Only the formats of images that the service sends: Pillow has formats that start other programs.
_FORMATS: Final = ("PNG", "JPEG", "WEBP", "GIF", "AVIF", "BMP", "TIFF")
_SVG: Final = "image/svg+xml"
_DIGEST: Final = re.compile(r"[0-9a-f]{64}")
_QUALITY: Final = 78
_TOO_LARGE: Final = "The image has too many pixels for a preview."


@attrs.frozen(kw_only=True)
class Thumbnail:
    """
    The preview of an image.

    Attributes:
        file: File to show, relative to the batch's directory; None if there is none.
        fault: Why there is no file.
        made: Whether this call made the file.
    """

    file: str | None = None
    fault: str = ""
    made: bool = False


def make_thumbnail(directory: Path, image: ImageRecord) -> Thumbnail:
    """
    Make the thumbnail of an image of the batch in *directory*, unless it exists.

    Raises:
        OSError: The thumbnail cannot be written.
    """
    if not _is_inside(image.file) or not _DIGEST.fullmatch(image.sha256):
        return Thumbnail(fault="The journal does not name a file of this batch.")
    if image.media_type == _SVG and os.path.isfile(os.path.join(directory, image.file)):
        # The browser draws it, and runs no scripts in an image element.
        return Thumbnail(file=image.file)
    name = f"{DIRECTORY}/{image.sha256[:2]}/{image.sha256[:32]}.webp"
    # A power failure can leave an empty file. Paths as objects would take longer than the look at the file.
    with contextlib.suppress(OSError):
        if os.stat(f"{os.fspath(directory)}/{name}").st_size:
            return Thumbnail(file=name)
    small = _small(directory / image.file, image)
    if isinstance(small, str):
        return Thumbnail(fault=small)
    with small:
        _write(small, directory / name)
    return Thumbnail(file=name, made=True)


def _is_inside(file: str) -> bool:
    return not file.startswith("/") and ".." not in file.split("/")


def _area(width: int | None, height: int | None) -> int:
    return (width or 0) * (height or 0)


def _small(source: Path, image: ImageRecord) -> Image.Image | str:
    """Return the small picture, or a sentence that says what is wrong with its file."""
    if _area(image.width, image.height) > MAX_PIXELS:
        return _TOO_LARGE
    try:
        return _decoded(source)
    except FileNotFoundError:
        return "The file is missing."
    except (Image.DecompressionBombError, Image.DecompressionBombWarning):
        return _TOO_LARGE
    except Exception as error:
        # A broken file can raise any error in its decoder.
        return f"The file cannot be read as an image ({type(error).__name__})."


def _decoded(source: Path) -> Image.Image:
    with Image.open(source, formats=_FORMATS) as image:
        # Check the size in the file, not in the journal; opening reads only the header.
        if _area(*image.size) > MAX_PIXELS:
            raise Image.DecompressionBombError
        image.draft("RGB", MAX_SIZE)
        # Palette indices cannot be averaged.
        small = image.convert("RGBA" if image.has_transparency_data else "RGB")
    # Averaging whole pixels first halves the time, and no eye tells the difference at this size.
    small.thumbnail(MAX_SIZE, Image.Resampling.LANCZOS, reducing_gap=1.1)
    return ImageOps.exif_transpose(small)


def _write(image: Image.Image, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    # Two threads can meet at one name: equal images have equal digests.
    partial = target.with_name(f".{target.stem}.{os.getpid()}-{threading.get_ident()}.partial")
    try:
        image.save(partial, "WEBP", quality=_QUALITY, method=0)
        partial.replace(target)
    finally:
        partial.unlink(missing_ok=True)
