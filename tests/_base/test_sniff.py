"""Formats and sizes from the first bytes of real and of hostile files."""

from __future__ import annotations

import io
import struct
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from nanogpt_images._base.sniff import HEAD_BYTES, ImageInfo, sniff

UNKNOWN = ImageInfo(media_type=None, suffix=".bin")


def picture(kind: str, *, size: tuple[int, int] = (37, 21), mode: str = "RGB", **options: Any) -> bytes:
    buffer = io.BytesIO()
    Image.effect_noise(size, 50).convert(mode).save(buffer, kind, **options)
    return buffer.getvalue()


REAL = {
    "png": (picture("PNG"), "image/png", ".png"),
    "jpeg": (picture("JPEG"), "image/jpeg", ".jpg"),
    "jpeg progressive": (picture("JPEG", progressive=True), "image/jpeg", ".jpg"),
    "jpeg with exif": (picture("JPEG", exif=b"Exif\0\0" + b"\xff\xc0" * 900), "image/jpeg", ".jpg"),
    "webp lossy": (picture("WEBP"), "image/webp", ".webp"),
    "webp lossless": (picture("WEBP", lossless=True), "image/webp", ".webp"),
    "webp extended": (picture("WEBP", mode="RGBA", exif=b"Exif\0\0x"), "image/webp", ".webp"),
    "gif": (picture("GIF", mode="P"), "image/gif", ".gif"),
    "avif": (picture("AVIF"), "image/avif", ".avif"),
    "bmp": (picture("BMP"), "image/bmp", ".bmp"),
}


@pytest.mark.parametrize("name", REAL)
def test_real_file_is_known_with_its_size(name: str) -> None:
    """A file that Pillow wrote is recognised with its media type, suffix, width and height."""
    data, media_type, suffix = REAL[name]
    assert sniff(data) == ImageInfo(media_type=media_type, suffix=suffix, width=37, height=21)


@pytest.mark.parametrize("name", REAL)
def test_truncated_file_never_raises_or_lies(name: str) -> None:
    """At every length a file is unknown, known without a size, or known with the true size."""
    data, media_type, suffix = REAL[name]
    full = ImageInfo(media_type=media_type, suffix=suffix, width=37, height=21)
    without_size = ImageInfo(media_type=media_type, suffix=suffix)
    seen = [sniff(data[:length]) for length in range(min(len(data), 4000))]
    assert seen[0] == UNKNOWN
    assert all(info in (UNKNOWN, without_size, full) for info in seen)
    ranks = [(UNKNOWN, without_size, full).index(info) for info in seen]
    assert ranks == sorted(ranks)


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP", "GIF", "AVIF", "BMP"])
@pytest.mark.parametrize("size", [(1, 1), (300, 2)])
def test_small_and_odd_sizes(kind: str, size: tuple[int, int]) -> None:
    """The smallest picture and a flat one are measured too."""
    info = sniff(picture(kind, size=size))
    assert (info.width, info.height) == size


SVG = '<svg xmlns="http://www.w3.org/2000/svg" '


@pytest.mark.parametrize(
    ("text", "width", "height"),
    [
        (SVG + 'width="120" height="80"/>', 120, 80),
        (SVG + "width='120px'\nheight = '80.5'>", 120, 80),
        (SVG + 'viewBox="0 0 24 32"/>', 24, 32),
        (SVG + 'width="100%" height="100%" viewBox="-1.5,0, 24,32.0"/>', 24, 32),
        (SVG + 'width="100%" height="50"/>', None, None),
        (SVG + 'width="12em" height="5"/>', None, None),
        (SVG + 'stroke-width="3" data-height="4"/>', None, None),
        (SVG + '><rect width="3" height="4"/></svg>', None, None),
        ("<svg>", None, None),
        ('\ufeff <?xml version="1.0" encoding="UTF-8"?>\r\n<svg width="5" height="6"/>', 5, 6),
        ('<!-- <svg width="1" height="1"> - -- --> <svg width="5" height="6"/>', 5, 6),
        (
            '<!DOCTYPE svg PUBLIC "-//W3C//DTD SVG 1.1//EN" "http://w3/svg11.dtd"><svg width="5" height="6"/>',
            5,
            6,
        ),
        ('<?xml-stylesheet href="a?b"?><!DOCTYPE svg [<!ENTITY a "<b>">]><svg width="5" height="6"/>', 5, 6),
    ],
)
def test_svg_size_comes_from_the_root_element(text: str, width: int | None, height: int | None) -> None:
    """An SVG is known behind prolog, comments and doctype; its size only where the root gives plain numbers."""
    assert sniff(text.encode()) == ImageInfo(
        media_type="image/svg+xml", suffix=".svg", width=width, height=height
    )


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\x89PNG",
        b"\xff\xd8",
        b"RIFF\x00\x00\x00\x00WAVEfmt ",
        b"GIF88a\x01\x00\x01\x00",
        b"BM is the start of a text that is long enough to be a bitmap header",
        b"\x00\x00\x00\x18ftypheic\x00\x00\x00\x00mif1heic",
        b"\x00\x00\x00\x18ftypisom\x00\x00\x00\x00isomavc1",
        b'{"error":{"message":"no image"}}',
        b"<!DOCTYPE html><html><body><svg width='1' height='1'></svg></body></html>",
        b"<svgx width='1'>",
        b"<?xml version='1.0'?><rss></rss>",
        b"<!-- <svg> ",
        "<svg/>".encode("utf-16"),
    ],
)
def test_other_content_is_unknown(data: bytes) -> None:
    """What is no image, or an image of another kind, is unknown."""
    assert sniff(data) == UNKNOWN


def png(width: int, height: int) -> bytes:
    return b"\x89PNG\r\n\x1a\n" + struct.pack(">I4sIIBBBBBI", 13, b"IHDR", width, height, 8, 6, 0, 0, 0, 0)


@pytest.mark.parametrize(
    ("data", "media_type", "size"),
    [
        (png(100_000, 100_000), "image/png", (100_000, 100_000)),
        (png(0, 0xFFFFFFFF), "image/png", (0, 0xFFFFFFFF)),
        (b"\x89PNG\r\n\x1a\n" + b"\xff" * 100, "image/png", (None, None)),
        # Apple's variant begins with another chunk.
        (png(3, 4)[:8] + struct.pack(">I4sII", 4, b"CgBI", 0, 0) + png(3, 4)[8:], "image/png", (3, 4)),
        (b"\xff\xd8\xff" + b"\xff" * 70_000, "image/jpeg", (None, None)),
        (b"\xff\xd8" + b"\xff\xd0" * 40_000, "image/jpeg", (None, None)),
        (b"\xff\xd8" + b"\xff\xe0\x00\x00" * 20_000, "image/jpeg", (None, None)),
        (b"\xff\xd8\xff\xe1\xff\xff" + bytes(100), "image/jpeg", (None, None)),
        (b"\xff\xd8\xff\xe0\x00\x04ab\x00\x00\x00\x00\x00\x00\x00\x00", "image/jpeg", (None, None)),
        (b"\xff\xd8\xff\xda\x00\x02" + b"\xff\xc0\x00\x11\x08\x00\x01\x00\x01", "image/jpeg", (None, None)),
        (b"\xff\xd8\xff\xd9\x00\x02" + b"\xff\xc0\x00\x11\x08\x00\x01\x00\x01", "image/jpeg", (None, None)),
        (b"\xff\xd8\xff\x01" + b"\xff\xc0\x00\x11\x08\x00\x05\x00\x06", "image/jpeg", (6, 5)),
        (
            b"\xff\xd8\xff\xc4\x00\x04ab\xff\xff\xff\xc2\x00\x11\x08\x00\x05\x00\x06",
            "image/jpeg",
            (6, 5),
        ),
        (b"RIFF\xff\xff\xff\xffWEBPVP8X\xff\xff\xff\xff" + b"\xff" * 40, "image/webp", (1 << 24, 1 << 24)),
        (b"RIFF\x00\x00\x00\x00WEBPXXXX" + bytes(40), "image/webp", (None, None)),
        (b"RIFF\x00\x00\x00\x00WEBPVP8 " + bytes(40), "image/webp", (None, None)),
        (b"GIF89a\xff\xff\xff\xff", "image/gif", (65535, 65535)),
        (
            b"BM" + bytes(12) + struct.pack("<IiiHH", 40, 7, -9, 1, 24),
            "image/bmp",
            (7, 9),
        ),
        (b"BM" + bytes(12) + struct.pack("<IHHHH", 12, 7, 9, 1, 24), "image/bmp", (7, 9)),
        (b"\x00\x00\x00\x1cftypmif1\x00\x00\x00\x00miafavif" + bytes(40), "image/avif", (None, None)),
        (b"\xff\xff\xff\xffftypavis" + bytes(40), "image/avif", (None, None)),
        # A thumbnail's box before the picture's own.
        (
            b"\x00\x00\x00\x1cftypavif\x00\x00\x00\x00mif1miaf"
            + b"".join(
                struct.pack(">I4sIII", 20, b"ispe", 0, *size) for size in [(16, 8), (160, 80), (32, 16)]
            ),
            "image/avif",
            (160, 80),
        ),
    ],
)
def test_hostile_header_is_only_reported(
    data: bytes, media_type: str, size: tuple[int | None, int | None]
) -> None:
    """Absurd or damaged headers give what they claim, or no size."""
    info = sniff(data)
    assert (info.media_type, (info.width, info.height)) == (media_type, size)


def test_only_the_head_is_looked_at() -> None:
    """What lies behind the first 64 KiB changes nothing."""
    start = b"\xff\xd8\xff\xe0\xff\xfc" + bytes(0xFFFA)
    frame = b"\xff\xc0\x00\x11\x08\x00\x05\x00\x06" + bytes(9)
    assert len(start) == HEAD_BYTES
    assert sniff(start + frame) == ImageInfo(media_type="image/jpeg", suffix=".jpg")


SIGNATURES = [
    b"",
    b"\xff\xd8\xff",
    b"GIF89a",
    b"RIFF\0\0\0\0WEBPVP8L/",
    b"\0\0\0\x20ftypavif",
    png(1, 1)[:16],
    b"<svg ",
    b"<!--",
]


@given(start=st.sampled_from(SIGNATURES), data=st.binary(max_size=200))
def test_any_bytes_give_an_answer(start: bytes, data: bytes) -> None:
    """Random bytes behind every signature never raise, and a size is complete or absent."""
    info = sniff(start + data)
    assert (info.width is None) == (info.height is None)
    assert (info.media_type is None) == (info.suffix == ".bin")


@pytest.mark.parametrize(
    "unit",
    [
        b" ",
        b"<!--",
        b"<!-- -->",
        b"<?",
        b"<?x?>",
        b"<!DOCTYPE [",
        b"<!DOCTYPE a>",
        b"<svg ",
        b"<svg" + b" viewBox='0 ",
        b"<svg" + b" width=",
        b"-",
        b"BM",
        b"\0\0\0\x14ispe",
    ],
)
@pytest.mark.parametrize(
    "prefix", [b"", b"<!--", b"<svg ", b"<svg viewBox='", b"<svg width=", b"\0\0\0\x20ftypavif"]
)
def test_repetition_ends(prefix: bytes, unit: bytes) -> None:
    """No repeated fragment makes a pattern backtrack without end, and none yields a size."""
    assert sniff(prefix + unit * (HEAD_BYTES // len(unit))).width is None
