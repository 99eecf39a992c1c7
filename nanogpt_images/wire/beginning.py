"""What can be read of JSON that breaks off."""

from __future__ import annotations

import re
from typing import Final

_MOST_BYTES: Final = 256 * 1024
# A string, or the quote of one that does not end, or what makes the structure.
_TOKEN: Final = re.compile(rb'"[^"\\]*(?:\\.[^"\\]*)*"|["{}\[\],]', re.DOTALL)
_CLOSERS: Final = {b"{": b"}", b"[": b"]"}


def beginning(text: bytes) -> bytes:
    """
    The longest beginning of the object *text* whose members are whole, with its containers closed.

    What does not break off comes back as it is, and `{}` where nothing is whole. Of text that was never JSON the
    result need not be JSON either.
    """
    open_: list[bytes] = []
    end, closers = 0, b"{}"
    for token in _TOKEN.finditer(text) if len(text) <= _MOST_BYTES else ():
        mark = token[0]
        if mark in _CLOSERS:
            open_.append(_CLOSERS[mark])
        elif mark in (b"}", b"]"):
            if not open_ or open_.pop() != mark:
                break
            end, closers = token.end(), b"".join(reversed(open_))
        elif mark == b",":
            end, closers = token.start(), b"".join(reversed(open_))
        elif mark == b'"':
            break
    return text[:end] + closers
