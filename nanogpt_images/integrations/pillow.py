"""Decode images with Pillow, for code that works on pixels. Needs the extra `pillow`."""

from __future__ import annotations

import importlib.util
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING

from .._base.display import install_hint
from ..errors import Charge, ConfigurationError, OutputError, ResponseDecodeError

if TYPE_CHECKING:
    from PIL.Image import Image


def require_pillow() -> None:
    """
    Check that Pillow is installed, before an image is downloaded for it.

    Raises:
        ConfigurationError: Pillow is not installed; the text names the extra.
    """
    if importlib.util.find_spec("PIL") is None:
        raise ConfigurationError(f"to_pil() needs Pillow: {install_hint('pillow')}.")


def decode(source: bytes | Path, media_type: str | None) -> Image:
    """
    Decode a whole image. Blocking: about 0.1 s for ten megapixels.

    Args:
        source: The encoded bytes, or their file.
        media_type: Media type for error texts.

    Returns:
        A Pillow image with its pixels loaded and its file closed.

    Raises:
        OutputError: The file cannot be read.
        ResponseDecodeError: Pillow does not know the format, or the image is damaged or dangerously large.
    """
    from PIL import Image, UnidentifiedImageError

    try:
        # Pass the path, not the bytes: the encoded file need not be in memory beside the pixels.
        with Image.open(BytesIO(source) if isinstance(source, bytes) else source) as image:
            image.load()
            return image
    except (UnidentifiedImageError, Image.DecompressionBombError, SyntaxError, ValueError) as error:
        raise _undecodable(media_type, error) from error
    except OSError as error:
        if error.errno is not None:
            raise OutputError(f"cannot read {source!s}: {error.strerror or error}.") from error
        raise _undecodable(media_type, error) from error


def _undecodable(media_type: str | None, error: Exception) -> ResponseDecodeError:
    what = media_type or "an unknown format"
    reason = "unknown format" if type(error).__name__ == "UnidentifiedImageError" else str(error)
    return ResponseDecodeError(
        f"Pillow cannot decode the image ({what}): {reason}. The encoded image is unchanged: use read() or save().",
        charge=Charge.CHARGED,
    )
