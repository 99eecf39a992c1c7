"""The processes that work on a journal: who is alive, who died, and what becomes of what they held."""

from __future__ import annotations

import os
import secrets
import socket
import sqlite3
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

from ...._base.file_lock import ProcessLock, forget, is_alive
from ....errors import Charge, JournalError, OutputError
from ...states import Event, State, advance
from ..records import Holder

_DEAD_TEXT = "The process that had sent it ended before an answer arrived."


class Processes:
    """
    The table `process` and the locks beside it. Its methods run inside a transaction.

    Attributes:
        own_id: This process in the table; 0 where it only reads.
        gone: Processes that died unrecorded, for one that only reads and records nothing either.
        peers: SQL condition on `process`: those that took part at the same time as this one.
        found_dead: Whether a process had died when this one came.
    """

    own_id: int
    found_dead: bool
    gone: frozenset[int]
    peers: str

    def __init__(self, connection: sqlite3.Connection, directory: Path, clock: Callable[[], float]) -> None:
        """Prepare only: `enter` takes part, `look` reads."""
        self._connection = connection
        self._directory = directory
        self._clock = clock
        self._lock: ProcessLock | None = None
        self.own_id = 0
        self.gone = frozenset()
        self.peers = "false"
        self.found_dead = False

    def look(self) -> None:
        """Find out which processes died, and change nothing."""
        self.gone = frozenset(identity for identity, token in self._unended() if not self._lives(token))

    def enter(self, *, join: bool) -> bool:
        """
        Take part.

        Args:
            join: Also beside other living processes.

        Returns:
            Whether this process is alone.

        Raises:
            JournalError: Another process is at work, and *join* is False.
            OutputError: The directory gives no locks.
        """
        self.found_dead = self.bury_dead()
        holders = self.holders()
        if holders and not join:
            raise _in_use(self._directory, holders[0])
        token = f"{os.getpid()}-{secrets.token_hex(8)}"
        try:
            self._lock = ProcessLock(self._directory, token)
        except OSError as error:
            raise OutputError(
                f"{self._directory} gives no lock for a file ({error.strerror or error}), and without one two"
                " processes could pay for the same request.",
                advice="Choose a local disk.",
            ) from error
        added = self._connection.execute(
            "INSERT INTO process (token, pid, host, started_at) VALUES (?, ?, ?, ?)",
            (token, os.getpid(), socket.gethostname(), self._clock()),
        )
        self.own_id = added.lastrowid or 0
        present = ", ".join(str(identity) for identity, _ in self._unended())
        self.peers = f"(id > {self.own_id} OR id IN ({present}))"
        return not holders

    def bury_dead(self) -> bool:
        """
        Record processes that died; what they had sent is unknown from now on, the rest of theirs is free.

        Returns:
            Whether there was one.
        """
        dead = [each for each in self._unended() if each[0] != self.own_id and not self._lives(each[1])]
        for identity, token in dead:
            self._bury(identity, token)
        return bool(dead)

    def holders(self) -> list[Holder]:
        """List the living processes, this one included."""
        living = {identity for identity, token in self._unended() if self._lives(token)}
        found = self._connection.execute("SELECT id, pid, host, started_at FROM process ORDER BY id")
        return [
            Holder(pid=pid, host=host, started_at=started_at)
            for identity, pid, host, started_at in found
            if identity in living
        ]

    def running(self) -> frozenset[int]:
        """Return the processes that the table does not list as ended, this one included."""
        return frozenset(identity for identity, _ in self._unended())

    def relied_on(self) -> frozenset[int]:
        """Return the processes that ended while a running one took part, which therefore counts on their units."""
        found = self._connection.execute(
            f"SELECT id FROM process WHERE {self.peers} OR ended_at >"  # noqa: S608
            " (SELECT min(started_at) FROM process WHERE ended_at IS NULL AND id != ?)",
            (self.own_id,),
        )
        return frozenset(identity for (identity,) in found)

    def leave(self) -> bool:
        """Leave the job; return True where no process is left."""
        for identity, token in self._unended():
            if identity == self.own_id:
                self._bury(identity, token)
        self.bury_dead()
        return not self._unended()

    def drop(self) -> None:
        """Release the lock; outside a transaction, and always."""
        if self._lock is not None:
            self._lock.release()
            self._lock = None

    def _bury(self, identity: int, token: str) -> None:
        now = self._clock()
        self._connection.execute("UPDATE process SET ended_at = ? WHERE id = ?", (now, identity))
        self._connection.execute(
            "UPDATE unit SET state = ?, charge = ?, error_type = 'Interrupted', error_text = ?, updated_at = ?"  # noqa: S608
            f" WHERE state = '{State.SENT.value}' AND owner = ?",
            (
                *(advance(State.SENT, Event.UNRESOLVED).value, Charge.UNKNOWN.value),
                *(_DEAD_TEXT, now, identity),
            ),
        )
        forget(self._directory, token)

    def _unended(self) -> list[tuple[int, str]]:
        return self._connection.execute("SELECT id, token FROM process WHERE ended_at IS NULL").fetchall()

    def _lives(self, token: str) -> bool:
        return is_alive(self._directory, token)


def _in_use(directory: Path, holder: Holder) -> JournalError:
    since = datetime.fromtimestamp(holder.started_at, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
    return JournalError(
        f"{directory} is in use by process {holder.pid} on {holder.host} since {since}.",
        advice="Wait until it ends, or take part in its work with --join (join=True).",
    )
