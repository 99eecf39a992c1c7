"""Where the bytes of an image go, from any source."""

from __future__ import annotations

from typing import Protocol


class Sink(Protocol):
    """Where the bytes of one image go; a `bytes` object it is given is never touched again."""

    def write(self, data: bytes, /) -> object: ...
