"""Keep the key out of what people and programs show: reprs, and texts that repeat what a service echoes."""

from __future__ import annotations

import base64
import contextlib
import html
import json
import re
from collections.abc import Mapping
from typing import Final, NoReturn, Self, cast
from urllib.parse import unquote

from ..errors import ConfigurationError

# A shorter text is not a secret, and would be found by chance.
_LEAST_CHARACTERS: Final = 8
# So much of a key that was cut off is one as well; "sk-nano-" alone is not.
_PART_CHARACTERS: Final = 12
_MARK: Final = "[redacted]"
# How often a text is decoded in search of the key: an escape can be escaped again.
_ROUNDS: Final = 5
_ESCAPED: Final = re.compile(r"\\+(?:u00([0-9a-fA-F]{2})|x([0-9a-fA-F]{2})|([!#-/:-@^-`{-~]))")
_BASE64: Final = re.compile(r"[A-Za-z0-9+/_=-]*")
_URL_SAFE: Final = str.maketrans("+/", "-_")


class Secret(str):
    """
    Text whose repr does not show it, and that is not pickled.

    Tracebacks with local variables, debuggers and error trackers print reprs, also those of the HTTP client's
    own frames.
    """

    __slots__ = ()

    def __repr__(self) -> str:
        return repr(_MARK)

    def __reduce__(self) -> NoReturn:
        # Whatever holds a key, as the options and the resources of a client do, would take it along.
        raise not_pickled()

    def __reduce_ex__(self, protocol: object) -> NoReturn:
        self.__reduce__()

    def __copy__(self) -> Self:
        return self

    def __deepcopy__(self, memo: object) -> Self:
        return self


class Redactor:
    """
    Replaces one secret, in every spelling that decodes to it: as it is, in either case, with characters escaped as in
    JSON, URLs and HTML, escapes of escapes, in hexadecimal digits, and in base64 of any text that holds it.

    Args:
        secret: None, or a text too short to be one, replaces nothing.
    """

    def __init__(self, secret: str | None) -> None:
        self._secret = Secret(secret) if secret and len(secret) >= _LEAST_CHARACTERS else None
        if self._secret is not None:
            part = self._secret[:_PART_CHARACTERS]
            self._whole = _Finder(self._secret, self._secret)
            self._begun = _Finder(self._secret, part)

    def body(self, body: bytes | bytearray) -> bytes:
        """Return *body* without the secret, for decoding: what a service echoes shows up in no field."""
        if self._secret is None:
            return bytes(body)
        text = body.decode(json.detect_encoding(bytes(body[:4])), "replace")
        if not self._whole.is_in(text):
            return bytes(body)
        with contextlib.suppress(ValueError, RecursionError):
            text = json.dumps(self.value(json.loads(text)), separators=(",", ":"))
        return self.text(text).encode("utf-8", "replace")

    def text(self, text: str) -> str:
        """Return *text* without the secret."""
        return text if self._secret is None else self._whole.replace(text)

    def excerpt(self, text: str) -> str:
        """Return *text*, which may have been cut, without the secret and without its beginning."""
        return text if self._secret is None else self._begun.replace(text)

    def value(self, value: object) -> object:
        """Return a JSON value without the secret, names included; the very same where it does not hold it."""
        return self._clean(value, self._whole) if self._secret is not None else value

    def error(self, error: BaseException) -> None:
        """Replace the secret in the texts of *error* and of what it was caused by."""
        links: list[BaseException | None] = [error]
        seen: list[BaseException] = []
        while links and self._secret is not None:
            link = links.pop()
            if link is None or any(link is known for known in seen):
                continue
            seen.append(link)
            if (args := self._clean(link.args, self._begun)) is not link.args:
                link.args = cast("tuple[object, ...]", args)
            for name, value in list(vars(link).items()):
                if (clean := self._clean(value, self._begun)) is not value:
                    setattr(link, name, clean)
            links += [link.__cause__, link.__context__]

    def _clean(self, value: object, finder: _Finder, depth: int = 0) -> object:
        # What is nested deeper than JSON may be here has been refused, or is a circle.
        if depth > 100:
            return _MARK
        if isinstance(value, str):
            return finder.replace(value)
        if isinstance(value, bytes | bytearray):
            text = value.decode("latin-1")
            clean_text = finder.replace(text)
            return value if clean_text == text else clean_text.encode("latin-1", "replace")
        if isinstance(value, dict):
            items = cast("Mapping[object, object]", value).items()
            clean = [(self._clean(k, finder, depth + 1), self._clean(v, finder, depth + 1)) for k, v in items]
            same = all(k is was_k and v is was_v for (k, v), (was_k, was_v) in zip(clean, items, strict=True))
            return cast("object", value) if same else dict(clean)
        if type(value) in (list, tuple):
            values = cast("list[object] | tuple[object, ...]", value)
            cleaned = [self._clean(item, finder, depth + 1) for item in values]
            same = all(item is was for item, was in zip(cleaned, values, strict=True))
            return values if same else type(values)(cleaned)
        return value


NO_SECRET: Final = Redactor(None)


class _Finder:
    """Finds *part*, the beginning of *secret*, with as much of the rest as follows."""

    def __init__(self, secret: str, part: str) -> None:
        self._secret, self._part = Secret(secret), part
        self._folded = part.casefold()
        self._hex = part.encode().hex()
        inner = (_inner_base64(part, shift) for shift in range(3))
        self._base64 = tuple({text for plain in inner for text in (plain, plain.translate(_URL_SAFE))})

    def is_in(self, text: str) -> bool:
        """Return whether *text*, or what it decodes to, holds the part."""
        for _ in range(_ROUNDS):
            folded = text.casefold()
            if (
                self._folded in folded
                or self._hex in folded
                or any(encoded in text for encoded in self._base64)
            ):
                return True
            if "%" not in text and "\\" not in text and "&" not in text:
                return False
            decoded = html.unescape(_ESCAPED.sub(_unescaped, unquote(text)))
            if decoded == text:
                return False
            text = decoded
        return False

    def replace(self, text: str) -> str:
        """Return *text* with a mark in place of each occurrence; a mark alone where it holds the secret in a way of its own."""
        if not self.is_in(text):
            return text
        pieces: list[str] = []
        place = 0
        for found in self._pattern().finditer(text):
            if found.start() < place:
                continue
            pieces += [text[place : found.start()], _MARK]
            place = self._end(text, found)
        clean = "".join([*pieces, text[place:]])
        return _MARK if self.is_in(clean) else clean

    def _pattern(self) -> re.Pattern[str]:
        # Made when something was found, which is rare, and by `re` kept: no attribute holds it.
        spelled = "".join(map(_spellings, self._part))
        encoded = "|".join(map(re.escape, self._base64))
        return re.compile(
            f"(?P<plain>{spelled})|(?P<hex>{self._hex})|(?-i:(?P<base64>{encoded}))", re.IGNORECASE
        )

    def _end(self, text: str, found: re.Match[str]) -> int:
        """Return where the secret ends that begins with *found*."""
        end = found.end()
        if found["base64"]:
            rest = _BASE64.match(text, end)
            return rest.end() if rest and len(self._part) < len(self._secret) else end
        for character in self._secret[len(self._part) :]:
            spelled = f"{ord(character):02x}" if found["hex"] else _spellings(character)
            following = re.compile(spelled, re.IGNORECASE).match(text, end)
            if following is None:
                return end
            end = following.end()
        return end


def not_pickled() -> ConfigurationError:
    """Return the error that pickling a client, or a part of one, raises."""
    return ConfigurationError(
        "a client holds connections and a key and cannot be pickled; make one per process."
    )


def _spellings(character: str) -> str:
    """Return a pattern of the ways in which *character* can be written."""
    code, plain = ord(character), re.escape(character)
    return (
        rf"(?:{plain}|%(?:25)*{code:02x}|\\+(?:u00{code:02x}|x{code:02x}|{plain})"
        rf"|&(?:amp;)*#(?:x0*{code:x}|0*{code});?)"
    )


def _inner_base64(text: str, shift: int) -> str:
    """Return what base64 of any text shows of *text*, where *shift* bytes modulo three stand before it."""
    encoded = base64.b64encode(b"\0" * shift + text.encode()).decode().rstrip("=")
    first = (0, 2, 3)[shift]
    whole = (shift + len(text)) % 3 == 0
    return encoded[first:] if whole else encoded[first:-1]


def _unescaped(found: re.Match[str]) -> str:
    code = found[1] or found[2]
    return chr(int(code, 16)) if code else found[3]
