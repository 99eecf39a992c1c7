"""How a database file is opened, and what makes its commits last."""

from __future__ import annotations

import os
import sqlite3
import time
from pathlib import Path

from .faults import BUSY_TIMEOUT_S


def open_file(path: Path, *, read_only: bool, any_thread: bool = False) -> sqlite3.Connection:
    """
    Open *path* without implicit transactions; made where it is missing, unless read-only.

    Args:
        path: The database file.
        read_only: Change nothing.
        any_thread: Not for the calling thread alone; the caller uses it in one at a time.
    """
    mode = "mode=ro" if read_only else "mode=rwc"
    if read_only and not os.access(path.parent, os.W_OK) and not path.with_name(path.name + "-wal").exists():
        # Without a write-ahead log and without the right to make one, SQLite reads the bare file only so.
        mode = "immutable=1"
    uri = f"{path.resolve().as_uri()}?{mode}"
    return sqlite3.connect(
        uri, uri=True, timeout=BUSY_TIMEOUT_S, isolation_level=None, check_same_thread=not any_thread
    )


def make_durable(connection: sqlite3.Connection) -> None:
    """Write ahead, and put each commit on the disk itself."""
    _use_write_ahead_log(connection)
    connection.execute("PRAGMA synchronous = FULL")
    # A checkpoint writes each changed page once; with random keys, rare checkpoints save most of the writing.
    connection.execute("PRAGMA wal_autocheckpoint = 8192")


def _use_write_ahead_log(connection: sqlite3.Connection) -> None:
    # Of two processes that make the file at the same moment one is refused at once: here SQLite does not wait.
    deadline = time.monotonic() + BUSY_TIMEOUT_S
    while True:
        try:
            connection.execute("PRAGMA journal_mode = WAL")
        except sqlite3.OperationalError as error:
            busy = getattr(error, "sqlite_errorcode", 0) & 0xFF == sqlite3.SQLITE_BUSY
            if not busy or time.monotonic() > deadline:
                raise
            time.sleep(0.01)
        else:
            return
