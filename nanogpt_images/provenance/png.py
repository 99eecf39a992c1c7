"""
PNG: a record is three `iTXt` chunks after the header.

Source: PNG Specification (Third Edition), 5.3 "Chunk layout" and 11.3.3 "Textual information".
"""

from __future__ import annotations

import zlib
from collections.abc import Callable
from typing import Final

from .record import Provenance
from .steps import MAX_TEXT_BYTES, Edit, Skip, Take, UnfitError, Walk

KEYWORD: Final = "nanogpt_images"
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
    texts = {"Description": record.description, "Software": record.software, KEYWORD: record.to_json()}
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
    """Extract a record's JSON text from the *body* of an `iTXt` chunk; None if it is another text."""
    name, _, rest = body.partition(b"\0")
    flags, rest = rest[:2], rest[2:]
    if name != KEYWORD.encode() or flags[:1] not in (b"\0", b"\1"):
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
    return text.decode("utf-8", "replace")


def _international(keyword: str, text: str) -> bytes:
    not_compressed, no_language, no_translation = b"\0\0", b"\0", b"\0"
    return keyword.encode() + b"\0" + not_compressed + no_language + no_translation + text.encode()


def _chunk(kind: bytes, body: bytes) -> bytes:
    return len(body).to_bytes(4, "big") + kind + body + zlib.crc32(kind + body).to_bytes(4, "big")
