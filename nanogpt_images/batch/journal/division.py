"""Rows that an earlier run divided otherwise: what it paid for counts, and only the rest is asked for."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final

import attrs

from ...errors import Charge
from ...parameters import CountRule, split_count
from ..rows import BatchRow
from ..states import State, reopens_on_resume
from ..units import Unit, unit_id
from .reports import UNIT_COLUMNS, UNIT_WIDTH, read_unit
from .store import Store

_CONTENT_BYTES: Final = 9
_LAST: Final = b"\xff" * 4


def content_key(digest: str, n: int | None) -> bytes:
    """What the IDs of all units of one content and *n* begin with."""
    return bytes.fromhex(unit_id(digest, n, 0))[: -len(_LAST)]


def completed(
    store: Store, row: BatchRow, rule: CountRule, units: Sequence[Unit], running: frozenset[int]
) -> tuple[list[Unit], list[Unit]]:
    """
    Complete *row* with what the journal holds of its content, however that was divided.

    A row whose model changed the images that it makes per request, or whose count changed, is not paid for
    anew. Of the units that no earlier row of this pass stands for, those that were, or may have been, charged
    count for it; open ones are dropped, and what is missing is divided by the rule of now.

    Args:
        store: The journal.
        row: The row.
        rule: What its model accepts now.
        units: What the row is divided into now.
        running: The living processes; what they have in hand is left to them.

    Returns:
        Units of the journal that stand for the row, and new ones for the images that are still missing.
    """
    content = content_key(row.digest, None)[:_CONTENT_BYTES]
    wanted = row.count - _spare(store, content)
    own = {unit.id for unit in units}
    there: list[Unit] = []
    # The row's own stand for no other one, so they count first.
    for seq, unit, is_paid in sorted(
        _others(store, row, own, running), key=lambda other: other[1].id not in own
    ):
        if not is_paid:
            store.connection.execute("DELETE FROM unit WHERE seq = ?", (seq,))
        elif wanted > 0 or unit.id in own:
            there.append(attrs.evolve(unit, row=row))
            wanted -= unit.images
    missing = [unit for unit in units if unit.id not in {found.id for found in there}]
    planned = sum(unit.images for unit in missing)
    if missing and wanted <= planned <= wanted + _forced(rule) and _fit(store, missing, there):
        return there, missing
    new = list(_remainder(store, row, rule, wanted, there=there, replica=units[0].replica))
    store.divided = True
    ids = [(bytes.fromhex(unit.id),) for unit in (*there, *new)]
    store.connection.executemany("INSERT OR IGNORE INTO taken VALUES (?)", ids)
    # What one row has too many of, another of the same content need not pay for.
    store.connection.execute("INSERT OR REPLACE INTO spare VALUES (?, ?)", (content, max(0, -wanted)))
    return there, new


def _forced(rule: CountRule) -> int:
    """How many images more than are wanted a rule can force."""
    return max(rule.minimum, rule.fixed or 0) - 1


def _spare(store: Store, content: bytes) -> int:
    found = store.connection.execute("SELECT images FROM spare WHERE content = ?", (content,)).fetchone()
    return 0 if found is None else int(found[0])


def is_taken(store: Store, unit: Unit) -> bool:
    """Whether an earlier row of this pass has the unit, which was made for another division."""
    found = store.connection.execute("SELECT 1 FROM taken WHERE id = ?", (bytes.fromhex(unit.id),))
    return found.fetchone() is not None


def _fit(store: Store, missing: Sequence[Unit], there: Sequence[Unit]) -> bool:
    """Whether the missing units go on where the others end, as where all are new, or a count was raised."""
    behind = max((unit.first_index + unit.images for unit in there), default=0)
    return missing[0].first_index >= behind and not any(is_taken(store, unit) for unit in missing)


def _others(
    store: Store, row: BatchRow, own: set[str], running: frozenset[int]
) -> Iterator[tuple[int, Unit, bool]]:
    """
    Units of the row's content that no earlier row of this pass stands for.

    Yields:
        The unit's number, the unit, and whether it was, or may have been, paid for.
    """
    content = content_key(row.digest, None)[:_CONTENT_BYTES]
    at, end = content, content + b"\xff" * (16 - _CONTENT_BYTES)
    while True:
        select = "SELECT id FROM unit WHERE id >= ? AND id <= ? ORDER BY id LIMIT 1"
        found = store.connection.execute(select, (at, end)).fetchone()
        if found is None:
            return
        key: bytes = found[0][: -len(_LAST)]
        # This row's own are the last that were seen.
        first = min((unit_id for unit_id in own if unit_id.startswith(key.hex())), default=None)
        start = key + _seen(store, key).to_bytes(len(_LAST)) if first is None else bytes.fromhex(first)
        yield from _between(store, row, start, key + _LAST, running)
        at = key + _LAST + b"\0"


def _seen(store: Store, key: bytes) -> int:
    found = store.connection.execute("SELECT times FROM seen WHERE content = ?", (key,)).fetchone()
    return 0 if found is None else int(found[0])


def _between(
    store: Store, row: BatchRow, start: bytes, end: bytes, running: frozenset[int]
) -> list[tuple[int, Unit, bool]]:
    found = store.connection.execute(
        f"SELECT {UNIT_COLUMNS}, seq, state, charge, owner, earlier_cost_nano + earlier_unknown_nano FROM unit"  # noqa: S608
        " WHERE id BETWEEN ? AND ? AND id NOT IN (SELECT id FROM taken) ORDER BY id LIMIT ?",
        (start, end, row.count),
    ).fetchall()
    others: list[tuple[int, Unit, bool]] = []
    for record in found:
        seq, state_text, charge, owner, earlier_nano = record[UNIT_WIDTH:]
        state = State(state_text)
        free = state is State.PENDING or reopens_on_resume(state, Charge(charge) if charge else None)
        others.append((seq, read_unit(record[:UNIT_WIDTH]), not free or owner in running or earlier_nano > 0))
    return others


def _remainder(
    store: Store, row: BatchRow, rule: CountRule, wanted: int, *, there: Sequence[Unit], replica: int
) -> Iterator[Unit]:
    if wanted <= 0:
        return
    first_index = max((unit.first_index + unit.images for unit in there), default=0)
    part = max((1 + unit.part for unit in there), default=0)
    counts = split_count(wanted, rule)
    for place, n in enumerate(counts):
        number = _remainders(store, row, n) + counts[:place].count(n)
        yield Unit(
            id=unit_id(row.digest, n, number, remainder=True),
            row=row,
            n=n,
            images=rule.images(n),
            part=part + place,
            parts=part + len(counts),
            first_index=first_index,
            replica=replica,
        )
        first_index += rule.images(n)


def _remainders(store: Store, row: BatchRow, n: int | None) -> int:
    """How many units of this content and *n* have completed a row before."""
    key = bytes.fromhex(unit_id(row.digest, n, 0, remainder=True))[: -len(_LAST)]
    (found,) = store.connection.execute(
        "SELECT max(id) FROM unit WHERE id BETWEEN ? AND ?", (key, key + _LAST)
    ).fetchone()
    return 0 if found is None else 1 + int.from_bytes(found[-len(_LAST) :])
