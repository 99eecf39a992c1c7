"""What can be read of JSON that breaks off."""

from __future__ import annotations

import re
from itertools import islice
from typing import Final

# Reading them takes a tenth of a second; what follows them counts as broken off.
_MOST_TOKENS: Final = 256 * 1024
# A string, or the quote of one that does not end, or what makes the structure.
_TOKEN: Final = re.compile(rb'"[^"\\]*+(?:\\.[^"\\]*+)*+"|["{}\[\],]', re.DOTALL)
_CLOSERS: Final = {b"{": b"}", b"[": b"]"}


def beginning(text: bytes) -> bytes:
    """
    Return the longest beginning of the object *text* whose members are whole, with its containers closed.

    What does not break off comes back as it is, and `{}` where nothing is whole. Of text that was never JSON the
    result need not be JSON either.
    """
    open_: list[bytes] = []
    end = depth = 0
    for token in islice(_TOKEN.finditer(text), _MOST_TOKENS):
        mark = token[0]
        if mark in _CLOSERS:
            open_.append(_CLOSERS[mark])
        elif mark in (b"}", b"]"):
            if not open_ or open_[-1] != mark:
                break
            open_.pop()
            end, depth = token.end(), len(open_)
        elif mark == b",":
            end, depth = token.start(), len(open_)
        elif mark == b'"':
            break
    # Whatever was opened since is above `depth`: a container that closes moves the end.
    return text[:end] + b"".join(reversed(open_[:depth])) if end else b"{}"
