"""
What a row is owed: the units that the journal holds of its content count for it, and only the rest is bought.

The process that admits a row first divides it. All other processes keep to its units, even where their catalogues
differ: the difference is counted in images.
"""

from __future__ import annotations

from collections.abc import Collection
from contextlib import closing
from typing import Final, NamedTuple, TypeAlias

from ...errors import Charge
from ...types.parameters import CountRule, split_count
from ..rows import BatchRow
from ..states import State, reopens_on_resume
from ..units import NUMBER_BYTES, Unit, content_of, units_of
from .database.store import Store

_SELECT: Final = (
    "SELECT seq, id, n, images, part, parts, first_index, replica, state, charge, owner,"
    " earlier_cost_nano + earlier_unknown_nano FROM unit WHERE id BETWEEN ? AND ? ORDER BY id"
)


# How far a process has come with identical rows: the images that they have beyond those that they ask for, the number
# from which on units belong to no row, and one more than the greatest `replica` of those before.
_Progress: TypeAlias = tuple[int, int, int]
_LAST: Final = b"\xff" * NUMBER_BYTES


class Found(NamedTuple):
    """A unit of the journal; `earlier_nano` is what its earlier attempts cost, or may have cost."""

    seq: int
    id: bytes
    n: int | None
    images: int
    part: int
    parts: int
    first_index: int
    replica: int
    state: str
    charge: str
    owner: int | None
    earlier_nano: int

    @property
    def number(self) -> int:
        """What tells it from the other units of its content."""
        return int.from_bytes(self.id[-NUMBER_BYTES:])

    def unit_of(self, row: BatchRow) -> Unit:
        """Make the unit, for *row*."""
        return Unit(
            id=self.id.hex(),
            row=row,
            n=self.n,
            images=self.images,
            part=self.part,
            parts=self.parts,
            first_index=self.first_index,
            replica=self.replica,
        )


def divide(
    store: Store, row: BatchRow, rule: CountRule, held: Collection[int], *, alone: bool
) -> tuple[list[Found], tuple[Unit, ...]]:
    """
    Find the units that stand for *row*, and make those that are missing.

    Units of the content that are not some earlier row's stand for it, until they make the images that it asks for.
    Those that are free (not paid for, and in the hands of no process that counts on them) are divided again: they
    stay where they fit what is missing, and are deleted otherwise.

    Args:
        store: The journal.
        row: The next row of this process.
        rule: What its model accepts.
        held: Processes whose units are not free.
        alone: The journal holds only units of rows of this pass, so there are none to look for.

    Returns:
        Units of the journal, and new ones for the images that are still missing.
    """
    digest = _known_digest(store, row)
    content = content_of(digest)
    counts = split_count(row.count, rule)
    new = (sum(map(rule.images, counts)) - row.count, len(counts), 1)
    # Most rows are the only ones of their content, and what they ask for is what there is, or will be.
    insert = "INSERT OR IGNORE INTO pass VALUES (?, ?, ?, ?)"
    first = store.connection.execute(insert, (content, *new)).rowcount == 1
    if first and alone:
        return [], units_of(row, rule, counts, digest=digest)
    before = (0, 0, 0) if first else _progress(store, content)
    there, free, after = _look(store, content, before, row.count, held, to_the_end=first)
    bought: tuple[Unit, ...] = ()
    if free or after[0] < 0:
        spare, following, replicas = after
        counts = split_count(-spare, rule) if spare < 0 else []
        spare += sum(map(rule.images, counts))
        there += _fitting(store, free, counts, rule)
        replica = there[-1].replica if there else replicas
        places = _places(store, content, replica) if there and counts else ()
        bought = units_of(row, rule, counts, number=following, replica=replica, there=places, digest=digest)
        replicas = max(replicas, replica + 1, *(unit.replica + 1 for unit in there))
        # Numbers of deleted units are given out again, so a process counts on none behind the last unit that there is.
        last = max((unit.number for unit in there), default=following - 1)
        after = spare, following + len(bought) if bought else last + 1, replicas
    if after != (new if first else before):
        update = "UPDATE pass SET spare = ?, following = ?, replicas = ? WHERE content = ?"
        store.connection.execute(update, (*after, content))
    return there, bought


def _known_digest(store: Store, row: BatchRow) -> str:
    """Return what the row's units are known by: in a journal of an earlier version, by all that was sent then."""
    if row.former is None or store.keeps_metadata:
        return row.digest
    content = content_of(row.former)
    select = "SELECT EXISTS (SELECT 1 FROM unit WHERE id BETWEEN ? AND ?)"
    (there,) = store.connection.execute(select, (content, content + _LAST)).fetchone()
    return row.former if there else row.digest


def _progress(store: Store, content: bytes) -> _Progress:
    select = "SELECT spare, following, replicas FROM pass WHERE content = ?"
    found: _Progress = store.connection.execute(select, (content,)).fetchone()
    return found


def _look(
    store: Store, content: bytes, before: _Progress, wanted: int, held: Collection[int], *, to_the_end: bool
) -> tuple[list[Found], list[Found], _Progress]:
    """
    Take units for a row that wants so many images.

    The first of identical rows looks *to the end*, at all that is free; none is for the rows after it.

    Returns:
        Those that stand for the row, those that are free, and how far it has come; `spare` is negative where images
        are missing.
    """
    spare, following, replicas = before
    spare -= wanted
    there: list[Found] = []
    free: list[Found] = []
    if spare >= 0:
        return there, free, (spare, following, replicas)
    number = following
    first = content + number.to_bytes(NUMBER_BYTES)
    with closing(store.connection.execute(_SELECT, (first, content + _LAST))) as records:
        for unit in map(Found._make, records):
            number = unit.number + 1
            if unit.owner not in held and _is_free(unit):
                free.append(unit)
                continue
            replicas = max(replicas, unit.replica + 1)
            if spare < 0:
                there.append(unit)
                spare += unit.images
                following = number
            if spare >= 0 and not to_the_end:
                break
    return there, free, (spare, number if spare < 0 else following, replicas)


def _is_free(unit: Found) -> bool:
    if unit.earlier_nano:
        return False
    state, charge = State(unit.state), Charge(unit.charge) if unit.charge else None
    return state is State.PENDING or reopens_on_resume(state, charge)


def _fitting(store: Store, free: list[Found], counts: list[int | None], rule: CountRule) -> list[Found]:
    """Take out of *counts* what units of *free* are there for, and delete the others."""
    fitting: list[Found] = []
    for unit in free:
        if unit.n in counts and unit.images == rule.images(unit.n):
            counts.remove(unit.n)
            fitting.append(unit)
        else:
            store.connection.execute("DELETE FROM unit WHERE seq = ?", (unit.seq,))
    return fitting


def _places(store: Store, content: bytes, replica: int) -> list[tuple[int, int]]:
    """Return part and end of each unit that shares a *replica*; new units of the same row are named after them."""
    select = "SELECT part, first_index + images FROM unit WHERE id BETWEEN ? AND ? AND replica = ?"
    return store.connection.execute(select, (content, content + _LAST, replica)).fetchall()
