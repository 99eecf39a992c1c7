"""The lines of a file of text: unpacked, decoded by their byte order mark, and never longer than a limit."""

from __future__ import annotations

import codecs
import gzip
import importlib
import importlib.util
import io
import zlib
from collections import deque
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO, Final, Self, cast

from ..._base.display import install_hint
from ...errors import ConfigurationError, ManifestError

_MARKS: Final = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
PACKED: Final = (".gz", ".zst")


@contextmanager
def reading(path: Path) -> Generator[None]:
    """Raise ManifestError for what goes wrong with the file *path* as a whole within the block."""
    try:
        yield
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise ManifestError(f"{path} is not whole ({error}).") from error
    except OSError as error:
        raise ManifestError(f"{path} cannot be read: {error.strerror or error}.") from error


def open_bytes(path: Path) -> BinaryIO:
    """
    Open a file for reading, unpacked where its name ends in `.gz` or `.zst`.

    Raises:
        ConfigurationError: `.zst` needs the extra `parquet`.
        OSError: It cannot be opened.
    """
    suffix = path.suffix.lower()
    if suffix == ".gz":
        return cast("BinaryIO", gzip.open(path, "rb"))
    if suffix == ".zst":
        packed = pyarrow("pyarrow", needed_for=".zst").input_stream(str(path), compression="zstd")
        return cast("BinaryIO", io.BufferedReader(packed))
    return path.open("rb")


def pyarrow(module: str, *, needed_for: str) -> Any:
    """
    Load a module of pyarrow, which ships no types.

    Raises:
        ConfigurationError: It is not installed.
    """
    if importlib.util.find_spec("pyarrow") is None:
        raise ConfigurationError(f"a manifest in {needed_for} needs pyarrow: {install_hint('parquet')}.")
    return importlib.import_module(module)


class Lines(Iterator[str]):
    """The decoded lines of a file, line ends included; `number` is that of the last one."""

    def __init__(self, file: Path, max_bytes: int) -> None:
        raw: Any = open_bytes(file)
        try:
            stream: Any = raw if hasattr(raw, "peek") else io.BufferedReader(raw)
            head = stream.peek(1)
        except BaseException:
            raw.close()
            raise
        self._encoding = next((name for mark, name in _MARKS if head.startswith(mark)), "utf-8")
        # What is not UTF-8 must be named by its line, so it is decoded all the same, and found there.
        errors = "strict" if self._encoding == "utf-16" else "surrogateescape"
        # A carriage return ends lines only where nothing else does: elsewhere it is a character of its line.
        newline = "\r" if b"\r" in head and b"\n" not in head else "\n"
        self._text: io.TextIOWrapper[Any] = io.TextIOWrapper(stream, self._encoding, errors, newline=newline)
        self._raw: Any = raw
        self.max_bytes = max_bytes
        self._again: deque[str] = deque()
        self.number = 0
        self.record_bytes = 0

    def __next__(self) -> str:
        if self._again:
            self.number += 1
            return self._again.popleft()
        try:
            text = self._text.readline(self.max_bytes + 1)
        except UnicodeError:
            self.number += 1
            raise self.fault("is not UTF-16, as the file's byte order mark says") from None
        if not text:
            raise StopIteration
        self.number += 1
        self.record_bytes += _size(text)
        if self.record_bytes > self.max_bytes:
            raise self.fault(f"is longer than {self.max_bytes:,} bytes")
        return self._checked(text)

    def text(self, characters: int) -> str:
        """Return the next *characters*, whatever lines they are of; fewer only at the end."""
        try:
            text = self._text.read(characters)
        except UnicodeError:
            raise self.fault("is not UTF-16, as the file's byte order mark says") from None
        self.number += text.count("\n")
        return self._checked(text)

    def _checked(self, text: str) -> str:
        if not text.isascii():
            try:
                text.encode()
            except UnicodeEncodeError:
                raise self.fault("is not UTF-8; save the file as UTF-8") from None
        if "\0" in text:
            raise self.fault("holds a NUL character; save the file as UTF-8 text")
        return text

    def put_back(self, lines: list[str]) -> None:
        """Give *lines*, the last that were read, once more."""
        self._again.extendleft(reversed(lines))
        self.number -= len(lines)

    def records(self) -> Iterator[str]:
        """Yield the lines that are a record each: with what is blank left out."""
        for text in self:
            self.record_bytes = 0
            if text.strip():
                yield text

    def fault(self, what: str) -> ManifestError:
        """Make an error about the last line."""
        return ManifestError(f"line {self.number} {what}.", line=self.number)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self._text.close()
        self._raw.close()


def _size(text: str) -> int:
    return len(text) if text.isascii() else len(text.encode("utf-8", "surrogateescape"))
