"""A ledger's database in the hands of one thread: what each step of a paid call finds and writes down."""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import socket
import sqlite3
import time
from collections.abc import Callable, Generator, Iterable, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import attrs

from ..._base.database.faults import LEDGER, translate
from ..._base.disk import make_directory
from ..._base.file_lock import ProcessLock, forget, is_alive
from ...errors import Charge, LedgerError, NanoGPTError, OutputError
from ...transport.identity import may_replace
from .fingerprint import Fingerprint
from .ledger_tables import connect
from .paid_entries import EntryState, KeptFile, LedgerEntry

_COLUMNS: Final = (
    "seq, name, content, sample, request, state, charge, owner, cost_nano, request_id, error_type, error_text,"
    " attempts, sent_at, ended_at, pruned, answer"
)
_MAX_TEXT: Final = 2_000
_DEAD_TEXT: Final = "The process that had sent it ended before an answer arrived."
_LEFT_TEXT: Final = "The client was closed before an answer arrived."


@attrs.frozen(kw_only=True)
class Begun:
    """
    The answer to an intent.

    Attributes:
        entry: The call as it stands.
        is_mine: It is recorded as sent by this process now; where False, somebody else has it.
    """

    entry: LedgerEntry
    is_mine: bool


class LedgerStore:
    """
    One connection and what belongs to it. Not thread-safe: made, used and closed by one thread.

    Attributes:
        path: The database file.
        folder: Its images.
        connection: For the modules of this package, inside `transaction()`.
    """

    path: Path
    folder: Path
    connection: sqlite3.Connection

    def __init__(
        self,
        path: Path,
        *,
        service: str | None,
        read_only: bool = False,
        clock: Callable[[], float] = time.time,
    ) -> None:
        """
        Open the ledger at *path*.

        Raises:
            LedgerError: It is missing, damaged, of a newer version or of another service.
            OutputError: It cannot be made or written.
        """
        self.path = path
        self.folder = images_folder(path)
        self.read_only = read_only
        self.clock = clock
        self._locks = path.with_name(f".{path.name}")
        self._lock: ProcessLock | None = None
        self.token = f"{os.getpid()}-{secrets.token_hex(8)}"
        if not read_only:
            make_directory(path.parent)
        self.connection = connect(path, read_only=read_only)
        try:
            if not read_only:
                make_directory(self.folder)
                with self.transaction():
                    self._bind(service)
                    self.bury_dead()
        except sqlite3.Error as error:
            self.connection.close()
            raise self.translate(error) from error
        except BaseException:
            self.connection.close()
            raise

    def _bind(self, service: str | None) -> None:
        found = self.service()
        if service is None or found == service:
            return
        if found is not None and not may_replace(found, service):
            raise LedgerError(
                f"the ledger {self.path} was made with {found}, and this client talks to {service}. Nothing was sent."
                " Use the same service, or choose another file."
            )
        self.connection.execute("INSERT OR REPLACE INTO meta VALUES ('service', ?)", (service,))

    def service(self) -> str | None:
        """What its calls were paid to."""
        found = self.connection.execute("SELECT value FROM meta WHERE name = 'service'").fetchone()
        return None if found is None else str(found[0])

    @contextmanager
    def transaction(self) -> Generator[None]:
        """One commit for what happens inside, or none of it."""
        self.connection.execute("BEGIN" if self.read_only else "BEGIN IMMEDIATE")
        try:
            yield
            self.connection.execute("COMMIT")
        except BaseException:
            if self.connection.in_transaction:
                self.connection.execute("ROLLBACK")
            raise

    @contextmanager
    def savepoint(self) -> Generator[None]:
        """What happens inside fails alone, within `transaction()`."""
        if self.read_only:
            yield
            return
        self.connection.execute("SAVEPOINT step")
        try:
            yield
        except BaseException:
            # A full disk takes the whole transaction with it; then there is nothing left to roll back to.
            if self.connection.in_transaction:
                self.connection.execute("ROLLBACK TO step")
                self.connection.execute("RELEASE step")
            raise
        self.connection.execute("RELEASE step")

    def translate(self, error: sqlite3.Error) -> NanoGPTError:
        """The error of this package for *error*."""
        return translate(error, self.path, LEDGER)

    def close(self) -> None:
        """
        Leave; calls in flight become unknown.

        Raises:
            LedgerError: That could not be recorded; the lock is gone all the same, and the next process finds out.
        """
        try:
            if self._lock is not None:
                with self.transaction():
                    self._end(self.token, _LEFT_TEXT)
        except sqlite3.Error as error:
            raise self.translate(error) from error
        finally:
            try:
                if self._lock is not None:
                    self._lock.release()
                    self._forget(self.token)
            finally:
                self.connection.close()

    def find(self, name: str) -> LedgerEntry | None:
        """The call under *name*."""
        return next(self._entries("name = ?", name), None)

    def begin(self, name: str, print_: Fingerprint, *, again: bool = False) -> Begun:
        """
        Record that the POST of a call is about to leave, unless another call has the name.

        Args:
            name: What the call is known by.
            print_: What it asks for.
            again: It is a further attempt of a call that this process has recorded.

        Raises:
            OutputError: The directory gives no locks, without which a dead process looks like a slow one.
        """
        self._hold_lock()
        now = self.clock()
        added = self.connection.execute(
            "INSERT INTO entry (name, content, sample, request, state, owner, attempts, sent_at)"
            " VALUES (?, ?, ?, ?, 'sent', ?, 1, ?) ON CONFLICT (name) DO NOTHING",
            (name, print_.content, print_.sample, print_.request_json, self.token, now),
        )
        if added.rowcount:
            return Begun(entry=_new(added.lastrowid or 0, name, print_, self.token, now), is_mine=True)
        before = self.find(name)
        assert before is not None
        if not same(before, print_) or not (
            before.may_be_tried_again or (again and before.owner == self.token)
        ):
            return Begun(entry=before, is_mine=False)
        self.connection.execute(
            "UPDATE entry SET state = 'sent', charge = '', owner = ?, attempts = attempts + 1,"
            " error_type = NULL, error_text = NULL, sent_at = ?, ended_at = NULL WHERE seq = ?",
            (self.token, now, before.seq),
        )
        begun = attrs.evolve(before, state=EntryState.SENT, charge=None, owner=self.token, sent_at=now)
        return Begun(entry=begun, is_mine=True)

    def linked(
        self, seq: int, answer: str, cost_nano: int, request_id: str | None, images: Sequence[KeptFile]
    ) -> None:
        """Record that the answer holds signed URLs, and the images that came beside them."""
        self.connection.execute(
            "UPDATE entry SET state = 'linked', charge = '', answer = ?, cost_nano = ?,"
            " request_id = ?, ended_at = ? WHERE seq = ?",
            (answer, cost_nano, _clean(request_id), self.clock(), seq),
        )
        self._add_images(seq, images)

    def claim_download(self, seq: int) -> bool:
        """Take the open download of a call; False where a living process has it."""
        self._hold_lock()
        entry = next(self._entries("seq = ?", seq), None)
        if entry is None or entry.state is not EntryState.LINKED:
            return False
        if entry.owner not in (None, self.token) and self.lives(entry.owner):
            return False
        self.connection.execute("UPDATE entry SET owner = ? WHERE seq = ?", (self.token, seq))
        return True

    def leave_download(self, seq: int) -> None:
        """Leave an open download of this process to the next caller."""
        leave = "UPDATE entry SET owner = NULL WHERE seq = ? AND state = 'linked' AND owner = ?"
        self.connection.execute(leave, (seq, self.token))

    def withdraw(self, name: str) -> None:
        """Record that what this process began under *name* did not leave."""
        entry = self._own(name)
        if entry is not None:
            text = "The call was cancelled before it was sent."
            self.failed(entry.seq, Charge.NOT_SENT, error_type="CancelledError", error_text=text)

    def give_up(self, name: str) -> None:
        """Record as unknown what is sent under *name* by a process that is dead, or by this one."""
        self.bury_dead()
        entry = self._own(name)
        if entry is not None:
            text = "Its end could not be written down."
            self.failed(entry.seq, Charge.UNKNOWN, error_type="Interrupted", error_text=text)

    def _own(self, name: str) -> LedgerEntry | None:
        entry = self.find(name)
        is_own = entry is not None and entry.state is EntryState.SENT and entry.owner == self.token
        return entry if is_own else None

    def done(
        self,
        seq: int,
        images: Sequence[KeptFile],
        *,
        answer: str | None,
        cost_nano: int,
        request_id: str | None,
    ) -> None:
        """
        Record that the images of a call are in the store.

        Raises:
            LedgerError: The call was forgotten meanwhile.
        """
        changed = self.connection.execute(
            "UPDATE entry SET state = 'done', charge = '', owner = NULL,"
            " answer = coalesce(?, answer), cost_nano = ?, request_id = coalesce(?, request_id), error_type = NULL,"
            " error_text = NULL, ended_at = ? WHERE seq = ?",
            (answer, cost_nano, _clean(request_id), self.clock(), seq),
        )
        if not changed.rowcount:
            raise LedgerError(
                f"{self.path} has lost the entry of a call in flight: it was forgotten meanwhile."
            )
        self._add_images(seq, images)

    def failed(
        self,
        seq: int,
        charge: Charge,
        *,
        error_type: str,
        error_text: str,
        images: Sequence[KeptFile] = (),
        cost_nano: int = 0,
        request_id: str | None = None,
    ) -> None:
        """Record that a call ended without (all of) its images; with `Charge.UNKNOWN` it is unknown."""
        state = EntryState.UNKNOWN if charge is Charge.UNKNOWN else EntryState.FAILED
        self.connection.execute(
            "UPDATE entry SET state = ?, charge = ?, owner = NULL, cost_nano = ?, error_type = ?, error_text = ?,"
            " request_id = coalesce(?, request_id), ended_at = ? WHERE seq = ?",
            (
                *(state.value, charge.value, cost_nano, error_type, _clean(error_text), _clean(request_id)),
                *(self.clock(), seq),
            ),
        )
        self._add_images(seq, images)

    def bury_dead(self) -> None:
        """Record as unknown what dead processes had sent."""
        found = self.connection.execute("SELECT DISTINCT owner FROM entry WHERE state = 'sent'").fetchall()
        for (owner,) in found:
            if owner != self.token and not self.lives(owner):
                self._end(owner, _DEAD_TEXT)
                self._forget(owner)

    def lives(self, owner: str | None) -> bool:
        """Whether the process with that token runs."""
        return owner == self.token or (owner is not None and is_alive(self._locks, owner))

    def forget(self, name: str) -> bool:
        """
        Remove a call, so that its key can be paid for again. Its images stay until they are pruned.

        Raises:
            LedgerError: A living process works on it.
        """
        entry = self.find(name)
        if entry is None:
            return False
        if entry.state is EntryState.SENT and self.lives(entry.owner):
            raise LedgerError(f"{described(name)} is in flight in a living process; wait until it ends.")
        self.drop([entry.seq])
        return True

    def drop(self, seqs: Iterable[int]) -> None:
        """Remove calls with all that is known of them."""
        for seq in seqs:
            self.connection.execute("DELETE FROM entry WHERE seq = ?", (seq,))
            self.connection.execute("DELETE FROM image WHERE entry = ?", (seq,))
            self.connection.execute("DELETE FROM given WHERE entry = ?", (seq,))

    def listed(self, *, unknown: bool = False) -> list[LedgerEntry]:
        """
        Calls in the order of their first attempt; what a dead process had sent is unknown.

        Args:
            unknown: Only those whose outcome is not known.
        """
        where = "state IN ('sent', 'unknown')" if unknown else "true"
        entries = [self._as_it_is(entry) for entry in self._entries(f"{where} ORDER BY seq")]
        return [entry for entry in entries if not unknown or entry.state is EntryState.UNKNOWN]

    def by_content(self, content: str, job: str, unit: str) -> LedgerEntry | None:
        """A paid call of *content* that *unit* of *job* was given, or that no unit of the job was given yet."""
        given = next(
            self._entries(
                "seq = (SELECT entry FROM given WHERE job = ? AND unit = ?) AND pruned = 0", job, unit
            ),
            None,
        )
        if given is not None and given.content == content:
            return given
        return next(
            self._entries(
                "content = ? AND state = 'done' AND pruned = 0"
                " AND seq NOT IN (SELECT entry FROM given WHERE job = ?) ORDER BY seq LIMIT 1",
                *(content, job),
            ),
            None,
        )

    def count_given(self, job: str) -> int:
        """How many requests of *job* have their images from here, or have brought them here."""
        found = self.connection.execute("SELECT count(*) FROM given WHERE job = ?", (job,)).fetchone()
        return int(found[0])

    def count_content(self, content: str, job: str) -> int:
        """How many paid calls of *content* no request of *job* was given yet."""
        found = self.connection.execute(
            "SELECT count(*) FROM entry WHERE content = ? AND state = 'done' AND pruned = 0"
            " AND seq NOT IN (SELECT entry FROM given WHERE job = ?)",
            (content, job),
        ).fetchone()
        return int(found[0])

    def give(self, seq: int, job: str, unit: str) -> None:
        """Record that *unit* of *job* has the images of a call."""
        self.connection.execute("INSERT OR REPLACE INTO given VALUES (?, ?, ?)", (job, unit, seq))

    def add(
        self,
        print_: Fingerprint,
        images: Sequence[KeptFile],
        *,
        answer: str,
        cost_nano: int,
        request_id: str | None,
        job: str,
        unit: str,
    ) -> None:
        """Record a request that a job has paid for, and that its *unit* has the images."""
        known = self.connection.execute(
            "SELECT 1 FROM given JOIN entry ON seq = entry WHERE job = ? AND unit = ?", (job, unit)
        ).fetchone()
        if known is not None:
            return
        (samples,) = self.connection.execute(
            "SELECT coalesce(max(sample), -1) FROM entry WHERE content = ?", (print_.content,)
        ).fetchone()
        now = self.clock()
        added = self.connection.execute(
            "INSERT INTO entry (name, content, sample, request, state, cost_nano, request_id, attempts, sent_at,"
            " ended_at, answer) VALUES (?, ?, ?, ?, 'done', ?, ?, 1, ?, ?, ?)",
            (
                *(auto_name(print_.content, samples + 1), print_.content, samples + 1, print_.request_json),
                *(cost_nano, _clean(request_id), now, now, answer),
            ),
        )
        seq = added.lastrowid or 0
        self._add_images(seq, images)
        self.give(seq, job, unit)

    def _as_it_is(self, entry: LedgerEntry) -> LedgerEntry:
        if entry.state is not EntryState.SENT or self.lives(entry.owner):
            return entry
        return attrs.evolve(
            entry,
            state=EntryState.UNKNOWN,
            charge=Charge.UNKNOWN,
            error_type="Interrupted",
            error_text=_DEAD_TEXT,
        )

    def _entries(self, where: str, *values: object) -> Generator[LedgerEntry]:
        found = self.connection.execute(f"SELECT {_COLUMNS} FROM entry WHERE {where}", values).fetchall()  # noqa: S608
        for seq, name, content, sample, request, state, charge, *rest in found:
            (
                owner,
                cost_nano,
                request_id,
                error_type,
                error_text,
                attempts,
                sent_at,
                ended_at,
                pruned,
                answer,
            ) = rest
            yield LedgerEntry(
                seq=seq,
                name=name,
                content=content,
                sample=sample,
                request=json.loads(request),
                state=EntryState(state),
                charge=Charge(charge) if charge else None,
                owner=owner,
                cost_nano=cost_nano,
                request_id=request_id,
                error_type=error_type,
                error_text=error_text,
                attempts=attempts,
                sent_at=sent_at,
                ended_at=ended_at,
                pruned=bool(pruned),
                answer=json.loads(answer),
                images=self._images(seq),
            )

    def _images(self, seq: int) -> tuple[KeptFile, ...]:
        found = self.connection.execute(
            "SELECT idx, sha256, suffix, media_type, width, height, bytes FROM image WHERE entry = ? ORDER BY idx",
            (seq,),
        )
        return tuple(
            KeptFile(
                index=index,
                sha256=sha256,
                suffix=suffix,
                media_type=media_type,
                width=width,
                height=height,
                bytes=size,
            )
            for index, sha256, suffix, media_type, width, height, size in found
        )

    def _add_images(self, seq: int, images: Sequence[KeptFile]) -> None:
        self.connection.executemany(
            "INSERT OR REPLACE INTO image (entry, idx, sha256, suffix, media_type, width, height, bytes)"
            " VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
            [
                (
                    seq,
                    image.index,
                    image.sha256,
                    image.suffix,
                    image.media_type,
                    image.width,
                    image.height,
                    image.bytes,
                )
                for image in images
            ],
        )

    def _end(self, owner: str, text: str) -> None:
        self.connection.execute(
            "UPDATE entry SET state = 'unknown', charge = ?, owner = NULL,"
            " error_type = 'Interrupted', error_text = ?, ended_at = ?"
            " WHERE state = 'sent' AND owner = ?",
            (Charge.UNKNOWN.value, text, self.clock(), owner),
        )

    def _hold_lock(self) -> None:
        if self._lock is not None:
            return
        try:
            self._lock = ProcessLock(self._locks, self.token)
        except OSError as error:
            raise OutputError(
                f"{self.path.parent} gives no lock for a file ({error.strerror or error}) on {socket.gethostname()}, and"
                " without one two processes could pay for the same call. Nothing was sent. Choose a local disk."
            ) from error

    def _forget(self, token: str) -> None:
        forget(self._locks, token)
        with contextlib.suppress(OSError):  # another process is there
            self._locks.rmdir()


def images_folder(path: Path) -> Path:
    """Where the images of the ledger at *path* are."""
    return path.with_name(f"{path.name}.images")


def auto_name(content: str, sample: int) -> str:
    """The name of a call whose key is made of its request."""
    return f"auto:{content}:{sample}"


def described(name: str) -> str:
    """What a text calls the call with that name."""
    return (
        f"the call with key {name[4:]!r}"
        if name.startswith("key:")
        else "an earlier call of the same request"
    )


def same(entry: LedgerEntry, print_: Fingerprint) -> bool:
    """Whether *entry* is of the request *print_*."""
    return entry.content == print_.content and (entry.sample == print_.sample or entry.key is None)


def _new(seq: int, name: str, print_: Fingerprint, owner: str, now: float) -> LedgerEntry:
    return LedgerEntry(
        seq=seq,
        name=name,
        content=print_.content,
        sample=print_.sample,
        request=print_.request,
        state=EntryState.SENT,
        charge=None,
        owner=owner,
        cost_nano=0,
        request_id=None,
        error_type=None,
        error_text=None,
        attempts=1,
        sent_at=now,
        ended_at=None,
        images=(),
        pruned=False,
        answer={},
    )


def _clean(text: str | None) -> str | None:
    return None if text is None else text[:_MAX_TEXT].encode("utf-8", "replace").decode()
