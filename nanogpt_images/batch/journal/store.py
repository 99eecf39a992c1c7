"""The journal's database in the hands of one thread: transactions, and who takes part."""

from __future__ import annotations

import os
import secrets
import socket
import sqlite3
import time
from collections.abc import Callable, Generator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

from ...errors import Charge, JournalError, OutputError
from ..states import Event, State, advance
from . import results, schema
from .lease import Lease, forget, is_alive
from .records import Holder

_DEAD_TEXT = "The process that had sent it ended before an answer arrived."


class Store:
    """
    One connection and what belongs to it. Not thread-safe: made, used and closed by one thread.

    Attributes:
        directory: The batch's directory.
        connection: For the modules of this package, inside `transaction()`.
        process_id: This process in the table `process`; 0 where the journal is open for reading only.
        gone: Processes that died without a trace in the journal (reading only; otherwise they are recorded).
        commits: How many transactions were committed.
        started_at: When this process opened the journal (seconds since the epoch).
        peers: SQL condition on `process`: those that took part at the same time as this one.
    """

    directory: Path
    connection: sqlite3.Connection
    process_id: int
    gone: frozenset[int]
    commits: int
    started_at: float
    peers: str

    def __init__(
        self,
        directory: Path,
        *,
        service: str | None,
        join: bool = False,
        read_only: bool = False,
        clock: Callable[[], float] = time.time,
    ) -> None:
        """
        Open the journal in *directory*, and take part in it unless only reading.

        Raises:
            JournalError: No journal to read, or one that is in use, damaged, newer, or of another service.
            OutputError: The directory cannot be made or written.
        """
        self.directory = directory
        self.path = directory / schema.FILE_NAME
        self.read_only = read_only
        self.clock = clock
        self.process_id = 0
        self.gone = frozenset()
        self.peers = "false"
        self.commits = 0
        self.started_at = clock()
        self._lease: Lease | None = None
        self._lines: list[bytes] = []
        self._results_lag = False
        if not read_only:
            _make_directory(directory)
        self.connection = schema.connect(self.path, read_only=read_only)
        try:
            self._take_part(service, join=join)
        except sqlite3.Error as error:
            self._drop()
            raise schema.translate(error, self.path) from error
        except BaseException:
            self._drop()
            raise

    def _take_part(self, service: str | None, *, join: bool) -> None:
        if self.read_only:
            self._check_service(service)
            self.gone = frozenset(
                identity for identity, token in self._open_processes() if not self._lives(token)
            )
            return
        # Everything under the write lock: of two processes that start at once, one sees the other.
        with self.transaction():
            self._check_service(service)
            self.bury_dead()
            holders = self.holders()
            if holders and not join:
                raise JournalError(_in_use(self.directory, holders[0]))
            self._register()
            if not holders:
                results.mend(self.connection, self.directory)

    def _check_service(self, service: str | None) -> None:
        found = self.meta("service")
        if found is None and service is not None and not self.read_only:
            self.connection.execute("INSERT INTO meta VALUES ('service', ?)", (service,))
        if None not in (found, service) and found != service:
            raise JournalError(
                f"the journal in {self.directory} was made with {found}, and this client talks to {service}."
                " Nothing was sent. Use the same service, or choose another directory."
            )

    def _register(self) -> None:
        token = f"{os.getpid()}-{secrets.token_hex(8)}"
        try:
            self._lease = Lease(self.directory, token)
        except OSError as error:
            raise OutputError(
                f"{self.directory} gives no lock for a file ({error.strerror or error}), and without one two"
                " processes could pay for the same request. Nothing was sent. Choose a local disk."
            ) from error
        added = self.connection.execute(
            "INSERT INTO process (token, pid, host, started_at) VALUES (?, ?, ?, ?)",
            (token, os.getpid(), socket.gethostname(), self.started_at),
        )
        self.process_id = added.lastrowid or 0
        known = [str(identity) for identity, _ in self._open_processes()]
        self.peers = f"(id > {self.process_id} OR id IN ({', '.join(known)}))"

    @contextmanager
    def transaction(self) -> Generator[None]:
        """One commit for what happens inside, or none of it."""
        self.connection.execute("BEGIN" if self.read_only else "BEGIN IMMEDIATE")
        try:
            yield
            self._record_lines()
            self.connection.execute("COMMIT")
        except BaseException:
            self._lines.clear()
            if self.connection.in_transaction:
                self.connection.execute("ROLLBACK")
            raise
        self.commits += 1
        self._publish_lines()

    @contextmanager
    def savepoint(self) -> Generator[None]:
        """What happens inside fails alone, within `transaction()`."""
        lines = len(self._lines)
        self.connection.execute("SAVEPOINT step")
        try:
            yield
        except BaseException:
            del self._lines[lines:]
            # A full disk takes the whole transaction with it; then there is nothing left to roll back to.
            if self.connection.in_transaction:
                self.connection.execute("ROLLBACK TO step")
                self.connection.execute("RELEASE step")
            raise
        self.connection.execute("RELEASE step")

    def add_line(self, line: bytes) -> None:
        """Append *line* to `results.jsonl` once this transaction is committed."""
        self._lines.append(line)

    def _record_lines(self) -> None:
        if self._lines:
            self.connection.execute(
                "UPDATE stored SET images = images + ?, results_bytes = results_bytes + ?",
                (len(self._lines), sum(map(len, self._lines))),
            )

    def _publish_lines(self) -> None:
        # Once a write has failed the file has a gap; more lines behind it would hide that from its size.
        if self._lines and not self._results_lag:
            self._results_lag = not results.append(self.directory, self._lines)
        self._lines.clear()

    def meta(self, name: str) -> str | None:
        """A fact about the journal, such as `service`."""
        found = self.connection.execute("SELECT value FROM meta WHERE name = ?", (name,)).fetchone()
        return None if found is None else str(found[0])

    def bury_dead(self) -> None:
        """Record processes that died; what they had sent is unknown from now on, the rest of theirs is free."""
        now = self.clock()
        for identity, token in self._open_processes():
            if identity != self.process_id and not self._lives(token):
                self._bury(identity, token, now)

    def _bury(self, identity: int, token: str, now: float) -> None:
        self.connection.execute("UPDATE process SET ended_at = ? WHERE id = ?", (now, identity))
        self.connection.execute(
            "UPDATE unit SET state = ?, charge = ?, error_type = 'Interrupted', error_text = ?, updated_at = ?"  # noqa: S608
            f" WHERE state = '{State.SENT.value}' AND owner = ?",
            (advance(State.SENT, Event.UNRESOLVED).value, Charge.UNKNOWN.value, _DEAD_TEXT, now, identity),
        )
        forget(self.directory, token)

    def holders(self) -> list[Holder]:
        """The living processes that work on the journal, this one included."""
        living = [identity for identity, token in self._open_processes() if self._lives(token)]
        found = self.connection.execute(
            "SELECT id, pid, host, started_at FROM process ORDER BY id"
        ).fetchall()
        return [
            Holder(pid=pid, host=host, started_at=at)
            for identity, pid, host, at in found
            if identity in living
        ]

    def _open_processes(self) -> list[tuple[int, str]]:
        return self.connection.execute("SELECT id, token FROM process WHERE ended_at IS NULL").fetchall()

    def _lives(self, token: str) -> bool:
        return is_alive(self.directory, token)

    def close(self) -> None:
        """Leave: what is still under way is unknown, what was only claimed is free."""
        try:
            if self._lease is not None:
                self._leave()
        except sqlite3.Error as error:
            # Whatever could not be recorded is found out by the next process: the lock is gone all the same.
            raise schema.translate(error, self.path) from error
        finally:
            self._drop()

    def _leave(self) -> None:
        assert self._lease is not None
        with self.transaction():
            self._bury(self.process_id, self._lease.path.name, self.clock())
            self.bury_dead()
            if self._results_lag and not self._open_processes():
                results.mend(self.connection, self.directory)

    def _drop(self) -> None:
        if self._lease is not None:
            self._lease.release()
            self._lease = None
        self.connection.close()


def _make_directory(directory: Path) -> None:
    try:
        directory.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(
            f"{directory} cannot be made ({error.strerror or error}). Nothing was sent. Choose another directory."
        ) from error


def _in_use(directory: Path, holder: Holder) -> str:
    since = datetime.fromtimestamp(holder.started_at, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
    return (
        f"{directory} is in use by process {holder.pid} on {holder.host} since {since}. Nothing was sent."
        " Wait until it ends, or take part in its work with --join (join=True)."
    )
