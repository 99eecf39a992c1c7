"""Queries of a journal: its sums, and the units that ended badly."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, TypeAlias

import attrs

from ...errors import Charge
from ...money.outcome_bounds import BookedRequest, Standing
from ..rows import BatchRow
from ..states import Event, State, advance, is_open
from ..units import Unit
from . import manifests
from .database.schema import FOLLOWED
from .database.store import Store
from .records import Ending, ModelSpending, Remainder, SpendingByModel, Totals

UNIT_COLUMNS = "hex(unit.id), unit.row, unit.n, unit.images, part, parts, first_index, replica"
UNIT_WIDTH: Final = 8
_LONGEST_REQUEST_S = 3_600.0  # Assumption: nothing that an answer came to was sent longer ago
_FOUND_DEAD = "Interrupted"
_MANY: Final = 500

RawUnit: TypeAlias = tuple[str, str, int | None, int, int, int, int, int]
_EndingRecord: TypeAlias = tuple[*RawUnit, int, str, str | None, str | None, str | None, int, int, float]


def read_unit(record: RawUnit) -> Unit:
    """Read the unit of a record of `UNIT_COLUMNS`."""
    identity, row, n, images, part, parts, first_index, replica = record
    return Unit(
        id=identity.lower(),
        row=BatchRow.from_json(row),
        n=n,
        images=images,
        part=part,
        parts=parts,
        first_index=first_index,
        replica=replica,
    )


def committed_nano(store: Store) -> int:
    """Sum what a budget has to count over all processes: spent, reserved and unknown."""
    query = "SELECT sum(cost_nano + reserved_nano + unknown_nano) FROM tally"
    return int(store.connection.execute(query).fetchone()[0])


def totals(store: Store) -> Totals:
    """Sum the whole journal; as quick for a million rows as for ten."""
    units = dict.fromkeys(State, 0)
    reserved = dict.fromkeys(State, 0)
    select = "SELECT state, sum(units), sum(reserved_nano) FROM tally GROUP BY state"
    for state, number, nano in store.connection.execute(select):
        units[State(state)] = number
        reserved[State(state)] = nano
    rows, images, planned, unpriced, cost, unknown = store.connection.execute(
        "SELECT sum(rows), sum(images), sum(planned_nano), sum(unpriced), sum(cost_nano), sum(unknown_nano) FROM tally"
    ).fetchone()
    (to_come,) = store.connection.execute(
        "SELECT sum(planned_nano) FROM tally WHERE state = ?", (State.PENDING.value,)
    ).fetchone()
    (charged,) = store.connection.execute(
        "SELECT sum(units) FROM tally WHERE state = ? AND charge = ?",
        (State.FAILED.value, Charge.CHARGED.value),
    ).fetchone()
    (followed,) = store.connection.execute(f"SELECT count(*) FROM unit WHERE {FOLLOWED}").fetchone()  # noqa: S608
    (stored,) = store.connection.execute("SELECT images FROM stored").fetchone()
    for lost_units, lost_nano in _stranded(store):
        units[State.SENT] -= lost_units
        units[advance(State.SENT, Event.UNRESOLVED)] += lost_units
        reserved[State.SENT] -= lost_nano
        reserved[State.UNKNOWN] += lost_nano
    return Totals(
        rows=rows,
        units=units,
        charged_failures=charged,
        expected_images=images,
        images=stored,
        planned_nano=planned,
        to_come_nano=to_come,
        unpriced_units=unpriced,
        spent_nano=cost,
        reserved_nano=reserved[State.SENT],
        unknown_nano=unknown + reserved[State.UNKNOWN],
        followed_links=followed,
        manifests=manifests.recorded(store),
    )


def remainder(store: Store) -> Remainder:
    """Count what the job still has to do, this process's share and that of the others."""
    store.members.bury_dead()
    found = totals(store)
    open_states = "', '".join(state.value for state in State if state is State.SENT or is_open(state))
    (held,) = store.connection.execute(
        f"SELECT count(*) FROM unit WHERE state IN ('{open_states}') AND owner != ?"  # noqa: S608
        " AND owner IN (SELECT id FROM process WHERE ended_at IS NULL)",
        (store.members.own_id,),
    ).fetchone()
    return Remainder(
        pending=found.units[State.PENDING] + found.units[State.SENT],
        open_downloads=found.units[State.LINKED],
        held_by_others=held,
        unread=found.unread_rows if store.members.running() - {store.members.own_id} else 0,
    )


def _stranded(store: Store) -> list[tuple[int, int]]:
    # A reader records nothing, so what a dead process had sent still stands as sent.
    if not store.members.gone:
        return []
    return store.connection.execute(
        "SELECT count(*), coalesce(sum(reserved_nano), 0) FROM unit"  # noqa: S608
        f" WHERE state = '{State.SENT.value}' AND owner IN ({_list(store.members.gone)})"
    ).fetchall()


def endings(store: Store, state: State, after: int, limit: int) -> tuple[list[Ending], int]:
    """
    Read units that are `FAILED`, `UNKNOWN` or `LINKED`, in the order of admission.

    Args:
        store: The journal.
        state: Which of the three.
        after: 0, or what the previous call returned.
        limit: How many at most.

    Returns:
        The units, and where the next call continues; no units at the end.
    """
    where = f"state = '{state.value}'"
    if state is State.UNKNOWN and store.members.gone:
        where = f"({where} OR (state = '{State.SENT.value}' AND owner IN ({_list(store.members.gone)})))"
    select = (
        f"SELECT {UNIT_COLUMNS}, seq, charge, error_type, error_text, request_id, cost_nano + reserved_nano,"  # noqa: S608
        f" attempts, updated_at FROM unit WHERE {where} AND seq > ? ORDER BY seq LIMIT ?"
    )
    found = store.connection.execute(select, (after, limit)).fetchall()
    return [_ending(record, state) for record in found], found[-1][UNIT_WIDTH] if found else after


def spending(store: Store) -> SpendingByModel:
    """Sum what was spent on each model, and when. This reads every unit: about a second for a million."""
    select = (
        "SELECT json_extract(row, '$.model') AS model, sum(cost_nano + earlier_cost_nano),"
        " sum(reserved_nano + earlier_unknown_nano)"
        " FROM unit WHERE attempts > 0 GROUP BY model ORDER BY model"
    )
    models = tuple(
        ModelSpending(model=model, spent_nano=spent, open_nano=held)
        for model, spent, held in store.connection.execute(select)
    )
    (first_at,) = store.connection.execute("SELECT min(started_at) FROM process").fetchone()
    (last_at,) = store.connection.execute("SELECT max(updated_at) FROM unit").fetchone()
    return SpendingByModel(models=models, first_at=first_at, last_at=last_at)


def booked(store: Store) -> list[BookedRequest]:
    """Every request that was sent, for comparison with the account. It reads every unit."""
    found = store.connection.execute(
        "SELECT lower(hex(unit.id)), json_extract(row, '$.model'), state, cost_nano, earlier_unknown_nano, linked_at,"
        " updated_at, error_type, started_at, ended_at FROM unit LEFT JOIN process ON process.id = unit.owner"
        " WHERE attempts > 0"
    )
    requests: list[BookedRequest] = []
    for (
        identity,
        model,
        state,
        cost,
        earlier,
        linked_at,
        updated_at,
        error_type,
        started_at,
        ended_at,
    ) in found:
        at = min(linked_at or updated_at, updated_at)
        # What was found out once its process had ended says nothing of when the service did it.
        in_time = started_at is not None and (ended_at is None or at < ended_at)
        standing: Standing = "maybe"
        if state == State.UNKNOWN.value:
            standing = "unknown"
        elif state == State.DONE.value and cost and not earlier and in_time:
            standing = "charged"
        request = BookedRequest(
            id=identity,
            model=model,
            first_at=max(started_at, at - _LONGEST_REQUEST_S)
            if in_time and error_type != _FOUND_DEAD
            else started_at or 0.0,
            last_at=at,
            standing=standing,
            cost_nano=cost,
        )
        requests.append(request)
        if earlier:
            requests.append(
                attrs.evolve(request, id=f"{identity}-earlier", standing="maybe", first_at=started_at or 0.0)
            )
    return requests


def recorded(store: Store, files: Sequence[str]) -> frozenset[str]:
    """Select those of *files* that are images which the journal knows."""
    found: set[str] = set()
    for some in (files[start : start + _MANY] for start in range(0, len(files), _MANY)):
        marks = ", ".join("?" * len(some))
        select = f"SELECT file FROM image WHERE file IN ({marks})"  # noqa: S608 - question marks only
        found.update(file for (file,) in store.connection.execute(select, some))
    return frozenset(found)


def _ending(record: _EndingRecord, state: State) -> Ending:
    _, charge, error_type, error_text, request_id, nano, attempts, updated_at = record[UNIT_WIDTH:]
    return Ending(
        unit=read_unit(record[:UNIT_WIDTH]),
        state=state,
        charge=Charge(charge or Charge.UNKNOWN.value),
        error_type=error_type,
        error_text=error_text,
        request_id=request_id,
        cost_nano=nano,
        attempts=attempts,
        updated_at=updated_at,
    )


def _list(identities: frozenset[int]) -> str:
    return ", ".join(str(int(identity)) for identity in identities)
