"""SQLite's errors as this package's, each with its way out."""

from __future__ import annotations

import sqlite3
from pathlib import Path

from ...errors import JournalError, OutputError

BUSY_TIMEOUT_S = 60
"""How long one process waits for another's commit."""


def translate(error: sqlite3.Error, path: Path) -> JournalError | OutputError:
    """The error of this package for *error*, with the way out."""
    text = str(error)
    code = getattr(error, "sqlite_errorname", "") or ""
    if code.startswith(("SQLITE_FULL", "SQLITE_IOERR")):
        return JournalError(
            f"{path} could not be written ({text}). Free space on the disk, then run the same batch again:"
            " it resumes, and requests under way are listed as unknown."
        )
    if code.startswith(("SQLITE_READONLY", "SQLITE_CANTOPEN", "SQLITE_PERM")):
        return OutputError(
            f"{path} cannot be opened for writing ({text}). Nothing was sent. Check the directory's permissions,"
            " and how many files this process may open."
        )
    if code.startswith(("SQLITE_BUSY", "SQLITE_LOCKED")):
        return JournalError(
            f"{path} stayed locked by another process for {BUSY_TIMEOUT_S} s ({text}). Close whatever has it open."
        )
    if code.startswith(("SQLITE_CORRUPT", "SQLITE_NOTADB")):
        return damaged(path, text)
    return JournalError(f"{path} could not be used: {text}.")


def damaged(path: Path, finding: str) -> JournalError:
    """The error for a database file whose content is broken."""
    return JournalError(
        f"{path} is damaged ({finding}). Nothing was sent. Restore a copy, or save what is left with"
        f" `sqlite3 {path.name} .recover`; images and results.jsonl in {path.parent} are intact. A fresh"
        " directory starts over and pays again for what is done."
    )
