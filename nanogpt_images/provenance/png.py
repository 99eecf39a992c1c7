"""
PNG: a record is three `iTXt` chunks after the header, and its mark an XMP packet in a fourth.

Source: PNG Specification (Third Edition), 5.3 "Chunk layout" and 11.3.3 "Textual information".
"""

from __future__ import annotations

import zlib
from collections.abc import Callable
from typing import Final

from .record import Provenance
from .steps import MAX_TEXT_BYTES, Edit, Skip, Take, UnfitError, Walk
from .xmp import mark_packet, with_mark

KEYWORD: Final = "nanogpt_images"
_XMP: Final = "XML:com.adobe.xmp"
_SIGNATURE: Final = b"\x89PNG\r\n\x1a\n"
_HEADER_BYTES: Final = len(_SIGNATURE) + 4 + 4 + 13 + 4


def edit(head: bytes, record: Provenance) -> Edit | None:
    """
    Compute the edit that inserts *record* into a file that begins with *head*; None if more bytes are needed.

    Raises:
        UnfitError: The header is damaged.
    """
    if len(head) < _HEADER_BYTES:
        return None
    header = head[len(_SIGNATURE) : _HEADER_BYTES]
    if header != _chunk(b"IHDR", header[8:-4]):
        raise UnfitError("its header is damaged")
    mark = mark_packet(record.source_type).decode()
    texts = {
        "Description": record.description,
        "Software": record.software,
        KEYWORD: record.to_json(),
        _XMP: mark,
    }
    chunks = b"".join(_chunk(b"iTXt", _international(name, text)) for name, text in texts.items())
    return Edit(taken=_HEADER_BYTES, head=head[:_HEADER_BYTES] + chunks)


def walk(found: Callable[[bytes], object]) -> Walk:
    """Walk over the chunks; call *found* with the body of each `iTXt` chunk that may contain a record."""
    if (yield Take(len(_SIGNATURE))) != _SIGNATURE:
        raise UnfitError("it is not a PNG")
    kind, pictures = b"", 0
    while kind != b"IEND":
        header = yield Take(8)
        size, kind = int.from_bytes(header[:4], "big"), header[4:]
        if not kind.isalpha():
            raise UnfitError("its chunks are damaged")
        pictures += kind == b"IDAT"
        if kind == b"iTXt" and size <= MAX_TEXT_BYTES:
            found((yield Take(size)))
            yield Skip(4)
        else:
            yield Skip(size + 4)
    if not pictures:
        raise UnfitError("it contains no picture")


def json_of(body: bytes) -> str | None:
    """The record's JSON text in the *body* of an `iTXt` chunk; None where it holds something else."""
    text = _text_of(body, KEYWORD)
    return None if text is None else text.decode("utf-8", "replace")


def packet_in(body: bytes) -> bytes | None:
    """Return the XMP packet in the *body* of an `iTXt` chunk; None where it holds something else."""
    return _text_of(body, _XMP)


def marked(data: bytes, term: str) -> bytes | None:
    """
    Return the file *data* with *term* in its XMP packet, or in one of its own; None where it names a source already.

    Raises:
        UnfitError: The file is damaged, or its packet is.
    """
    at = len(_SIGNATURE)
    while data[at + 4 : at + 8] not in (b"IEND", b""):
        size = int.from_bytes(data[at : at + 4], "big")
        body = data[at + 8 : at + 8 + size]
        if data[at + 4 : at + 8] == b"iTXt" and (packet := packet_in(body)) is not None:
            longer = with_mark(packet, term)
            if longer is None:
                return None
            text = _international(_XMP, longer.decode("utf-8", "replace"))
            return data[:at] + _chunk(b"iTXt", text) + data[at + 12 + size :]
        at += 12 + size
    chunk = _chunk(b"iTXt", _international(_XMP, mark_packet(term).decode()))
    return data[:_HEADER_BYTES] + chunk + data[_HEADER_BYTES:]


def _text_of(body: bytes, keyword: str) -> bytes | None:
    """Return the text of an `iTXt` chunk with this keyword."""
    name, _, rest = body.partition(b"\0")
    flags, rest = rest[:2], rest[2:]
    if name != keyword.encode() or flags[:1] not in (b"\0", b"\1"):
        return None
    _, _, rest = rest.partition(b"\0")
    _, _, text = rest.partition(b"\0")
    if flags[:1] == b"\1":
        # Another program wrote it; limit the size, because a small compressed text can expand without end.
        unpacker = zlib.decompressobj()
        try:
            text = unpacker.decompress(text, MAX_TEXT_BYTES)
        except zlib.error:
            return None
    return text


def _international(keyword: str, text: str) -> bytes:
    not_compressed, no_language, no_translation = b"\0\0", b"\0", b"\0"
    return keyword.encode() + b"\0" + not_compressed + no_language + no_translation + text.encode()


def _chunk(kind: bytes, body: bytes) -> bytes:
    return len(body).to_bytes(4, "big") + kind + body + zlib.crc32(kind + body).to_bytes(4, "big")
