"""A cap for each of several keys: the journal as the requests of one key use it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TypeVar

from ...errors import BudgetExceededError
from ...money.nano import to_usd
from . import transitions
from .database.store import Store
from .journal import Journal

ResultT = TypeVar("ResultT")

# Beside the tables of `schema`: only jobs with several keys have them, and other versions ignore them.
# A sent request stays bound to its key: the trigger moves that key's sum, whichever worker records the outcome.
_SCHEMA = (
    "CREATE TABLE IF NOT EXISTS account (name TEXT PRIMARY KEY, committed_nano INTEGER NOT NULL) WITHOUT ROWID",
    "CREATE TABLE IF NOT EXISTS account_unit (seq INTEGER PRIMARY KEY, name TEXT NOT NULL)",
    """
CREATE TEMP TRIGGER IF NOT EXISTS account_moved AFTER UPDATE OF cost_nano, reserved_nano ON main.unit
BEGIN
    UPDATE account SET committed_nano = committed_nano
        + new.cost_nano + new.earlier_cost_nano + new.reserved_nano + new.earlier_unknown_nano
        - old.cost_nano - old.earlier_cost_nano - old.reserved_nano - old.earlier_unknown_nano
    WHERE name = (SELECT name FROM account_unit WHERE seq = new.seq);
END
""",
)


class KeyBudget(Journal):
    """
    A journal through which the requests of one key are sent, with a cap of that key's own.

    Its requests are counted for its key to the end, also when its outcome is recorded through the account
    of another one. It shares the writer of *journal*, which stays open until that one is closed.

    Args:
        journal: The job's journal.
        name: What the sums of this key stand under, in every run; never the key itself.
        label: What errors call the key.
        cap_nano: What the key may spend on this job, earlier runs included; None for no cap.
    """

    def __init__(self, journal: Journal, name: str, *, label: str, cap_nano: int | None = None) -> None:
        self.directory = journal.directory
        self.read_only = journal.read_only
        self._writer = journal._writer
        self._name = name
        self._label = label
        self._cap_nano = cap_nano

    async def aclose(self) -> None:
        """Do nothing: the journal that it belongs to is closed elsewhere."""

    async def committed_nano(self) -> int:
        """Return what the key has spent, and what may be charged to it (nano-USD)."""
        return await self._writer.run(lambda store: _committed(store, self._name))

    async def has_room(self, nano: int) -> bool:
        """Return whether the key's own cap has room for so much more."""
        return self._cap_nano is None or await self.committed_nano() + nano <= self._cap_nano

    async def sent(self, unit_id: str, reserved_nano: int, *, cap_nano: int | None = None) -> None:
        """Record as `Journal.sent` does; also raise BudgetExceededError where the key's own cap could be passed."""

        def within_cap(store: Store) -> None:
            spent = _committed(store, self._name)
            if self._cap_nano is not None and spent + reserved_nano > self._cap_nano:
                raise BudgetExceededError(
                    f"the next request may cost ${to_usd(reserved_nano):.4f}, and ${to_usd(spent):.4f} of the"
                    f" ${to_usd(self._cap_nano):.4f} for {self._label} is spent or reserved."
                )
            store.connection.execute("INSERT OR IGNORE INTO account VALUES (?, 0)", (self._name,))
            store.connection.execute(
                "INSERT OR REPLACE INTO account_unit SELECT seq, ? FROM unit WHERE id = ?",
                (self._name, bytes.fromhex(unit_id)),
            )
            transitions.sent(store, unit_id, reserved_nano, cap_nano)

        await self._run(within_cap)

    async def _run(self, work: Callable[[Store], ResultT], files: Sequence[Path] = ()) -> ResultT:
        def counted(store: Store) -> ResultT:
            _prepare(store)
            return work(store)

        return await self._writer.run(counted, files)


def _prepare(store: Store) -> None:
    for statement in _SCHEMA:
        store.connection.execute(statement)


def _committed(store: Store, name: str) -> int:
    _prepare(store)
    found = store.connection.execute("SELECT committed_nano FROM account WHERE name = ?", (name,)).fetchone()
    return 0 if found is None else int(found[0])
