"""What happens to a unit, written down: each function is one event of `batch.states`."""

from __future__ import annotations

import json
from collections.abc import Collection, Sequence

import attrs

from ...errors import BudgetExceededError, Charge, JournalError
from ...money.nano import to_usd
from ..states import Event, State, advance, event_of
from . import results
from .database.store import Store
from .queries import committed_nano
from .records import ImageRecord, SignedUrl

_MAX_TEXT = 2_000
_SETTLED = f"CASE WHEN state IN ('{State.LINKED.value}', '{State.FAILED.value}') THEN cost_nano ELSE reserved_nano END"
"""What an attempt cost where the service did not say: what was recorded before, else the worst case."""


@attrs.frozen
class _Current:
    seq: int
    state: State
    attempts: int


def sent(store: Store, unit_id: str, reserved_nano: int, cap_nano: int | None) -> None:
    """
    The POST is about to leave; *reserved_nano* is its worst case.

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


def refused(store: Store, unit_id: str) -> None:
    """It was not carried out and not charged, and may be sent again."""
    current = _claimed(store, unit_id)
    store.connection.execute(
        "UPDATE unit SET state = ?, reserved_nano = 0, updated_at = ? WHERE seq = ?",
        (advance(current.state, Event.REFUSED).value, store.clock(), current.seq),
    )


def repeated(store: Store, unit_id: str) -> None:
    """It may have been charged, and is about to be sent again all the same."""
    current = _claimed(store, unit_id)
    after = advance(advance(current.state, Event.UNRESOLVED), Event.RETRIED)
    store.connection.execute(
        "UPDATE unit SET state = ?, earlier_unknown_nano = earlier_unknown_nano + reserved_nano, reserved_nano = 0,"
        " updated_at = ? WHERE seq = ?",
        (after.value, store.clock(), current.seq),
    )


def linked(
    store: Store,
    unit_id: str,
    links: Sequence[SignedUrl],
    *,
    images: Sequence[ImageRecord],
    cost_nano: int | None,
    request_id: str | None,
) -> None:
    """The answer holds signed URLs, and perhaps *images* that are on disk already."""
    current = _claimed(store, unit_id)
    after = advance(current.state, Event.LINKED)
    now = store.clock()
    store.connection.execute(
        f"UPDATE unit SET state = ?, cost_nano = coalesce(?, {_SETTLED}), reserved_nano = 0, request_id = ?,"  # noqa: S608
        " links = ?, linked_at = ?, updated_at = ? WHERE seq = ?",
        (after.value, cost_nano, clean(request_id), _to_text(links), now, now, current.seq),
    )
    _add_images(store, current, images, also=len(links))


def done(
    store: Store,
    unit_id: str,
    images: Sequence[ImageRecord],
    *,
    cost_nano: int | None,
    request_id: str | None,
) -> None:
    """Its images are on disk. One that an earlier run left unknown or linked may turn out to be done as well."""
    current = _claimed(store, unit_id, also=(State.UNKNOWN, State.LINKED))
    event = Event.RECOVERED if current.state is State.UNKNOWN else Event.STORED
    store.connection.execute(
        f"UPDATE unit SET state = ?, charge = '', cost_nano = coalesce(?, {_SETTLED}), reserved_nano = 0,"  # noqa: S608
        " request_id = coalesce(?, request_id), error_type = NULL, error_text = NULL, links = NULL,"
        " updated_at = ?, sent_at = iif(state = ?, NULL, sent_at) WHERE seq = ?",
        (
            *(advance(current.state, event).value, cost_nano, clean(request_id), store.clock()),
            # Nothing tells when the answer to an unknown one came.
            *(State.UNKNOWN.value, current.seq),
        ),
    )
    _add_images(store, current, images)


def settled(store: Store) -> int:
    """Count as done what was, or may have been, charged and has all of its images; how many requests that were."""
    # No event of a request: it ended well, and the journal of an earlier version says otherwise.
    return store.connection.execute(
        f"UPDATE unit SET state = '{State.DONE.value}', charge = '', cost_nano = {_SETTLED}, reserved_nano = 0,"  # noqa: S608
        " error_type = NULL, error_text = NULL, updated_at = ?"
        f" WHERE state IN ('{State.UNKNOWN.value}', '{State.FAILED.value}') AND charge IN (?, ?)"
        " AND images <= (SELECT count(DISTINCT idx) FROM image WHERE image.unit = seq AND idx < unit.images)",
        (store.clock(), Charge.UNKNOWN.value, Charge.CHARGED.value),
    ).rowcount


def failed(
    store: Store,
    unit_id: str,
    *,
    charge: Charge,
    error_type: str,
    error_text: str,
    images: Sequence[ImageRecord],
    cost_nano: int | None,
    request_id: str | None,
) -> None:
    """It ended without (all of) its images; with `Charge.UNKNOWN` its worst case stays reserved."""
    current = _claimed(store, unit_id)
    event = event_of(charge)
    cost = {Event.REJECTED: "0", Event.LOST: f"coalesce(:cost, {_SETTLED})"}.get(event, "cost_nano")
    kept = "reserved_nano" if event is Event.UNRESOLVED else "0"
    store.connection.execute(
        f"UPDATE unit SET state = :state, charge = :charge, cost_nano = {cost}, reserved_nano = {kept},"  # noqa: S608
        " request_id = coalesce(:request_id, request_id), error_type = :type, error_text = :text,"
        " updated_at = :now WHERE seq = :seq",
        {
            "state": advance(current.state, event).value,
            "charge": charge.value,
            "cost": cost_nano,
            "request_id": clean(request_id),
            "type": clean(error_type),
            "text": clean(error_text),
            "now": store.clock(),
            "seq": current.seq,
        },
    )
    _add_images(store, current, images)


def found(store: Store, unit_id: str) -> State:
    """Whoever sent a unit that is taken for unknown, or downloads a linked one, is alive. The state afterwards."""
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


def postponed(store: Store, unit_id: str, error_type: str, error_text: str) -> None:
    """Its download failed for now; it stays linked, for a later run."""
    current = _claimed(store, unit_id)
    if current.state is not State.LINKED:
        raise JournalError(f"a request that is {current.state.value} has no download to postpone")
    store.connection.execute(
        "UPDATE unit SET error_type = ?, error_text = ?, updated_at = ? WHERE seq = ?",
        (clean(error_type), clean(error_text), store.clock(), current.seq),
    )


def clean(text: str | None) -> str | None:
    """*text* as SQLite can store it, and of bounded length."""
    return None if text is None else text[:_MAX_TEXT].encode("utf-8", "replace").decode()


def _to_text(links: Sequence[SignedUrl]) -> str:
    return json.dumps([[link.index, link.url] for link in links])


def _claimed(store: Store, unit_id: str, *, also: Collection[State] = ()) -> _Current:
    found = store.connection.execute(
        "SELECT seq, state, attempts, owner FROM unit WHERE id = ?", (bytes.fromhex(unit_id),)
    ).fetchone()
    if found is None:
        raise JournalError(f"the journal knows no request {unit_id}; admit its row first")
    seq, state, attempts, owner = found
    current = _Current(seq, State(state), attempts)
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
        store.add_line(results.line(row, first_index, request_id, image, cost))
