"""
JPEG: a record is an XMP packet in an APP1 segment, after the segments that must come first.

Source: ITU-T T.81, annex B; XMP Specification Part 3, 1.1.3 "JPEG".
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from .record import Provenance
from .steps import Edit, Rest, Skip, Take, UnfitError, Walk
from .xmp import mark_packet, packet_of, with_mark

_XMP: Final = b"http://ns.adobe.com/xap/1.0/\0"
_EXIF: Final = b"Exif\0\0"
_MAX_SEGMENT: Final = 0xFFFF
_ROOM: Final = _MAX_SEGMENT - 2 - len(_XMP)
_FULL: Final = "its XMP metadata leave no room"
_APP0, _APP1, _SCAN, _END = 0xE0, 0xE1, 0xDA, 0xD9
# Markers without a length: TEM, RST0 to RST7, SOI.
_BARE: Final = frozenset({0x01, *range(0xD0, 0xD9)})


def edit(head: bytes, record: Provenance) -> Edit | None:
    """
    Compute the edit that inserts *record* into a file that begins with *head*; None if more bytes are needed.

    Raises:
        UnfitError: The beginning is damaged, or the record is too long for a segment.
    """
    at = _place(head)
    if at is None:
        return None
    segment = _segment(packet_of(record, max_bytes=_ROOM), "the prompt is too long for a JPEG's metadata")
    return Edit(taken=at, head=head[:at] + segment)


def marked(data: bytes, term: str) -> bytes | None:
    """
    Return the file *data* with *term* in its XMP packet, or in one of its own; None where it names a source already.

    Raises:
        UnfitError: The file is damaged, or its packet is, or has no room.
    """
    at = 2
    while data[at : at + 1] == b"\xff" and data[at + 1] not in (_SCAN, _END):
        end = at + 2 + int.from_bytes(data[at + 2 : at + 4], "big")
        if data[at + 1] == _APP1 and data[at + 4 : end].startswith(_XMP):
            longer = with_mark(data[at + 4 + len(_XMP) : end], term)
            return None if longer is None else data[:at] + _segment(longer, _FULL) + data[end:]
        at = end
    place = _place(data)
    if place is None:
        raise UnfitError("its segments are damaged")
    return data[:place] + _segment(mark_packet(term), _FULL) + data[place:]


def _place(head: bytes) -> int | None:
    """Find where a segment may go that does not have to come first; None where more of the file is needed."""
    at = 2
    while True:
        if len(head) < at + 4 + len(_EXIF):
            return None
        if head[at] != 0xFF:
            raise UnfitError("its segments are damaged")
        exif = head[at + 1] == _APP1 and head[at + 4 :].startswith(_EXIF)
        if head[at + 1] != _APP0 and not exif:
            return at
        at += 2 + int.from_bytes(head[at + 2 : at + 4], "big")


def _segment(packet: bytes, too_long: str) -> bytes:
    if len(packet) > _ROOM:
        raise UnfitError(too_long)
    return bytes((0xFF, _APP1)) + (2 + len(_XMP) + len(packet)).to_bytes(2, "big") + _XMP + packet


def walk(found: Callable[[bytes], object]) -> Walk:
    """Walk over all segments to the end of the file; call *found* with each XMP packet."""
    if (yield Take(2)) != b"\xff\xd8":
        raise UnfitError("it is not a JPEG")
    while True:
        prefix, marker = yield Take(2)
        while marker == 0xFF:  # fill bytes
            (marker,) = yield Take(1)
        if prefix != 0xFF or marker == _END:
            raise UnfitError("it contains no picture" if marker == _END else "its segments are damaged")
        if marker in _BARE:
            continue
        size = int.from_bytes((yield Take(2)), "big") - 2
        if size < 0:
            raise UnfitError("its segments are damaged")
        if marker == _APP1:
            body = yield Take(size)
            if body.startswith(_XMP):
                found(body[len(_XMP) :])
        else:
            yield Skip(size)
        if marker == _SCAN:
            break
    if (yield Rest(2)) != b"\xff\xd9":
        raise UnfitError("it is cut short")
