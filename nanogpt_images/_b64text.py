"""The base64 text of one image, as it stands in a JSON string: characters in, bytes out."""

from __future__ import annotations

import json
import re
from typing import Final, Protocol

from pybase64 import b64decode

_WHITESPACE: Final = b" \t\r\n"
_SHORT_TEXT_BYTES: Final = 8 * 1024
_TAIL_BYTES: Final = 512
_PARTIAL_ESCAPE: Final = re.compile(rb"\\(?:u[0-9A-Fa-f]{0,3})?\Z")
_NOT_BASE64: Final = re.compile(rb"[^A-Za-z0-9+/=]")


class Sink(Protocol):
    """Where the bytes of one image go; a `bytes` object it is given is never touched again."""

    def write(self, data: bytes, /) -> object: ...


class RefusedError(Exception):
    """A reason that becomes a StreamDecodeError where position and excerpt are known."""


class ImageText:
    """The base64 text of one image: characters in, bytes to the sink."""

    __slots__ = ("_carry", "_max_bytes", "_slice_bytes", "_write", "size")

    def __init__(self, sink: Sink, max_bytes: int, slice_bytes: int) -> None:
        self.size = 0
        self._write = sink.write
        self._max_bytes = max_bytes
        self._slice_bytes = slice_bytes
        self._carry = b""  # fewer than four characters, then perhaps the start of an escape

    def feed(self, chunk: bytes, pos: int) -> int:
        """Decode from *pos*; return where the text after the closing quote starts, or -1 if it goes on."""
        end = len(chunk)
        # Most chunks lie inside an image. Decoding finds that out by itself; a search costs a quarter more.
        near_end = end - pos <= _SHORT_TEXT_BYTES or chunk.find(b'"', end - _TAIL_BYTES) >= 0
        quote = chunk.find(b'"', pos) if near_end else -1
        if quote >= 0:
            end = quote
        view = memoryview(chunk)
        while pos < end:
            carry = self._carry
            left = len(carry) + end - pos
            count = min(self._slice_bytes, left & ~3)
            if not count:
                self._carry = carry + chunk[pos:end]
                break
            stop = pos + count - len(carry)
            text = view[pos:stop]
            try:
                # A copy costs less than a further write of the first bytes alone to a file.
                data = b64decode(b"".join((carry, text)) if carry else text, None, True)
            except ValueError:
                stop = min(end, pos + self._slice_bytes)
                # An escaped quote ends the text too: it is not base64, and what precedes it is then refused.
                if (found := chunk.find(b'"', pos, stop)) >= 0:
                    quote = end = stop = found
                self._decode_escaped(carry + chunk[pos:stop], last=stop == quote)
            else:
                self._carry = b""
                self._emit(data)
            pos = stop
        if quote < 0:
            return -1
        if self._carry:
            self._decode_escaped(self._carry, last=True)
        return quote + 1

    def _decode_escaped(self, text: bytes, *, last: bool) -> None:
        """Decode text with escapes, or refuse it; what is not yet a group of four waits for more."""
        partial_escape = b""
        if not last and (match := _PARTIAL_ESCAPE.search(text, max(0, len(text) - 5))):
            text, partial_escape = text[: match.start()], match[0]
        text = _unescape(text)
        count = len(text) if last else len(text) & ~3
        try:
            data = b64decode(text[:count], None, True)
        except ValueError:
            raise RefusedError(_why_refused(text)) from None
        self._carry = text[count:] + partial_escape
        if data:
            self._emit(data)

    def _emit(self, data: bytes) -> None:
        if self.size % 3:
            raise RefusedError("the base64 text goes on after its padding")
        self.size += len(data)
        if self.size > self._max_bytes:
            raise RefusedError(f"the image is larger than {self._max_bytes} bytes")
        self._write(data)


def _unescape(text: bytes) -> bytes:
    """Return what a JSON string with this content means, without its white space."""
    # Some servers escape every slash: where that is all, there is nothing to look up.
    if text.count(b"\\") == text.count(b"\\/"):
        return text.translate(None, b"\\ ")
    try:
        value: str = json.loads(f'"{text.decode("ascii")}"')
        # A backslash must not come out: with what follows it would be read as an escape once more.
        if "\\" not in value:
            return value.encode("ascii").translate(None, _WHITESPACE)
    except ValueError:
        pass
    raise RefusedError("the base64 text contains a character or an escape that does not belong there")


def _why_refused(text: bytes) -> str:
    if _NOT_BASE64.search(text):
        return "the base64 text contains a character outside its alphabet"
    if len(text) % 4:
        return "the base64 text is incomplete: its length is not a multiple of four"
    return "the base64 text has padding before its end"
