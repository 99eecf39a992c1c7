"""Pad image files with incompressible bytes in a chunk that every decoder skips."""

from __future__ import annotations

import random
import struct
import zlib

from ..catalog.definitions import ImageFormat

_JPEG_SEGMENT = 65_533


def padded(data: bytes, image_format: ImageFormat, size: int) -> bytes:
    """Pad *data* to about *size* bytes; return larger data unchanged."""
    missing = size - len(data)
    if missing < 16:
        return data
    filling = random.Random(missing).randbytes(missing)  # noqa: S311 - filling, not a secret
    if image_format == "png":
        # A private, ancillary chunk before IEND, which is the last 12 bytes.
        chunk = b"fiLl" + filling[:-12]
        return (
            data[:-12]
            + struct.pack(">I", len(chunk) - 4)
            + chunk
            + struct.pack(">I", zlib.crc32(chunk))
            + data[-12:]
        )
    if image_format == "jpeg":
        cuts = range(0, missing, _JPEG_SEGMENT)
        segments = [filling[cut : cut + _JPEG_SEGMENT] for cut in cuts]
        return (
            data[:2]
            + b"".join(b"\xff\xef" + struct.pack(">H", len(part) + 2) + part for part in segments)
            + data[2:]
        )
    filling = filling[: missing // 2 * 2]
    body = data[8:] + b"fiLl" + struct.pack("<I", len(filling)) + filling
    return b"RIFF" + struct.pack("<I", len(body)) + body
