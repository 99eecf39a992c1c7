"""The database file of a journal: its tables, its version, and how it is opened or refused."""

from __future__ import annotations

import os
import sqlite3
from pathlib import Path

from ...._base.database.connection import make_durable, open_file
from ...._base.database.faults import damaged, translate
from ....errors import Charge, JournalError
from ...states import State

FILE_NAME = "journal.db"
APPLICATION_ID = 0x4E474A4C
"""Marks the file as a journal of this package (SQLite's `application_id`)."""
VERSION = 2
"""Version of the tables below (SQLite's `user_version`)."""

FOLLOWED = f"state IN ('{State.UNKNOWN.value}', '{State.FAILED.value}') AND links IS NOT NULL"
"""A request that did not end well, and whose answer brought signed URLs that are still to be downloaded."""

OF_THIS_PURCHASE = (
    "image.unit = unit.seq AND (image.attempt = unit.attempts OR unit.images > (SELECT count(DISTINCT idx)"
    " FROM image AS old WHERE old.unit = unit.seq AND old.attempt < unit.attempts AND old.idx < unit.images))"
)
"""Images of a request that count for what is being bought. Where earlier attempts have all of them already, it was done
once and is made again: those are the old ones."""

_QUICK_CHECK_MAX_BYTES = 16 << 20
_IN_FLIGHT = f"'{State.SENT.value}', '{State.LINKED.value}', '{State.FAILED.value}', '{State.UNKNOWN.value}'"

# Money is integer nano-USD. `planned_nano` is what a unit was expected to cost when it came in, NULL where the
# catalogue had no price for it. `cost_nano` and `reserved_nano` are those of the current attempt, the `earlier_…`
# columns sum up the attempts before a retry: known costs, and the worst case of those that stayed unknown.
# `tally` is kept by admission for new units and by a trigger for their changes, so that the sums of a million rows
# are read at once.
_TABLES = f"""
CREATE TABLE meta (name TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE process (
    id INTEGER PRIMARY KEY, token TEXT NOT NULL, pid INTEGER NOT NULL, host TEXT NOT NULL,
    started_at REAL NOT NULL, ended_at REAL
);
CREATE TABLE unit (
    seq INTEGER PRIMARY KEY, id BLOB NOT NULL UNIQUE, row TEXT NOT NULL, n INTEGER,
    part INTEGER NOT NULL, parts INTEGER NOT NULL, images INTEGER NOT NULL,
    first_index INTEGER NOT NULL, replica INTEGER NOT NULL, planned_nano INTEGER,
    state TEXT NOT NULL, charge TEXT NOT NULL DEFAULT '', owner INTEGER, attempts INTEGER NOT NULL DEFAULT 0,
    reserved_nano INTEGER NOT NULL DEFAULT 0, cost_nano INTEGER NOT NULL DEFAULT 0,
    earlier_cost_nano INTEGER NOT NULL DEFAULT 0, earlier_unknown_nano INTEGER NOT NULL DEFAULT 0,
    request_id TEXT, error_type TEXT, error_text TEXT, links TEXT, linked_at REAL, updated_at REAL NOT NULL,
    sent_at REAL
);
CREATE INDEX unit_pending ON unit (seq) WHERE state = '{State.PENDING.value}';
CREATE INDEX unit_unfinished ON unit (state, seq) WHERE state IN ({_IN_FLIGHT});
CREATE TABLE image (
    unit INTEGER NOT NULL, attempt INTEGER NOT NULL, idx INTEGER NOT NULL, file TEXT NOT NULL,
    media_type TEXT NOT NULL, width INTEGER, height INTEGER, bytes INTEGER NOT NULL, sha256 TEXT NOT NULL,
    cost_nano INTEGER NOT NULL,
    UNIQUE (unit, attempt, idx)
);
CREATE TABLE stored (images INTEGER NOT NULL, results_bytes INTEGER NOT NULL);
INSERT INTO stored VALUES (0, 0);
CREATE TABLE tally (
    state TEXT NOT NULL, charge TEXT NOT NULL, units INTEGER NOT NULL DEFAULT 0, rows INTEGER NOT NULL DEFAULT 0,
    images INTEGER NOT NULL DEFAULT 0, planned_nano INTEGER NOT NULL DEFAULT 0,
    unpriced INTEGER NOT NULL DEFAULT 0, cost_nano INTEGER NOT NULL DEFAULT 0,
    reserved_nano INTEGER NOT NULL DEFAULT 0, unknown_nano INTEGER NOT NULL DEFAULT 0,
    PRIMARY KEY (state, charge)
) WITHOUT ROWID;
"""  # noqa: S608


def _tally(sign: str, record: str) -> str:
    return f"""
        UPDATE tally SET units = units {sign} 1, rows = rows {sign} ({record}.part = 0),
            images = images {sign} {record}.images,
            planned_nano = planned_nano {sign} coalesce({record}.planned_nano, 0),
            unpriced = unpriced {sign} ({record}.planned_nano IS NULL),
            cost_nano = cost_nano {sign} ({record}.cost_nano + {record}.earlier_cost_nano),
            reserved_nano = reserved_nano {sign} {record}.reserved_nano,
            unknown_nano = unknown_nano {sign} {record}.earlier_unknown_nano
        WHERE state = {record}.state AND charge = {record}.charge;"""  # noqa: S608 - constants of this module


_TRIGGERS = (
    f"""
CREATE TRIGGER unit_changed AFTER UPDATE OF state, charge, cost_nano, reserved_nano, images ON unit
BEGIN {_tally("-", "old")} {_tally("+", "new")} END
""",
    f"""
CREATE TRIGGER unit_dropped AFTER DELETE ON unit
BEGIN {_tally("-", "old")} END
""",
)


def connect(path: Path, *, read_only: bool = False) -> sqlite3.Connection:
    """
    Open the journal at *path*; create it where it does not exist.

    Args:
        path: The database file.
        read_only: Change nothing; the file must exist.

    Returns:
        A connection without implicit transactions, for the calling thread alone.

    Raises:
        JournalError: No journal, a damaged one, or one of a newer version.
        OutputError: The file cannot be opened or written.
    """
    if read_only and not os.path.isfile(path):  # pathlib's raises for a name that is too long
        raise _missing(path)
    try:
        connection = open_file(path, read_only=read_only)
    except sqlite3.DatabaseError as error:
        raise translate(error, path) from error
    try:
        _prepare(connection, path, read_only=read_only)
    except sqlite3.DatabaseError as error:
        connection.close()
        raise translate(error, path) from error
    except BaseException:
        connection.close()
        raise
    return connection


def _prepare(connection: sqlite3.Connection, path: Path, *, read_only: bool) -> None:
    _check_identity(connection, path)
    if path.stat().st_size <= _QUICK_CHECK_MAX_BYTES:
        _check_health(connection, path)
    connection.execute("PRAGMA cache_size = -16384")
    if read_only:
        if _number(connection, "PRAGMA user_version") == 0:
            # Its first process ended, or has not come so far as, to make the tables.
            raise _missing(path)
        if not _has_send_times(connection):
            connection.execute("CREATE TEMP VIEW unit AS SELECT *, NULL AS sent_at FROM main.unit")
        return
    make_durable(connection)
    connection.execute("BEGIN IMMEDIATE")
    if _number(connection, "PRAGMA user_version") == 0:
        _create(connection)
    elif not _has_send_times(connection):
        connection.execute("ALTER TABLE unit ADD COLUMN sent_at REAL")
    # Journals that were made before have it from now on; others ignore it.
    connection.execute(f"CREATE INDEX IF NOT EXISTS unit_followed ON unit (seq) WHERE {FOLLOWED}")
    connection.execute("COMMIT")
    # `division` uses it; it ends with the process and never touches the journal's file.
    connection.execute(
        "CREATE TEMP TABLE pass (content BLOB PRIMARY KEY, spare INTEGER NOT NULL, following INTEGER NOT NULL,"
        " replicas INTEGER NOT NULL) WITHOUT ROWID"
    )


def _check_identity(connection: sqlite3.Connection, path: Path) -> None:
    # One snapshot for the three: another process may be making the tables at this very moment.
    connection.execute("BEGIN")
    tables = _number(connection, "SELECT count(*) FROM sqlite_master")
    application_id = _number(connection, "PRAGMA application_id")
    version = _number(connection, "PRAGMA user_version")
    connection.execute("COMMIT")
    if application_id != APPLICATION_ID and (tables or version):
        raise JournalError(
            f"{path} is a database, but not the journal of a batch.",
            advice="Choose another directory.",
        )
    if 0 < version < VERSION:
        raise JournalError(
            f"{path} was written by an older version of nanogpt_images (journal version {version}; this one"
            f" keeps version {VERSION}).",
            advice="Finish it with that version, or choose another directory.",
        )
    if version > VERSION:
        raise JournalError(
            f"{path} was written by a newer version of nanogpt_images (journal version {version}; this one"
            f" reads up to {VERSION}).",
            advice="Upgrade the package, or choose another directory.",
        )


def _check_health(connection: sqlite3.Connection, path: Path) -> None:
    finding = connection.execute("PRAGMA quick_check(1)").fetchone()
    if finding != ("ok",):
        raise damaged(path, str(finding[0]))


def _create(connection: sqlite3.Connection) -> None:
    for statement in (*_TABLES.split(";")[:-1], *_TRIGGERS):
        connection.execute(statement)
    kinds = [(state.value, "") for state in State]
    kinds += [(state.value, charge.value) for state in (State.FAILED, State.UNKNOWN) for charge in Charge]
    connection.executemany("INSERT INTO tally (state, charge) VALUES (?, ?)", kinds)
    connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
    connection.execute(f"PRAGMA user_version = {VERSION}")


def _has_send_times(connection: sqlite3.Connection) -> bool:
    # Journals of this version were made without the column at first; nothing but durations depends on it.
    query = "SELECT count(*) FROM pragma_table_info('unit') WHERE name = 'sent_at'"
    return _number(connection, query) > 0


def _number(connection: sqlite3.Connection, query: str) -> int:
    return int(connection.execute(query).fetchone()[0])


def _missing(path: Path) -> JournalError:
    return JournalError(f"there is no journal in {path.parent}. Run a batch with this directory first.")
