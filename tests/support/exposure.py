"""Where a secret could turn up: everything that a person or a program can see of a run."""

from __future__ import annotations

import base64
import contextlib
import html
import logging
import pickle
import re
import traceback
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from urllib.parse import quote, unquote


class Ear(logging.Handler):
    """Hears all log records, of every level, with what their tracebacks tell."""

    def __init__(self) -> None:
        super().__init__(logging.DEBUG)
        self.heard: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.heard.append(f"{record.getMessage()} {vars(record)!r}")
        if record.exc_info and record.exc_info[1] is not None:
            self.heard += shown(record.exc_info[1])


@contextlib.contextmanager
def listening() -> Iterator[Ear]:
    """Have the package, aiohttp and asyncio log all they can."""
    ear = Ear()
    names = ("nanogpt_images", "aiohttp", "aiohttp.client", "asyncio")
    levels = {name: logging.getLogger(name).level for name in names}
    logging.getLogger().addHandler(ear)
    for name in names:
        logging.getLogger(name).setLevel(logging.DEBUG)
    try:
        yield ear
    finally:
        logging.getLogger().removeHandler(ear)
        for name, level in levels.items():
            logging.getLogger(name).setLevel(level)


def shown(thing: object) -> list[str]:
    """What can be seen of an object; of an error also its traceback, with the local variables of each frame."""
    texts = [str(thing), repr(thing)]
    with contextlib.suppress(Exception):
        texts.append(pickle.dumps(thing).decode("latin-1"))
    if isinstance(thing, BaseException):
        texts.append(repr(vars(thing)))
        trace = traceback.TracebackException.from_exception(thing, capture_locals=True)
        texts.append("".join(trace.format()))
    return texts


def contents(directory: Path) -> list[str]:
    """Every file below a directory, byte for byte, and its name."""
    files = [path for path in directory.rglob("*") if path.is_file()]
    return [f"{path} {path.read_bytes().decode('latin-1')}" for path in files]


SPELLINGS: Mapping[str, Callable[[str], str]] = {
    "plain": lambda key: key,
    "upper case": lambda key: key.upper(),
    "JSON escapes": lambda key: "".join(f"\\u{ord(char):04x}" for char in key),
    "one JSON escape": lambda key: f"\\u{ord(key[0]):04X}{key[1:]}",
    "escaped escapes": lambda key: "".join(f"\\\\u{ord(char):04x}" for char in key),
    "hexadecimal escapes": lambda key: "".join(f"\\\\x{ord(char):02x}" for char in key),
    "percent": lambda key: "".join(f"%{ord(char):02X}" for char in key),
    "one percent": lambda key: f"{key[:3]}%{ord(key[3]):02x}{key[4:]}",
    "percent twice": lambda key: quote("".join(f"%{ord(char):02x}" for char in key)),
    "percent within JSON": lambda key: "".join(f"\\u0025{ord(char):02x}" for char in key),
    "HTML": lambda key: "".join(f"&#{ord(char)};" for char in key),
    "HTML twice": lambda key: "".join(f"&amp;#x{ord(char):x};" for char in key),
    "base64": lambda key: base64.b64encode(f"Bearer {key}".encode()).decode(),
    "base64, shifted": lambda key: base64.b64encode(f"user:{key} and more".encode()).decode(),
    "base64, further": lambda key: base64.b64encode(f"x{key}.".encode()).decode(),
    "base64 for URLs": lambda key: base64.urlsafe_b64encode(f"Bearer {key}".encode()).decode().rstrip("="),
    "hexadecimal": lambda key: key.encode().hex(),
}
"""Ways in which a service can repeat a key within a JSON string; each decodes to it."""


def reveals(text: str, key: str) -> bool:
    """Whether *text* holds *key*, or becomes it by decoding; written without a look at how it is kept out."""
    texts = [text]
    for _ in range(3):
        texts += [unquote(texts[-1]), html.unescape(texts[-1])]
        texts.append(
            re.sub(r"\\+[ux](?:00)?([0-9a-fA-F]{2})", lambda found: chr(int(found[1], 16)), texts[-1])
        )
    for run in re.findall(r"[A-Za-z0-9+/_-]{16,}", text):
        with contextlib.suppress(ValueError):
            texts.append(bytes.fromhex(run).decode("latin-1"))
        for start in range(4):
            plain = run[start:].translate(str.maketrans("-_", "+/"))
            texts.append(base64.b64decode(plain[: len(plain) // 4 * 4]).decode("latin-1"))
            with contextlib.suppress(ValueError):
                texts.append(base64.b64decode(plain + "=" * (-len(plain) % 4)).decode("latin-1"))
    return any(key.casefold() in found.casefold() for found in texts)
