"""The base64 text of one image, as it stands in a JSON string: characters in, bytes out."""

from __future__ import annotations

import json
import re
from typing import Final
from urllib.parse import unquote_to_bytes

from pybase64 import b64decode, b64encode

from .._base.sink import Sink

_STRING_BODY: Final = re.compile(rb'[^"\\]*+(?:\\.[^"\\]*+)*+', re.DOTALL)
_WHITESPACE: Final = b" \t\r\n"
_QUOTE: Final = ord('"')
_SHORT_TEXT_BYTES: Final = 8 * 1024
_TAIL_BYTES: Final = 512
_PARTIAL_ESCAPE: Final = re.compile(rb"\\(?:u[0-9A-Fa-f]{0,3})?\Z")
_PARTIAL_PERCENT: Final = re.compile(rb"%[0-9A-Fa-f]?\Z")
_NOT_BASE64: Final = re.compile(rb"[^A-Za-z0-9+/=]")
_STANDARD: Final = bytes.maketrans(b"-_", b"+/")  # the URL-safe alphabet, RFC 4648, 5
_DATA_URL: Final = re.compile(r"\s*data:[^,]*;base64\s*", re.IGNORECASE)
_LONGEST_PREFIX_BYTES: Final = 256
_PREFIX_END: Final = re.compile(rb'[",]')


class RefusedError(Exception):
    """A reason that becomes a StreamDecodeError where position and excerpt are known."""


def string_end(chunk: bytes, pos: int, *, escaped: bool = False) -> int:
    """Return where the JSON string around *pos* ends, or the chunk does; a backslash that ends the chunk stays."""
    match = _STRING_BODY.match(chunk, pos + 1 if escaped else pos)
    return match.end() if match else pos


def data_prefix(chunk: bytes, pos: int) -> int | None:
    """
    Return the length of the `data:…;base64,` with which the JSON string at *pos* begins.

    Returns:
        0 where it begins otherwise; None where more of the body has to arrive first.
    """
    if pos < len(chunk) and chunk[pos] not in b"dD\\ ":
        return 0
    head = chunk[pos : pos + _LONGEST_PREFIX_BYTES]
    end = _PREFIX_END.search(head)
    if end is None:
        return 0 if len(head) == _LONGEST_PREFIX_BYTES else None
    try:
        text: str = json.loads(b'"%b"' % head[: end.start()])
    except ValueError:
        return 0
    return end.end() if end[0] == b"," and _DATA_URL.fullmatch(text) else 0


def decoded(text: bytes) -> bytes:
    """
    Decode base64 text in either alphabet, with or without padding and white space.

    Raises:
        RefusedError: It is empty or no base64.
    """
    text = text.translate(_STANDARD, _WHITESPACE)
    try:
        data = b64decode(_padded(text), None, True)
    except ValueError:
        raise RefusedError(_why_refused(text)) from None
    if not data:
        raise RefusedError("the base64 text is empty")
    return data


class ImageText:
    """
    The base64 text of one image: characters in, bytes to the sink.

    A text that cannot be an image is read to its end, and nothing of it reaches the sink any more: what follows
    in the body is still wanted.

    Args:
        percent: The text stands in a URL, where `%2B` may stand for a plus sign.

    Attributes:
        size: Bytes that the sink got.
        broken: Why the text cannot be used, None while it can.
    """

    __slots__ = ("_carry", "_escaped", "_max_bytes", "_percent", "_slice_bytes", "_write", "broken", "size")

    def __init__(self, sink: Sink, max_bytes: int, slice_bytes: int, *, percent: bool = False) -> None:
        self.size = 0
        self.broken: str | None = None
        self._escaped = False  # the chunk ended after a backslash of a broken text
        self._write = sink.write
        self._max_bytes = max_bytes
        self._slice_bytes = slice_bytes
        self._percent = percent
        self._carry = b""  # fewer than four characters, then perhaps the start of an escape

    def feed(self, chunk: bytes, pos: int) -> int:
        """Decode from *pos*; return where the text after the closing quote starts, or -1 if it goes on."""
        if self.broken is not None:
            return self._skip(chunk, pos)
        end = len(chunk)
        # Most chunks lie inside an image. Decoding finds that out by itself; a search costs a quarter more.
        near_end = end - pos <= _SHORT_TEXT_BYTES or chunk.find(b'"', end - _TAIL_BYTES) >= 0
        quote = chunk.find(b'"', pos) if near_end else -1
        if quote >= 0:
            end = quote
        view = memoryview(chunk)
        carry = self._carry
        try:
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
                carry, pos = self._carry, quote
                self._decode_escaped(carry, last=True)
            if not self.size:
                raise RefusedError("the base64 text is empty")
        except RefusedError as refusal:
            self.broken = str(refusal)
            self._escaped = (len(carry) - len(carry.rstrip(b"\\"))) % 2 == 1
            return self._skip(chunk, pos)
        return quote + 1

    def _skip(self, chunk: bytes, start: int) -> int:
        """Read on to the closing quote; return what `feed` returns."""
        pos = string_end(chunk, start, escaped=self._escaped)
        # The pattern stops at a backslash only where the chunk ends after it.
        self._escaped = pos < len(chunk) and chunk[pos] != _QUOTE
        return -1 if self._escaped or pos == len(chunk) else pos + 1

    def _decode_escaped(self, text: bytes, *, last: bool) -> None:
        """Decode text with escapes, or refuse it; what is not yet a group of four waits for more."""
        partial_escape = b""
        if not last and (match := _PARTIAL_ESCAPE.search(text, max(0, len(text) - 5))):
            text, partial_escape = text[: match.start()], match[0]
        text = _unescape(text)
        if self._percent and b"%" in text:
            if not last and (match := _PARTIAL_PERCENT.search(text)):
                text, partial_escape = text[: match.start()], match[0] + partial_escape
            text = unquote_to_bytes(text).translate(_STANDARD, _WHITESPACE)
            # An escape that comes out would be read once more with what follows it.
            if _NOT_BASE64.search(text):
                raise RefusedError(_why_refused(text))
        count = len(text) if last else len(text) & ~3
        try:
            data = b64decode(_padded(text) if last else text[:count], None, True)
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
        return text.translate(_STANDARD, b"\\ ")
    try:
        value: str = json.loads(f'"{text.decode("ascii")}"')
        # A backslash must not come out: with what follows it would be read as an escape once more.
        if "\\" not in value:
            return value.encode("ascii").translate(_STANDARD, _WHITESPACE)
    except ValueError:
        pass
    raise RefusedError("the base64 text contains a character or an escape that does not belong there")


def _padded(text: bytes) -> bytes:
    """
    Return the end of a text with the padding that it lacks.

    Raises:
        ValueError: Bits are left over, which no encoder leaves: the text was cut.
    """
    if not len(text) % 4:
        return text
    padded = text + b"=" * (-len(text) % 4)
    if b64encode(b64decode(padded[-4:], None, True)) != padded[-4:]:
        raise ValueError("left over bits")
    return padded


def _why_refused(text: bytes) -> str:
    if _NOT_BASE64.search(text):
        return "the base64 text contains a character outside its alphabet"
    if len(text) % 4:
        return "the base64 text is incomplete: its length is not a multiple of four"
    return "the base64 text has padding before its end"
