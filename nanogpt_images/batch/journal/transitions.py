"""The changes of a unit in the journal: each function records one event of `batch.states`."""

from __future__ import annotations

import json
from collections.abc import Collection, Sequence
from typing import assert_never

import attrs

from ...errors import BudgetExceededError, Charge, JournalError
from ...money.nano import to_usd
from ..outcomes import (
    Done,
    Failed,
    ImageRecord,
    Linked,
    Outcome,
    Postponed,
    Refused,
    Repeated,
    SignedUrl,
)
from ..states import Event, State, advance, event_of
from . import results
from .database.schema import OF_THIS_PURCHASE
from .database.store import Store
from .queries import committed_nano

_MAX_TEXT = 2_000
_SETTLED = f"CASE WHEN state IN ('{State.LINKED.value}', '{State.FAILED.value}') THEN cost_nano ELSE reserved_nano END"
"""What an attempt cost where the service did not say: what was recorded before, else the worst case."""


@attrs.frozen
class _Current:
    seq: int
    state: State
    attempts: int
    has_links: bool

    @property
    def is_followed(self) -> bool:
        """Whether it has ended badly already, and only its links are still followed up."""
        return self.has_links and self.state in (State.UNKNOWN, State.FAILED)


def sent(store: Store, unit_id: str, reserved_nano: int, cap_nano: int | None) -> None:
    """
    Record that the POST is about to leave; *reserved_nano* is its worst case.

    Raises:
        BudgetExceededError: With it, the whole job of all processes could pass *cap_nano*.
    """
    current = _claimed(store, unit_id)
    after = advance(current.state, Event.SENT)
    if cap_nano is not None and (committed := committed_nano(store)) + reserved_nano > cap_nano:
        raise BudgetExceededError(
            f"the next request may cost ${to_usd(reserved_nano):.4f}, and ${to_usd(committed):.4f} of the budget of"
            f" ${to_usd(cap_nano):.4f} is spent or reserved."
        )
    store.connection.execute(
        "UPDATE unit SET state = ?1, charge = '', reserved_nano = ?2, attempts = attempts + 1, request_id = NULL,"
        " error_type = NULL, error_text = NULL, links = NULL, linked_at = NULL, updated_at = ?3, sent_at = ?3"
        " WHERE seq = ?4",
        (after.value, reserved_nano, store.clock(), current.seq),
    )


def record(store: Store, unit_id: str, outcome: Outcome) -> None:
    """Record what became of a unit that was sent, or of one that will not be sent."""
    match outcome:
        case Refused():
            _refused(store, unit_id)
        case Repeated():
            _repeated(store, unit_id)
        case Linked():
            _linked(store, unit_id, outcome)
        case Done():
            _done(store, unit_id, outcome)
        case Failed():
            _failed(store, unit_id, outcome)
        case Postponed():
            _postponed(store, unit_id, outcome)
        case _:
            assert_never(outcome)


def _refused(store: Store, unit_id: str) -> None:
    current = _claimed(store, unit_id)
    store.connection.execute(
        "UPDATE unit SET state = ?, reserved_nano = 0, updated_at = ? WHERE seq = ?",
        (advance(current.state, Event.REFUSED).value, store.clock(), current.seq),
    )


def _repeated(store: Store, unit_id: str) -> None:
    current = _claimed(store, unit_id)
    after = advance(advance(current.state, Event.UNRESOLVED), Event.RETRIED)
    store.connection.execute(
        "UPDATE unit SET state = ?, earlier_unknown_nano = earlier_unknown_nano + reserved_nano, reserved_nano = 0,"
        " updated_at = ? WHERE seq = ?",
        (after.value, store.clock(), current.seq),
    )


def _linked(store: Store, unit_id: str, outcome: Linked) -> None:
    current = _claimed(store, unit_id)
    after = advance(current.state, Event.LINKED)
    now = store.clock()
    store.connection.execute(
        f"UPDATE unit SET state = ?, cost_nano = coalesce(?, {_SETTLED}), reserved_nano = 0, request_id = ?,"  # noqa: S608
        " links = ?, linked_at = ?, updated_at = ? WHERE seq = ?",
        (
            *(after.value, outcome.cost_nano, clean(outcome.request_id), _to_text(outcome.links)),
            *(now, now, current.seq),
        ),
    )
    _add_images(store, current, outcome.images, also=len(outcome.links))


def _done(store: Store, unit_id: str, outcome: Done) -> None:
    # One that an earlier run left unknown or linked may turn out to be done as well.
    current = _claimed(store, unit_id, also=(State.UNKNOWN, State.LINKED))
    event = Event.RECOVERED if current.state is State.UNKNOWN else Event.STORED
    # No event of a request, as in `settled`: it was charged, and its images came after all.
    has_all = current.is_followed and current.state is State.FAILED
    after = State.DONE if has_all else advance(current.state, event)
    store.connection.execute(
        f"UPDATE unit SET state = ?, charge = '', cost_nano = coalesce(?, {_SETTLED}), reserved_nano = 0,"  # noqa: S608
        " request_id = coalesce(?, request_id), error_type = NULL, error_text = NULL, links = NULL,"
        " updated_at = ?, sent_at = iif(state = ?, NULL, sent_at) WHERE seq = ?",
        (
            *(after.value, outcome.cost_nano, clean(outcome.request_id), store.clock()),
            # Nothing tells when the answer to an unknown one came.
            *(State.UNKNOWN.value, current.seq),
        ),
    )
    _add_images(store, current, outcome.images)


def reused(store: Store, unit_id: str, images: Sequence[ImageRecord], request_id: str | None) -> None:
    """Its images were paid for before and are on disk: it costs nothing, and it was never sent."""
    current = _claimed(store, unit_id)
    store.connection.execute(
        "UPDATE unit SET state = ?, charge = '', cost_nano = 0, reserved_nano = 0, attempts = 0, request_id = ?,"
        " error_type = NULL, error_text = NULL, updated_at = ? WHERE seq = ?",
        (advance(current.state, Event.REUSED).value, clean(request_id), store.clock(), current.seq),
    )
    _add_images(store, attrs.evolve(current, attempts=0), images)


def settled(store: Store) -> int:
    """Count as done what was, or may have been, charged and has all of its images; how many requests that were."""
    # No event of a request: it ended well, and the journal of an earlier version says otherwise.
    return store.connection.execute(
        f"UPDATE unit SET state = '{State.DONE.value}', charge = '', cost_nano = {_SETTLED}, reserved_nano = 0,"  # noqa: S608
        " error_type = NULL, error_text = NULL, updated_at = ?"
        f" WHERE state IN ('{State.UNKNOWN.value}', '{State.FAILED.value}') AND charge IN (?, ?)"
        f" AND images <= (SELECT count(DISTINCT idx) FROM image WHERE {OF_THIS_PURCHASE} AND idx < unit.images)",
        (store.clock(), Charge.UNKNOWN.value, Charge.CHARGED.value),
    ).rowcount


def cleared(store: Store, unit_id: str) -> bool:
    """Record that the account proves it was not charged: it is pending again. False where it is unknown no more."""
    return _resolve(
        store, unit_id, Event.CLEARED, "charge = '', error_type = NULL, error_text = NULL, owner = NULL"
    )


def confirmed(store: Store, unit_id: str) -> bool:
    """Record that the account proves it was charged: it failed, at its worst case. False where it is unknown no more."""
    return _resolve(
        store, unit_id, Event.CONFIRMED, f"charge = '{Charge.CHARGED.value}', cost_nano = reserved_nano"
    )


def _resolve(store: Store, unit_id: str, event: Event, change: str) -> bool:
    return bool(
        store.connection.execute(
            f"UPDATE unit SET state = ?, {change}, reserved_nano = 0, updated_at = ? WHERE id = ? AND state = ?",  # noqa: S608
            (
                *(advance(State.UNKNOWN, event).value, store.clock()),
                *(bytes.fromhex(unit_id), State.UNKNOWN.value),
            ),
        ).rowcount
    )


def _failed(store: Store, unit_id: str, outcome: Failed) -> None:
    current = _claimed(store, unit_id)
    if current.is_followed:
        # What became of the request stays as it is; this is the end of the downloads of what it brought.
        store.connection.execute(
            "UPDATE unit SET links = NULL, updated_at = ? WHERE seq = ?", (store.clock(), current.seq)
        )
        _add_images(store, current, outcome.images)
        return
    event = event_of(outcome.charge)
    cost = {Event.REJECTED: "0", Event.LOST: f"coalesce(:cost, {_SETTLED})"}.get(event, "cost_nano")
    now = store.clock()
    kept = "reserved_nano" if event is Event.UNRESOLVED else "0"
    store.connection.execute(
        f"UPDATE unit SET state = :state, charge = :charge, cost_nano = {cost}, reserved_nano = {kept},"  # noqa: S608
        " request_id = coalesce(:request_id, request_id), error_type = :type, error_text = :text,"
        " links = :links, linked_at = :linked_at, updated_at = :now WHERE seq = :seq",
        {
            "state": advance(current.state, event).value,
            "charge": outcome.charge.value,
            "cost": outcome.cost_nano,
            "request_id": clean(outcome.request_id),
            "type": clean(outcome.error_type),
            "text": clean(outcome.error_text),
            "links": _to_text(outcome.links) if outcome.links else None,
            "linked_at": now if outcome.links else None,
            "now": now,
            "seq": current.seq,
        },
    )
    _add_images(store, current, outcome.images, also=len(outcome.links))


def found(store: Store, unit_id: str) -> State:
    """Record that the sender of an unknown unit, or the downloader of a linked one, is alive; return the new state."""
    select = "SELECT seq, state FROM unit WHERE id = ?"
    record = store.connection.execute(select, (bytes.fromhex(unit_id),)).fetchone()
    if record is None:
        raise JournalError(f"the journal knows no request {unit_id}; admit its row first")
    seq, state = record[0], State(record[1])
    if state not in (State.UNKNOWN, State.LINKED):
        return state
    if state is State.UNKNOWN:
        state = advance(state, Event.FOUND)
    store.connection.execute(
        "UPDATE unit SET state = ?, charge = '', owner = ?, error_type = NULL, error_text = NULL, updated_at = ?"
        " WHERE seq = ? AND (owner = ? OR owner IN (SELECT id FROM process WHERE ended_at IS NOT NULL))",
        (state.value, store.members.own_id, store.clock(), seq, store.members.own_id),
    )
    return state


def _postponed(store: Store, unit_id: str, outcome: Postponed) -> None:
    current = _claimed(store, unit_id)
    if current.is_followed:
        return  # why the request itself failed stays written down
    if current.state is not State.LINKED:
        raise JournalError(f"a request that is {current.state.value} has no download to postpone")
    store.connection.execute(
        "UPDATE unit SET error_type = ?, error_text = ?, updated_at = ? WHERE seq = ?",
        (clean(outcome.error_type), clean(outcome.error_text), store.clock(), current.seq),
    )


def clean(text: str | None) -> str | None:
    """Cut *text* to a bounded length, in a form that SQLite can store."""
    return None if text is None else text[:_MAX_TEXT].encode("utf-8", "replace").decode()


def _to_text(links: Sequence[SignedUrl]) -> str:
    return json.dumps([[link.index, link.url] for link in links])


def _claimed(store: Store, unit_id: str, *, also: Collection[State] = ()) -> _Current:
    found = store.connection.execute(
        "SELECT seq, state, attempts, links IS NOT NULL, owner FROM unit WHERE id = ?",
        (bytes.fromhex(unit_id),),
    ).fetchone()
    if found is None:
        raise JournalError(f"the journal knows no request {unit_id}; admit its row first")
    seq, state, attempts, has_links, owner = found
    current = _Current(seq, State(state), attempts, bool(has_links))
    # What another process works on is not touched: that is what keeps two of them from paying for it.
    if owner != store.members.own_id and current.state not in also:
        raise JournalError(f"request {unit_id} is not this process's to work on; admit its row first")
    return current


def _add_images(store: Store, current: _Current, images: Sequence[ImageRecord], *, also: int = 0) -> None:
    if not images:
        return
    select = (
        "SELECT row, first_index, request_id, cost_nano,"
        " (SELECT count(*) FROM image WHERE unit = seq AND attempt = attempts) FROM unit WHERE seq = ?"
    )
    row, first_index, request_id, cost_nano, known = store.connection.execute(
        select, (current.seq,)
    ).fetchone()
    share, rest = divmod(cost_nano, known + len(images) + also)
    for place, image in enumerate(images, start=known):
        cost = share + (place < rest)
        store.connection.execute(
            "INSERT INTO image (unit, attempt, idx, file, media_type, width, height, bytes, sha256, cost_nano)"
            " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            (
                *(current.seq, current.attempts, image.index, image.file, image.media_type),
                *(image.width, image.height, image.bytes, image.sha256, cost),
            ),
        )
        reused = current.attempts == 0  # nothing else is done without having been sent
        store.add_line(results.line(row, first_index, request_id, image, cost, reused=reused))
