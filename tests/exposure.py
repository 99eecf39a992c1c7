"""Where a secret could turn up: everything that a person or a program can see of a run."""

from __future__ import annotations

import contextlib
import logging
import pickle
import traceback
from collections.abc import Iterator
from pathlib import Path


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
