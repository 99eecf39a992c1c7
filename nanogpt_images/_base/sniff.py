"""
Tell an image's format and size from its first bytes.

Nothing is decoded and no size is believed: width and height are what the header claims, None where it is
damaged, beyond the given bytes, or absent.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Final

import attrs

HEAD_BYTES: Final = 64 * 1024
TAIL_BYTES: Final = 64 * 1024

_Size = tuple[int, int]


@attrs.frozen(kw_only=True)
class ImageInfo:
    """
    What the first bytes of a file say.

    Attributes:
        media_type: `image/…`, None for an unknown format.
        suffix: Suffix for a file name with its dot, `.bin` for an unknown format.
        width: Claimed width in pixels, None if not found.
        height: Claimed height in pixels, None if not found.
    """

    media_type: str | None
    suffix: str
    width: int | None = None
    height: int | None = None


_UNKNOWN: Final = ImageInfo(media_type=None, suffix=".bin")


def sniff(head: bytes) -> ImageInfo:
    """
    Identify an image by its first bytes.

    Args:
        head: The first `HEAD_BYTES` of the file, or all of it if it is shorter. More is not looked at.

    Returns:
        Format and claimed size; `media_type` is None where the format is unknown. Never raises.
    """
    head = head[:HEAD_BYTES]
    for signature, media_type, suffix, find_size in _FORMATS:
        if signature.match(head):
            width, height = find_size(head) or (None, None)
            return ImageInfo(media_type=media_type, suffix=suffix, width=width, height=height)
    if _svg_root(head) is not None:
        width, height = _svg_size(head) or (None, None)
        return ImageInfo(media_type="image/svg+xml", suffix=".svg", width=width, height=height)
    return _UNKNOWN


def has_end(head: bytes, tail: bytes, size: int) -> bool:
    """
    Return whether a file holds the end of its image; bytes after it do no harm.

    Args:
        head: The first bytes of the file.
        tail: The last `TAIL_BYTES` of it, or all if it is shorter.
        size: Length of the file.

    Returns:
        False only for a PNG, JPEG, WebP or GIF that breaks off. Formats without an end are taken for whole.
    """
    if head.startswith(b"\x89PNG\r\n\x1a\n"):
        return b"IEND\xaeB`\x82" in tail
    if head.startswith(b"\xff\xd8\xff"):
        # Coded data holds no such bytes; a thumbnail has an end of its own, before the picture begins.
        return tail.rfind(b"\xff\xd9") > tail.rfind(b"\xff\xda")
    if head.startswith(b"RIFF") and head[8:12] == b"WEBP":
        return _little(head, 4, 4) + 8 <= size
    if head.startswith((b"GIF87a", b"GIF89a")):
        return b"\x00;" in tail[-256:]
    return True


def _big(head: bytes, start: int, count: int) -> int:
    return int.from_bytes(head[start : start + count], "big")


def _little(head: bytes, start: int, count: int) -> int:
    return int.from_bytes(head[start : start + count], "little")


def _png_size(head: bytes) -> _Size | None:
    # Apple's CgBI variant puts a chunk before IHDR.
    start = head.find(b"IHDR", 12, 64)
    return (_big(head, start + 4, 4), _big(head, start + 8, 4)) if 0 < start <= len(head) - 12 else None


def _gif_size(head: bytes) -> _Size | None:
    return (_little(head, 6, 2), _little(head, 8, 2)) if len(head) >= 10 else None


def _bmp_size(head: bytes) -> _Size | None:
    if len(head) < 26:
        return None
    if _little(head, 14, 4) == 12:
        return _little(head, 18, 2), _little(head, 20, 2)
    # A negative height means that the rows run from top to bottom.
    width, height = (int.from_bytes(head[at : at + 4], "little", signed=True) for at in (18, 22))
    return abs(width), abs(height)


# SOF0 to SOF15 carry the size; C4, C8 and CC among them are tables.
_JPEG_FRAMES: Final = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
_JPEG_BARE: Final = frozenset({0x01, *range(0xD0, 0xD9)})
_JPEG_MOST_MARKERS: Final = 1024  # before the frame header; real files have a dozen


def _jpeg_size(head: bytes) -> _Size | None:
    pos = 2
    for _ in range(_JPEG_MOST_MARKERS):
        if pos + 9 > len(head) or head[pos] != 0xFF:
            return None
        marker = head[pos + 1]
        if marker in _JPEG_FRAMES:
            return _big(head, pos + 7, 2), _big(head, pos + 5, 2)
        if marker == 0xFF:  # fill byte
            pos += 1
        elif marker in _JPEG_BARE:
            pos += 2
        elif marker in (0xD9, 0xDA):  # the end, or coded data: no frame header follows
            return None
        else:
            pos += 2 + _big(head, pos + 2, 2)
    return None


def _webp_size(head: bytes) -> _Size | None:
    kind = head[12:16]
    if kind == b"VP8X" and len(head) >= 30:
        return _little(head, 24, 3) + 1, _little(head, 27, 3) + 1
    if kind == b"VP8 " and len(head) >= 30 and head[23:26] == b"\x9d\x01\x2a":
        return _little(head, 26, 2) & 0x3FFF, _little(head, 28, 2) & 0x3FFF
    if kind == b"VP8L" and len(head) >= 25 and head[20] == 0x2F:
        bits = _little(head, 21, 4)
        return (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1
    return None


_ISPE: Final = re.compile(rb"\x00\x00\x00\x14ispe\x00\x00\x00\x00(.{4})(.{4})", re.DOTALL)


def _avif_size(head: bytes) -> _Size | None:
    # Tiles and thumbnails have boxes of their own, smaller than the one of the whole picture.
    sizes = [(_big(box[1], 0, 4), _big(box[2], 0, 4)) for box in _ISPE.finditer(head)]
    return max(sizes, key=lambda size: size[0] * size[1], default=None)


# Before the root element XML allows a byte order mark, a prolog, comments, and a doctype with a subset in brackets.
# They are taken one by one: Python 3.11.2 mismatches the same text in one pattern with possessive groups.
_SVG_PRELUDE: Final = re.compile(
    rb"\xef\xbb\xbf|\s+|<\?.*?\?>|<!--.*?-->|<!DOCTYPE[^<>\[]*(?:>|\[[^\]]*\]\s*>)", re.DOTALL | re.IGNORECASE
)
_SVG_ROOT: Final = re.compile(rb"<svg(?=[\s>/])")
_SVG_TAG_END: Final = re.compile(rb"[^>]{0,8192}")
_SVG_LENGTH: Final = rb"\s*=\s*[\"']\s*\+?(\d{1,7})(?:\.\d{0,9})?(?:px)?\s*[\"']"
_SVG_WIDTH: Final = re.compile(rb"\swidth" + _SVG_LENGTH)
_SVG_HEIGHT: Final = re.compile(rb"\sheight" + _SVG_LENGTH)
_SVG_BOX: Final = re.compile(
    rb"\sviewBox\s*=\s*[\"']\s*(?:[-+]?[\d.]{1,16}[\s,]+){2}"
    rb"(\d{1,7})(?:\.\d{0,9})?[\s,]+(\d{1,7})(?:\.\d{0,9})?\s*[\"']"
)


def _svg_root(head: bytes) -> re.Match[bytes] | None:
    position = 0
    while (piece := _SVG_PRELUDE.match(head, position)) is not None:
        position = piece.end()
    return _SVG_ROOT.match(head, position)


def _svg_size(head: bytes) -> _Size | None:
    root = _svg_root(head)
    tag = root and _SVG_TAG_END.match(head, root.end())
    if not tag:
        return None
    width, height = _SVG_WIDTH.search(tag[0]), _SVG_HEIGHT.search(tag[0])
    if width and height:
        return int(width[1]), int(height[1])
    box = _SVG_BOX.search(tag[0])
    return (int(box[1]), int(box[2])) if box else None


_FORMATS: Final[tuple[tuple[re.Pattern[bytes], str, str, Callable[[bytes], _Size | None]], ...]] = (
    (re.compile(rb"\x89PNG\r\n\x1a\n"), "image/png", ".png", _png_size),
    (re.compile(rb"\xff\xd8\xff"), "image/jpeg", ".jpg", _jpeg_size),
    (re.compile(rb"RIFF....WEBP", re.DOTALL), "image/webp", ".webp", _webp_size),
    (re.compile(rb"GIF8[79]a"), "image/gif", ".gif", _gif_size),
    # The brand is the major one, or a compatible one under a general major brand.
    (
        re.compile(rb"....ftyp(?:mif1.{4}(?:.{4}){0,14}?|msf1.{4}(?:.{4}){0,14}?)?avi[fs]", re.DOTALL),
        "image/avif",
        ".avif",
        _avif_size,
    ),
    # "BM" alone is too little to tell: the four reserved bytes are zero and the header size is a known one.
    (
        re.compile(rb"BM.{4}\x00{4}.{4}[\x0c\x10\x28\x34\x38\x40\x6c\x7c]\x00\x00\x00", re.DOTALL),
        "image/bmp",
        ".bmp",
        _bmp_size,
    ),
)
