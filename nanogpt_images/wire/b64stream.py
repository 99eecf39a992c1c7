"""
Cut the images out of a generation response while it arrives.

`ImageStream.feed` takes the body as the socket hands it on. Characters of `$.data[i].b64_json`, and of a data URL at
`$.data[i].url`, are decoded in slices into a sink, everything else is kept as the *rest*: a small JSON document for
`json.loads`, with `true` where an image was. Nothing proportional to an image stays here. An image that cannot be
decoded is named in `broken`, and takes no other along.

The scanner follows containers, strings and keys only. `json.loads` of the rest has the last word on grammar:
it fails exactly where the body outside the images was not JSON, because `true` stands where a string stood, and no
text around a value is valid with the one and invalid with the other.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from typing import Final

from .._base.sink import Sink
from .b64text import ImageText, RefusedError, data_prefix, string_end

__all__ = ["ImageStream", "StreamDecodeError"]

_EXCERPT_BYTES: Final = 200
_WHITESPACE: Final = b" \t\r\n"
_QUOTE: Final = ord('"')

# States of the scanner: what the next byte of the body belongs to.
_START, _SCAN, _STRING, _VALUE, _IMAGE, _END, _DEAD = range(7)

# Assumption: a UTF-8 byte order mark before the object is harmless, as it is for json.loads.
_BEFORE_OBJECT: Final = re.compile(rb"[ \t\r\n\xef\xbb\xbf]*")
_BLANK: Final = re.compile(rb"[ \t\r\n]*")
_TOKEN: Final = re.compile(
    rb'"([^"\\]*+)"([ \t\r\n]*+:)?'  # 1: a string without escapes that ends in this chunk; 2: it is a key
    rb'|(")'  # 3: the start of any other string
    rb"|(,)|([\[{])|([\]}])|(:)"  # 4 to 7
)
_TEXT, _KEY, _OPEN_STRING, _COMMA, _OPEN, _CLOSE, _COLON = range(1, 8)
_NAMES: Final = frozenset((_KEY, _COLON))
_IMAGE_KEYS: Final = frozenset((b"b64_json", b"url"))
_LONGEST_KEY_BYTES: Final = len("b64_json") * len("\\u0062")


class StreamDecodeError(ValueError):
    """
    The body is not a complete JSON object, or it passes a limit.

    Attributes:
        reason: What is wrong, as a phrase.
        index: Index in `data` of the image concerned, None where no image is.
        offset: Bytes of the body that had been fed when it was noticed.
        excerpt: At most the first 200 bytes of what is not image data, unprintable characters replaced.
    """

    def __init__(self, reason: str, index: int | None, offset: int, excerpt: str) -> None:
        super().__init__(reason, index, offset, excerpt)
        self.reason = reason
        self.index = index
        self.offset = offset
        self.excerpt = excerpt

    def __str__(self) -> str:
        image = "" if self.index is None else f", image {self.index}"
        return f"{self.reason} (after {self.offset} bytes{image})"


class ImageStream:
    """
    Decoder of one response body.

    Only strings at `$.data[i].b64_json` are images, with or without `data:…;base64,` before them, and such data URLs at
    `$.data[i].url`; null and URL entries count for *i*, and a key is compared by its meaning (`"b64\\u005fjson"` is
    one). Duplicate keys: the last wins, as in `json.loads`. A second image in an entry forgets the first and opens
    sink *i* again, a second `data` forgets all images.

    A stream that raised is dead: `feed` and `close` refuse from then on.

    Attributes:
        bytes_fed: Bytes of the body so far.
        sizes: Decoded size of each completed image by its index in `data`, in the order of completion.
            In the rest `true` stands for image *i* only if *i* is in here or in `broken`.
        broken: Why an image cannot be used, by its index: it is not base64, empty or too large. Its sink has got
            what preceded the fault.

    Args:
        open_sink: Called with the index when an image begins. Nothing is called when it ends.
            Exceptions from it and from the sink pass through `feed`. It may refuse too many images.
        max_image_bytes: Largest decoded image. The texts of images that cannot be used may be three times
            as long in all; then the body is refused.
        max_rest_bytes: Longest rest.
        max_depth: Deepest nesting of the body.
        slice_bytes: base64 characters that are decoded at once, a multiple of four.
    """

    def __init__(
        self,
        open_sink: Callable[[int], Sink],
        *,
        max_image_bytes: int = 256 * 1024 * 1024,
        max_rest_bytes: int = 8 * 1024 * 1024,
        max_depth: int = 64,
        slice_bytes: int = 256 * 1024,
    ) -> None:
        if slice_bytes <= 0 or slice_bytes % 4:
            raise ValueError(f"slice_bytes must be a positive multiple of four, not {slice_bytes}")
        self.bytes_fed = 0
        self.sizes: dict[int, int] = {}
        self.broken: dict[int, str] = {}
        self._open_sink = open_sink
        self._max_image_bytes = max_image_bytes
        self._max_rest_bytes = max_rest_bytes
        self._max_depth = max_depth
        self._slice_bytes = slice_bytes
        self._state = _START
        self._rest = bytearray()
        self._depth = 0
        self._in_data = False  # inside the array $.data
        self._index = 0  # of the element of $.data
        self._key = b""  # key in $ whose value is next or was last
        self._text = b""  # last string, which a colon turns into a key
        self._string_start = 0  # where in the rest the string begins that is not yet complete
        self._escaped = False  # the chunk ended after a backslash
        self._image: ImageText | None = None
        self._image_key = b""  # whose value is next or was last
        self._given_by: dict[int, bytes] = {}  # index of an image → its key
        self._held = b""  # the start of a value that may be a data URL
        self._text_bytes = 0  # of the image that is being received
        self._wasted = 0  # bytes of text of the images that cannot be used

    @property
    def rest(self) -> bytes:
        """The body so far with `true` in place of each image; it may break off anywhere."""
        return bytes(self._rest)

    @property
    def open_index(self) -> int | None:
        """Index of the image that is being received, or None."""
        return None if self._image is None else self._index

    def feed(self, chunk: bytes) -> None:
        """
        Decode the next part of the body, of any size.

        Raises:
            StreamDecodeError: The body is malformed or passes a limit.
        """
        self.bytes_fed += len(chunk)
        if self._held:
            chunk, self._held = self._held + chunk, b""
        pos = 0
        try:
            while pos < len(chunk):
                pos = self._step(chunk, pos)
        except RefusedError as refusal:
            raise self._error(str(refusal)) from None
        except BaseException:
            self._state = _DEAD
            raise

    def close(self) -> bytes:
        """
        End the body.

        Returns:
            The rest: the body with `true` in place of each image, for `json.loads`.

        Raises:
            StreamDecodeError: The body is empty or truncated, or the stream is dead.
        """
        state = self._state
        if state == _END:
            self._state = _DEAD
            return bytes(self._rest)
        if state == _DEAD:
            raise self._error("the stream has ended or failed before")
        if state == _START:
            raise self._error("the body is empty")
        raise self._error(
            "the body ends inside an image" if state == _IMAGE or self._held else "the body is truncated"
        )

    def _error(self, reason: str) -> StreamDecodeError:
        text = self._rest[:_EXCERPT_BYTES].decode("utf-8", "replace")
        error = StreamDecodeError(
            reason,
            index=self.open_index,
            offset=self.bytes_fed,
            excerpt="".join(char if char.isprintable() else "\N{REPLACEMENT CHARACTER}" for char in text),
        )
        self._state = _DEAD
        self._image = None
        return error

    def _step(self, chunk: bytes, pos: int) -> int:
        """Consume the part of the chunk that belongs to the current state; return where the next starts."""
        state = self._state
        if state == _IMAGE:
            return self._feed_image(chunk, pos)
        if state == _SCAN:
            return self._scan(chunk, pos)
        if state == _START:
            return self._start(chunk, pos)
        if state == _VALUE:
            return self._value(chunk, pos)
        if state == _STRING:
            return self._string(chunk, pos)
        if state == _DEAD:
            raise RefusedError("the stream has ended or failed before")
        if chunk[pos:].strip(_WHITESPACE):
            raise RefusedError("the body goes on after its JSON object")
        return len(chunk)

    def _start(self, chunk: bytes, pos: int) -> int:
        """Skip what may precede the object."""
        pos = _skip(_BEFORE_OBJECT, chunk, pos)
        if pos < len(chunk):
            if chunk[pos] != ord("{"):
                self._rest += chunk[pos : pos + _EXCERPT_BYTES]
                raise RefusedError("the body is not a JSON object")
            self._state = _SCAN
        return pos

    def _scan(self, chunk: bytes, start: int) -> int:
        """Follow the structure up to an image, a string to be read in parts, or the end."""
        for token in _TOKEN.finditer(chunk, start):
            kind = token.lastindex
            if kind in _NAMES:
                if kind == _KEY:
                    self._text = token[_TEXT]
                if self._found_key(self._text):
                    self._state = _VALUE
                    return self._keep(chunk, start, token.end())
            elif kind == _TEXT:
                self._text = token[_TEXT]
            elif kind == _COMMA:
                if self._depth == 2:
                    self._index += 1
            elif kind == _OPEN:
                self._enter(token[_OPEN])
            elif kind == _CLOSE:
                self._depth -= 1
                if self._depth == 0:
                    self._state = _END
                    return self._keep(chunk, start, token.end())
            else:
                self._state = _STRING
                self._string_start = len(self._rest) + token.end() - start
                return self._keep(chunk, start, token.end())
        return self._keep(chunk, start, len(chunk))

    def _enter(self, bracket: bytes) -> None:
        if self._depth == 1:
            self._in_data = bracket == b"[" and self._key == b"data"
            self._index = 0
        self._depth += 1
        if self._depth > self._max_depth:
            raise RefusedError(f"the body is nested deeper than {self._max_depth} levels")

    def _found_key(self, key: bytes) -> bool:
        """Note a key of the body; return whether an image may follow it."""
        if self._depth == 1:
            self._key = key
            if key == b"data":
                for images in (self.sizes, self.broken, self._given_by):
                    images.clear()
        elif self._depth == 3 and self._in_data and key in _IMAGE_KEYS:
            self._image_key = key
            return True
        return False

    def _string(self, chunk: bytes, start: int) -> int:
        """Read on in a string that has escapes or began in an earlier chunk."""
        pos = string_end(chunk, start, escaped=self._escaped)
        # The pattern stops at a backslash only where the chunk ends after it.
        self._escaped = pos < len(chunk) and chunk[pos] != _QUOTE
        if pos == len(chunk) or self._escaped:
            return self._keep(chunk, start, len(chunk))
        self._keep(chunk, start, pos + 1)
        self._text = _plain_key(self._rest, self._string_start, len(self._rest) - 1)
        self._state = _SCAN
        return pos + 1

    def _value(self, chunk: bytes, start: int) -> int:
        """Begin an image if the value is one."""
        pos = self._keep(chunk, start, _skip(_BLANK, chunk, start))
        if pos == len(chunk):
            return pos
        prefix = data_prefix(chunk, pos + 1) if chunk[pos] == _QUOTE else 0
        if prefix is None:
            self._held = chunk[pos:]
            return len(chunk)
        index, key = self._index, self._image_key
        if chunk[pos] != _QUOTE or (key == b"url" and not prefix):
            # A second value of the same key replaces the first; null beside an image in the other form does not.
            if self._given_by.get(index) == key:
                self._forget(index)
            self._state = _SCAN
            return pos
        self._keep(b"true", 0, 4)
        self._forget(index)
        self._given_by[index] = key
        self._image = ImageText(
            self._open_sink(index), self._max_image_bytes, self._slice_bytes, percent=prefix > 0
        )
        self._text_bytes = 0
        self._state = _IMAGE
        return pos + 1 + prefix

    def _forget(self, index: int) -> None:
        for images in (self.sizes, self.broken, self._given_by):
            images.pop(index, None)

    def _feed_image(self, chunk: bytes, start: int) -> int:
        image = self._image
        assert image is not None
        pos = image.feed(chunk, start)
        end = pos if pos >= 0 else len(chunk)
        self._text_bytes += end - start
        if image.broken is not None and self._wasted + self._text_bytes > 3 * self._max_image_bytes:
            raise RefusedError(image.broken)
        if pos < 0:
            return end
        if image.broken is None:
            self.sizes[self._index] = image.size
        else:
            self.broken[self._index] = image.broken
            self._wasted += self._text_bytes
        self._image = None
        self._state = _SCAN
        return pos

    def _keep(self, chunk: bytes, start: int, end: int) -> int:
        """Add part of the chunk to the rest; return *end*."""
        if len(self._rest) + end - start > self._max_rest_bytes:
            raise RefusedError(f"the body without its images is longer than {self._max_rest_bytes} bytes")
        self._rest += chunk[start:end]
        return end


def _skip(pattern: re.Pattern[bytes], chunk: bytes, pos: int) -> int:
    match = pattern.match(chunk, pos)
    return match.end() if match else pos


def _plain_key(rest: bytearray, start: int, end: int) -> bytes:
    """Return the string as UTF-8, or nothing if it is too long or too odd to be a key that matters."""
    if end - start > _LONGEST_KEY_BYTES:
        return b""
    raw = bytes(rest[start:end])
    if b"\\" not in raw:
        return raw
    try:
        value: str = json.loads(b'"%b"' % raw)
        return value.encode()
    except ValueError:
        return b""
