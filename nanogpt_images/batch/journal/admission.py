"""How units enter a journal, and which process may work on them."""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Sequence
from typing import Final

from ...errors import Charge
from ...types.parameters import CountRule
from ..outcomes import SignedUrl
from ..rows import BatchRow
from ..states import Event, State, advance, is_open, reopens_on_resume, reopens_on_retry
from ..units import Unit
from . import manifests, results
from .database.schema import FOLLOWED, OF_THIS_PURCHASE
from .database.store import Store
from .division import Found, divide
from .queries import UNIT_COLUMNS, UNIT_WIDTH, read_unit
from .records import Admission

_ENDED = "SELECT id FROM process WHERE ended_at IS NOT NULL"
# Files behind signed URLs are kept for a day (docs/service.md): what they show is not paid for again before.
_FILES_LIVE_S: Final = 86_400
_FREE = f"(owner IS NULL OR owner IN ({_ENDED}))"

# A retry closes the accounts of the attempt: a known cost stays spent, and what may have been charged stays held.
_REOPEN = (
    "UPDATE unit SET earlier_cost_nano = earlier_cost_nano + cost_nano,"
    " earlier_unknown_nano = earlier_unknown_nano + reserved_nano,"
    " cost_nano = 0, reserved_nano = 0, links = NULL, linked_at = NULL, charge = '',"
    " state = ?, owner = ?, updated_at = ?"
)


def admit(
    store: Store,
    rows: Sequence[tuple[BatchRow, CountRule]],
    price: Callable[[Unit], int | None],
    unreadable: int = 0,
) -> list[Admission]:
    """
    Find or make the units of *rows*, and claim those that are to be worked on now.

    Units that failed without a charge in an earlier run are open again. Identical rows are counted over
    all calls of one process, which must therefore admit each row of its manifest once.

    Raises:
        JournalError: The journal is new, and an image of a row is there that was paid for.
    """
    running = store.members.running()
    held = running | store.members.relied_on()
    # The journal of a first process alone holds nothing that it did not put there, which is then no row's again.
    (processes,) = store.connection.execute("SELECT count(*) FROM process").fetchone()
    alone = processes == 1 and store.is_new
    admissions: list[Admission] = []
    added: list[tuple[Unit, int | None]] = []
    for row, rule in rows:
        there, bought = divide(store, row, rule, held, alone=alone)
        admissions += [_admit(store, found, row, running) for found in there]
        for unit in bought:
            results.refuse_again(store.directory, unit, store.stray_stems)
            added.append((unit, price(unit)))
            admissions.append(_add(store, *added[-1]))
    manifests.advance(store, len(rows) + unreadable)
    if added:
        # One step for all, where a trigger would take a quarter of the time.
        store.connection.execute(
            "UPDATE tally SET units = units + ?, rows = rows + ?, images = images + ?,"
            " planned_nano = planned_nano + ?, unpriced = unpriced + ? WHERE state = ? AND charge = ''",
            (
                len(added),
                sum(unit.part == 0 for unit, _ in added),
                sum(unit.images for unit, _ in added),
                sum(planned or 0 for _, planned in added),
                sum(planned is None for _, planned in added),
                State.PENDING.value,
            ),
        )
    return admissions


def _admit(store: Store, found: Found, row: BatchRow, running: Collection[int]) -> Admission:
    """Return the admission of a unit that the journal knows."""
    unit, state = found.unit_of(row), State(found.state)
    # Identical rows may come in another order, or stand elsewhere by now: the images go with the row that has them.
    store.relabel(found.seq, row)
    if found.owner in running:
        return Admission(unit=unit, state=state, claimed=False)
    if found.charge and reopens_on_resume(state, Charge(found.charge)):
        state = advance(state, Event.RETRIED)
        store.connection.execute(f"{_REOPEN} WHERE seq = ?", (state.value, None, store.clock(), found.seq))
    return _claim(store, found.seq, unit, state)


def _add(store: Store, unit: Unit, planned: int | None) -> Admission:
    store.connection.execute(
        "INSERT INTO unit (id, row, n, part, parts, images, first_index, replica, planned_nano, state, owner,"
        " updated_at) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        (
            *(bytes.fromhex(unit.id), unit.row.to_json(), unit.n, unit.part, unit.parts, unit.images),
            *(unit.first_index, unit.replica, planned),
            *(State.PENDING.value, store.members.own_id, store.clock()),
        ),
    )
    return Admission(unit=unit, state=State.PENDING, claimed=True)


def _claim(store: Store, seq: int, unit: Unit, state: State) -> Admission:
    """Claim a unit where there is work to do: a request to send, or links to download."""
    own = "UPDATE unit SET owner = ? WHERE seq = ?"
    if state is State.PENDING:
        store.connection.execute(own, (store.members.own_id, seq))
        return Admission(unit=unit, state=state, claimed=True)
    if state not in (State.LINKED, State.UNKNOWN, State.FAILED):
        return Admission(unit=unit, state=state, claimed=False)
    select = (
        "SELECT links, linked_at, request_id, charge,"  # noqa: S608
        f" (SELECT json_group_array(idx) FROM image WHERE {OF_THIS_PURCHASE}) FROM unit WHERE seq = ?"
    )
    text, linked_at, request_id, charge, kept = store.connection.execute(select, (seq,)).fetchone()
    if text is None:
        return Admission(unit=unit, state=state, claimed=False)
    store.connection.execute(own, (store.members.own_id, seq))
    return Admission(
        unit=unit,
        state=state,
        claimed=True,
        links=tuple(SignedUrl(index=index, url=url) for index, url in json.loads(text)),
        linked_at=linked_at,
        request_id=request_id,
        kept=frozenset(json.loads(kept)),
        charge=Charge(charge) if charge else None,
    )


def claim_next(
    store: Store,
    state: State,
    after: int,
    limit: int,
    *,
    left_by_peers: bool,
    only: Collection[str] | None = None,
) -> tuple[list[Admission], int]:
    """
    Claim units that are in the journal, in the order of admission.

    Args:
        store: The journal.
        state: `PENDING`, `LINKED`, or `UNKNOWN` and `FAILED` for those with links.
        after: 0, or what the previous call returned.
        limit: How many at most.
        left_by_peers: Of what is to be sent, only what other processes of this job had claimed and left behind.
        only: The IDs of those to claim; None for any.

    Returns:
        The units, and where the next call continues; no units at the end.
    """
    store.members.bury_dead()
    # Links are followed in any case: their images are paid for, also where the row has left the manifest.
    peers_only = left_by_peers and state is State.PENDING
    owner = f"owner IN ({_ENDED} AND {store.members.peers})" if peers_only else _FREE
    links = "" if is_open(state) else f" AND {FOLLOWED}"
    found = store.connection.execute(
        f"SELECT {UNIT_COLUMNS}, seq FROM unit"  # noqa: S608 - constants of this package
        f" WHERE state = '{state.value}'{links} AND seq > ? AND {owner}"
        " AND (?2 IS NULL OR lower(hex(id)) IN (SELECT value FROM json_each(?2))) ORDER BY seq LIMIT ?",
        (after, None if only is None else json.dumps(sorted(only)), limit),
    ).fetchall()
    claimed = [_claim(store, record[-1], read_unit(record[:UNIT_WIDTH]), state) for record in found]
    return claimed, found[-1][-1] if found else after


def reopen(store: Store, *, unknown: bool) -> int:
    """
    Open failed units again for `claim_next`, except those of other living processes.

    Args:
        store: The journal.
        unknown: Also what was, or may have been, charged.

    Returns:
        How many were opened.
    """
    store.members.bury_dead()
    opened = 0
    charges: tuple[Charge | None, ...] = (None, *Charge)
    for state, charge in ((state, charge) for state in State for charge in charges):
        if reopens_on_retry(state, charge, unknown=unknown):
            after = advance(state, Event.RETRIED).value
            opened += store.connection.execute(
                f"{_REOPEN} WHERE state = '{state.value}' AND charge = ?"  # noqa: S608
                " AND (owner = ? OR owner NOT IN (SELECT id FROM process WHERE ended_at IS NULL))"
                " AND (links IS NULL OR linked_at < ?)",
                (
                    *(after, None, store.clock(), charge.value if charge else "", store.members.own_id),
                    store.clock() - _FILES_LIVE_S,
                ),
            ).rowcount
    return opened


def remake(store: Store, wanted: Collection[str]) -> None:
    """
    Open the units *wanted* again, whatever they came to and cost, for `claim_next`.

    Those that are open stay as they are, and so do those that other living processes have in hand, or whose signed
    URLs still hold: their images are downloaded, which costs nothing.
    """
    store.members.bury_dead()
    for state in (State.DONE, State.FAILED, State.UNKNOWN):
        after = advance(state, Event.REMADE if state is State.DONE else Event.RETRIED).value
        store.connection.execute(
            f"{_REOPEN} WHERE state = '{state.value}' AND lower(hex(id)) IN (SELECT value FROM json_each(?))"  # noqa: S608
            f" AND (owner IS NULL OR owner = ? OR owner IN ({_ENDED})) AND (links IS NULL OR linked_at < ?)",
            (
                *(after, None, store.clock(), json.dumps(sorted(wanted)), store.members.own_id),
                store.clock() - _FILES_LIVE_S,
            ),
        )
