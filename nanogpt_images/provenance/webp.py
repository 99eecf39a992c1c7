"""
WebP: a record is an XMP chunk at the end, announced by a flag of the extended header.

Source: WebP Container Specification, "Extended File Format".
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from .record import Provenance
from .steps import MAX_TEXT_BYTES, Edit, Skip, Take, UnfitError, Walk
from .xmp import mark_packet, packet_of, with_mark

_RIFF_BYTES: Final = 12
_HEAD_BYTES: Final = 30
_HAS_XMP, _HAS_ALPHA = 0x04, 0x10
_MAX_RIFF: Final = 2**32 - 2
_PICTURES: Final = (b"VP8 ", b"VP8L", b"ANMF")


def edit(head: bytes, record: Provenance) -> Edit | None:
    """
    Compute the edit that inserts *record* into a file that begins with *head*; None if more bytes are needed.

    Raises:
        UnfitError: The header is damaged, or the file already has XMP metadata.
    """
    if len(head) < _HEAD_BYTES:
        return None
    if head[_RIFF_BYTES : _RIFF_BYTES + 4] == b"VP8X" and head[20] & _HAS_XMP:
        raise UnfitError("it already has XMP metadata")
    return _added(head, packet_of(record))


def marked(data: bytes, term: str) -> bytes | None:
    """
    Return the file *data* with *term* in its XMP packet, or in one of its own; None where it names a source already.

    Raises:
        UnfitError: The file is damaged, or its packet is.
    """
    at = _RIFF_BYTES
    while at + 8 <= len(data):
        size = int.from_bytes(data[at + 4 : at + 8], "little")
        end = at + 8 + size + size % 2
        if data[at : at + 4] == b"XMP ":
            longer = with_mark(data[at + 8 : at + 8 + size], term)
            if longer is None:
                return None
            body = data[8:at] + _xmp_chunk(longer) + data[end:]
            return b"RIFF" + _little(len(body), 4) + body
        at = end
    if len(data) < _HEAD_BYTES:
        raise UnfitError("its header is damaged")
    added = _added(data[:_HEAD_BYTES], mark_packet(term))
    return added.head + data[added.taken :] + added.tail


def _xmp_chunk(packet: bytes) -> bytes:
    return b"XMP " + _little(len(packet), 4) + packet + b"\0" * (len(packet) % 2)


def _added(head: bytes, packet: bytes) -> Edit:
    """Add *packet* to a file that has none and begins with *head*."""
    kind = head[_RIFF_BYTES : _RIFF_BYTES + 4]
    if kind == b"VP8X":
        taken = _HEAD_BYTES
        extended = head[_RIFF_BYTES:20] + bytes((head[20] | _HAS_XMP,)) + head[21:_HEAD_BYTES]
    else:
        taken = _RIFF_BYTES
        extended = _extended(head, kind)
    tail = _xmp_chunk(packet)
    size = int.from_bytes(head[4:8], "little") + _RIFF_BYTES + len(extended) - taken + len(tail)
    if size % 2 or size > _MAX_RIFF:
        raise UnfitError("its size is damaged")
    return Edit(taken=taken, head=b"RIFF" + _little(size, 4) + b"WEBP" + extended, tail=tail)


def _extended(head: bytes, kind: bytes) -> bytes:
    """Build the extended header for a file with a simple header."""
    flags = _HAS_XMP
    if kind == b"VP8 " and head[23:26] == b"\x9d\x01\x2a":
        width = int.from_bytes(head[26:28], "little") & 0x3FFF
        height = int.from_bytes(head[28:30], "little") & 0x3FFF
    elif kind == b"VP8L" and head[20] == 0x2F:
        bits = int.from_bytes(head[21:25], "little")
        width, height = (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1
        flags |= _HAS_ALPHA if bits >> 28 & 1 else 0
    else:
        raise UnfitError("its header is damaged")
    if not width or not height:
        raise UnfitError("its header is damaged")
    return b"VP8X" + _little(10, 4) + _little(flags, 4) + _little(width - 1, 3) + _little(height - 1, 3)


def walk(found: Callable[[bytes], object]) -> Walk:
    """Walk over the chunks; call *found* with each XMP packet."""
    riff = yield Take(_RIFF_BYTES)
    if riff[:4] != b"RIFF" or riff[8:] != b"WEBP":
        raise UnfitError("it is not a WebP")
    left = int.from_bytes(riff[4:8], "little") - 4
    pictures = 0
    while left:
        header = yield Take(8)
        size = int.from_bytes(header[4:], "little")
        padded = size + size % 2
        left -= 8 + padded
        if left < 0:
            raise UnfitError("its chunks are damaged")
        pictures += header[:4] in _PICTURES
        if header[:4] == b"XMP " and size <= MAX_TEXT_BYTES:
            found((yield Take(size)))
            yield Skip(padded - size)
        else:
            yield Skip(padded)
    if not pictures:
        raise UnfitError("it contains no picture")


def _little(number: int, count: int) -> bytes:
    return number.to_bytes(count, "little")
