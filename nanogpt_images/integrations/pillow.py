"""Images as Pillow's, for code that works on pixels. Needs the extra `pillow`."""

from __future__ import annotations

import importlib.util
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING

from ..errors import Charge, ConfigurationError, OutputError, ResponseDecodeError

if TYPE_CHECKING:
    from PIL.Image import Image


def require_pillow() -> None:
    """
    Make sure that Pillow is there, before anything is downloaded for it.

    Raises:
        ConfigurationError: It is not installed; the text names the extra.
    """
    if importlib.util.find_spec("PIL") is None:
        raise ConfigurationError("to_pil() needs Pillow: pip install 'nanogpt_images[pillow]'")


def decode(source: bytes | Path, media_type: str | None) -> Image:
    """
    Decode an image whole. Blocking, for some 0.1 s where it has ten megapixels.

    Args:
        source: The encoded bytes, or the file that holds them.
        media_type: For the text of errors.

    Returns:
        A Pillow image with its pixels loaded; no file stays open.

    Raises:
        OutputError: The file cannot be read.
        ResponseDecodeError: Pillow does not know the format, or the image is damaged or dangerously large.
    """
    from PIL import Image, UnidentifiedImageError

    try:
        # From the path itself: a file need not be in memory twice, encoded and decoded.
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
    reason = "it knows no such format" if type(error).__name__ == "UnidentifiedImageError" else str(error)
    return ResponseDecodeError(
        f"Pillow cannot decode the image ({what}): {reason}. The encoded image is as it came: read() and save() work.",
        charge=Charge.CHARGED,
    )
