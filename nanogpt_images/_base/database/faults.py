"""SQLite's errors as this package's, each with its way out."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Final

import attrs

from ...errors import JournalError, LedgerError, NanoGPTError, OutputError

BUSY_TIMEOUT_S = 60
"""How long one process waits for another's commit."""


@attrs.frozen(kw_only=True)
class Advice:
    """
    The way out where a database file cannot be used.

    Attributes:
        make: Its class of error.
        full: What to do once there is room on the disk again.
        damaged: What is lost with a broken file, and what is not; `{folder}` stands for its directory.
    """

    make: Callable[[str], NanoGPTError]
    full: str
    damaged: str


JOURNAL: Final = Advice(
    make=JournalError,
    full="then run the same batch again: it resumes, and requests in flight are listed as unknown.",
    damaged="images and results.jsonl in {folder} are intact. A fresh directory starts over and pays again for what is"
    " done.",
)
LEDGER: Final = Advice(
    make=LedgerError,
    full="then make the same call again. A call that was in flight is listed as unknown.",
    damaged="the images beside it are intact. A fresh ledger knows none of its keys and pays again for each.",
)


def translate(error: sqlite3.Error, path: Path, advice: Advice = JOURNAL) -> NanoGPTError:
    """The error of this package for *error*, with the way out."""
    text = str(error)
    code = getattr(error, "sqlite_errorname", "") or ""
    if code.startswith(("SQLITE_FULL", "SQLITE_IOERR")):
        return advice.make(f"{path} could not be written ({text}). Free space on the disk, {advice.full}")
    if code.startswith(("SQLITE_READONLY", "SQLITE_CANTOPEN", "SQLITE_PERM")):
        return OutputError(
            f"{path} cannot be opened for writing ({text}). Nothing was sent. Check the directory's permissions,"
            " and how many files this process may open."
        )
    if code.startswith(("SQLITE_BUSY", "SQLITE_LOCKED")):
        return advice.make(
            f"{path} stayed locked by another process for {BUSY_TIMEOUT_S} s ({text}). Close whatever has it open."
        )
    if code.startswith(("SQLITE_CORRUPT", "SQLITE_NOTADB")):
        return damaged(path, text, advice)
    return advice.make(f"{path} could not be used: {text}.")


def damaged(path: Path, finding: str, advice: Advice = JOURNAL) -> NanoGPTError:
    """The error for a database file whose content is broken."""
    return advice.make(
        f"{path} is damaged ({finding}). Nothing was sent. Restore a copy, or save what is left with"
        f" `sqlite3 {path.name} .recover`; {advice.damaged.format(folder=path.parent)}"
    )
