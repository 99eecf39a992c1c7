"""The database file of a ledger: its tables, its version, and how it is opened or refused."""

from __future__ import annotations

import os
import sqlite3
from pathlib import Path
from typing import Final

from ..._base.database.connection import make_durable, open_file
from ..._base.database.faults import LEDGER, damaged, translate
from ...errors import LedgerError

APPLICATION_ID: Final = 0x4E474C47
"""Marks the file as a ledger of this package (SQLite's `application_id`)."""
VERSION: Final = 1
"""Version of the tables below (SQLite's `user_version`)."""

_QUICK_CHECK_MAX_BYTES: Final = 16 << 20

# `name` is `key:…` of the caller, `auto:CONTENT:SAMPLE`, or `once:…` for a request that is never taken for a repeat.
# `given` says which request of which job was given which paid call, so that no job is given one twice.
_TABLES: Final = """
CREATE TABLE meta (name TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE entry (
    seq INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE, content TEXT NOT NULL, sample INTEGER,
    request TEXT NOT NULL, state TEXT NOT NULL, charge TEXT NOT NULL DEFAULT '', owner TEXT,
    cost_nano INTEGER NOT NULL DEFAULT 0, request_id TEXT, error_type TEXT, error_text TEXT,
    attempts INTEGER NOT NULL DEFAULT 0, sent_at REAL NOT NULL, ended_at REAL,
    pruned INTEGER NOT NULL DEFAULT 0, answer TEXT NOT NULL DEFAULT '{}'
);
CREATE INDEX entry_content ON entry (content, seq) WHERE state = 'done' AND pruned = 0;
CREATE INDEX entry_unfinished ON entry (state, seq) WHERE state IN ('sent', 'linked', 'unknown');
CREATE TABLE image (
    entry INTEGER NOT NULL, idx INTEGER NOT NULL, sha256 TEXT NOT NULL, suffix TEXT NOT NULL, media_type TEXT,
    width INTEGER, height INTEGER, bytes INTEGER NOT NULL,
    PRIMARY KEY (entry, idx)
) WITHOUT ROWID;
CREATE TABLE given (
    job TEXT NOT NULL, unit TEXT NOT NULL, entry INTEGER NOT NULL, UNIQUE (job, entry), PRIMARY KEY (job, unit)
) WITHOUT ROWID;
"""


def connect(path: Path, *, read_only: bool = False) -> sqlite3.Connection:
    """
    Open the ledger at *path*; made where there is none, unless *read_only*.

    Raises:
        LedgerError: No ledger, a damaged one, or one of a newer version.
        OutputError: The file cannot be opened or written.
    """
    if read_only and not os.path.isfile(path):
        raise LedgerError(f"there is no ledger at {path}. Name the file that calls were made with (ledger=).")
    try:
        connection = open_file(path, read_only=read_only, any_thread=read_only)
    except sqlite3.DatabaseError as error:
        raise translate(error, path, LEDGER) from error
    try:
        _prepare(connection, path, read_only=read_only)
    except sqlite3.DatabaseError as error:
        connection.close()
        raise translate(error, path, LEDGER) from error
    except BaseException:
        connection.close()
        raise
    return connection


def _prepare(connection: sqlite3.Connection, path: Path, *, read_only: bool) -> None:
    _check_identity(connection, path)
    if path.stat().st_size <= _QUICK_CHECK_MAX_BYTES:
        finding = connection.execute("PRAGMA quick_check(1)").fetchone()
        if finding != ("ok",):
            raise damaged(path, str(finding[0]), LEDGER)
    if read_only:
        if _number(connection, "PRAGMA user_version") == 0:
            raise LedgerError(f"{path} is empty: no call was made with it.")
        return
    make_durable(connection)
    connection.execute("BEGIN IMMEDIATE")
    if _number(connection, "PRAGMA user_version") == 0:
        for statement in _TABLES.split(";")[:-1]:
            connection.execute(statement)
        connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
        connection.execute(f"PRAGMA user_version = {VERSION}")
    connection.execute("COMMIT")


def _check_identity(connection: sqlite3.Connection, path: Path) -> None:
    # One snapshot for the three: another process may be making the tables at this very moment.
    connection.execute("BEGIN")
    tables = _number(connection, "SELECT count(*) FROM sqlite_master")
    application_id = _number(connection, "PRAGMA application_id")
    version = _number(connection, "PRAGMA user_version")
    connection.execute("COMMIT")
    if application_id != APPLICATION_ID and (tables or version):
        raise LedgerError(
            f"{path} is a database, but not a ledger of paid calls. Nothing was sent. Choose another file."
        )
    if version > VERSION:
        raise LedgerError(
            f"{path} was written by a newer version of nanogpt_images (ledger version {version}; this one reads up to"
            f" {VERSION}). Nothing was sent. Upgrade the package, or choose another file."
        )


def _number(connection: sqlite3.Connection, query: str) -> int:
    return int(connection.execute(query).fetchone()[0])
