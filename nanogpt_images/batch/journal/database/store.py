"""The journal's database in the hands of one thread: opened, changed in transactions, left."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Callable, Generator, Set
from contextlib import contextmanager
from pathlib import Path

from ...._base.database.faults import translate
from ...._base.disk import make_directory
from ...._base.logs import get_logger
from ....errors import JournalError, NanoGPTError, OutputError
from ....transport.identity import may_replace
from ...rows import BatchRow
from .. import results
from . import schema
from .processes import Processes

_LOG = get_logger(__name__)


class Store:
    """
    One connection and what belongs to it. Not thread-safe: made, used and closed by one thread.

    Attributes:
        directory: The batch's directory.
        path: The database file.
        connection: For the modules of this package, inside `transaction()`.
        members: The processes that take part.
        is_new: Whether there were no units when it was opened, and the pass over rows is the first one.
        stray_stems: Stems of images that an earlier batch may have left to a new journal.
        followed: What the manifest whose rows are admitted stands under; None where rows come from elsewhere.
        followed_rows: How many of its rows were admitted in this pass.
        keeps_metadata: Whether columns that are not sent were left out of its rows from the beginning.
    """

    directory: Path
    path: Path
    connection: sqlite3.Connection
    members: Processes
    is_new: bool
    stray_stems: Set[str]
    followed: str | None
    followed_rows: int
    keeps_metadata: bool

    def __init__(
        self,
        directory: Path,
        *,
        service: str | None,
        join: bool = False,
        read_only: bool = False,
        adopt: Callable[[Store], object] | None = None,
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
        self.is_new = False
        self.stray_stems = frozenset()
        self.followed, self.followed_rows = None, 0
        self._lines: list[bytes] = []
        self._results_lag = self._relabelled = self._has_listed = False
        self.keeps_metadata = True
        self._adopt = adopt
        try:
            self._open(service, join=join)
        except NanoGPTError as error:
            error.says_charge = not read_only
            raise

    def _open(self, service: str | None, *, join: bool) -> None:
        if not self.read_only:
            make_directory(self.directory)
            if self._adopt is None and not self.path.exists():
                results.refuse(self.directory)
        self.connection = schema.connect(self.path, read_only=self.read_only)
        self.members = Processes(self.connection, self.directory, self.clock)
        try:
            self._take_part(service, join=join)
        except sqlite3.Error as error:
            self._drop()
            raise translate(error, self.path) from error
        except BaseException:
            self._drop()
            raise

    def _take_part(self, service: str | None, *, join: bool) -> None:
        if self.read_only:
            self._check_service(service)
            self.members.look()
            return
        # Everything under the write lock: of two processes that start at once, one sees the other.
        with self.transaction():
            self._check_service(service)
            alone = self.members.enter(join=join)
            if self._lists_nothing():
                if self._adopt is None:
                    results.refuse(self.directory)
                else:
                    self._adopt(self)
            self.is_new = not self.holds_units()
            if self._adopt is None:
                self.stray_stems = self._strays()
            if self.is_new:
                self.connection.execute("INSERT OR IGNORE INTO meta VALUES ('metadata', 'kept')")
            self.keeps_metadata = self.meta("metadata") is not None
            if alone:
                results.rewrite(self.connection, self.directory, after_crash=self.members.found_dead)

    def holds_units(self) -> bool:
        """Return whether the journal knows any request."""
        return bool(self.connection.execute("SELECT EXISTS (SELECT 1 FROM unit)").fetchone()[0])

    def _strays(self) -> Set[str]:
        """Return the stems of images that no journal knew when this one was made; a later run meets them too."""
        if not self.is_new and self.meta("beside_images") is None:
            return frozenset()
        stems = results.image_stems(self.directory)
        if stems:
            self.connection.execute("INSERT OR IGNORE INTO meta VALUES ('beside_images', 'yes')")
        return stems

    def _lists_nothing(self) -> bool:
        return bool(self.connection.execute("SELECT results_bytes = 0 FROM stored").fetchone()[0])

    def _check_service(self, service: str | None) -> None:
        found = self.meta("service")
        if service is None or found == service:
            return
        if found is not None and not may_replace(found, service):
            raise JournalError(
                f"the journal in {self.directory} was made with {found}, and this client talks to {service}.",
                advice="Use the same service, or choose another directory.",
            )
        if not self.read_only:
            self.connection.execute("INSERT OR REPLACE INTO meta VALUES ('service', ?)", (service,))

    @contextmanager
    def transaction(self) -> Generator[None]:
        """Commit what happens inside as one transaction, or none of it."""
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
        self._publish_lines()

    @contextmanager
    def savepoint(self) -> Generator[None]:
        """Let what happens inside fail alone, within `transaction()`."""
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

    def relabel(self, seq: int, row: BatchRow) -> None:
        """Keep with unit *seq* what *row* comes with now; `results.jsonl` follows when the journal is left."""
        text = row.to_json()
        changed = self.connection.execute(
            "UPDATE unit SET row = ?1 WHERE seq = ?2 AND row != ?1", (text, seq)
        ).rowcount
        if changed and not self._relabelled:
            listed = "SELECT EXISTS (SELECT 1 FROM image WHERE unit = ?)"
            (self._relabelled,) = self.connection.execute(listed, (seq,)).fetchone()
            if self._relabelled:
                # No list that has only grown has this size, so the next process that has the journal to itself rewrites it.
                self.connection.execute("UPDATE stored SET results_bytes = -1")

    def _record_lines(self) -> None:
        if self._lines:
            self.connection.execute(
                "UPDATE stored SET images = images + ?, results_bytes = results_bytes + ?",
                (len(self._lines), sum(map(len, self._lines))),
            )

    def _publish_lines(self) -> None:
        # Once a write has failed the file has a gap; more lines behind it would hide that from its size.
        if self._lines and not self._results_lag:
            self._has_listed = True
            self._results_lag = not results.append(self.directory, self._lines)
        self._lines.clear()

    def translate(self, error: sqlite3.Error) -> NanoGPTError:
        """The error of this package for *error*."""
        return translate(error, self.path)

    def meta(self, name: str) -> str | None:
        """Return a fact about the journal, such as `service`; None where it is not recorded."""
        found = self.connection.execute("SELECT value FROM meta WHERE name = ?", (name,)).fetchone()
        return None if found is None else str(found[0])

    def close(self) -> None:
        """
        Leave the job: requests in flight become unknown, requests that were only claimed become free.

        Raises:
            JournalError: Leaving could not be recorded. The next process finds out, because the lock is released anyway.
        """
        try:
            if not self.read_only:
                self._leave()
        except sqlite3.Error as error:
            raise translate(error, self.path) from error
        finally:
            self._drop()

    def _leave(self) -> None:
        if self._has_listed:
            # Once the process has left, nothing tells that a power cut may have taken bytes of the list.
            results.sync(self.directory)
        with self.transaction():
            alone = self.members.leave()
            if (self._results_lag or self._relabelled) and alone:
                self._rewrite_list()

    def _rewrite_list(self) -> None:
        try:
            results.rewrite(self.connection, self.directory)
        except OutputError as error:
            # The images and their records are safe; the next run rewrites the list.
            _LOG.warning("%s", error)

    def _drop(self) -> None:
        try:
            self.members.drop()
        finally:
            self.connection.close()
