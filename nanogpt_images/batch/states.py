"""The life of one paid request in a batch: its states, what happens to it, and what may be sent again."""

from __future__ import annotations

import enum
from typing import TypeAlias, assert_never

from ..errors import Charge, JournalError


class State(enum.Enum):
    """Where a paid request stands."""

    PENDING = "pending"
    """Not sent, or refused without a charge: it may be sent."""
    SENT = "sent"
    """It may be in flight at the service."""
    LINKED = "linked"
    """Charged; its signed URLs are known and their download is open."""
    DONE = "done"
    """Its images are on disk."""
    FAILED = "failed"
    """Over without its images; the charge says whether it cost anything."""
    UNKNOWN = "unknown"
    """Sent, with an outcome that is not known."""


BatchState: TypeAlias = State
"""The public name of `State`: that of a `BatchEvent`."""


class Event(enum.Enum):
    """What can happen to a paid request."""

    SENT = "sent"
    """Its POST is about to leave."""
    REFUSED = "refused"
    """It was not carried out and not charged, and may be sent again."""
    LINKED = "linked"
    """The answer holds signed URLs."""
    STORED = "stored"
    """Its images are on disk."""
    REJECTED = "rejected"
    """It ended for good without a charge."""
    LOST = "lost"
    """It was charged, and images of it are lost."""
    UNRESOLVED = "unresolved"
    """Its outcome will not become known."""
    RETRIED = "retried"
    """It is to be sent again, even if it is then paid for twice."""
    REMADE = "remade"
    """Its images are there, and others are asked for, at the full price."""
    RECOVERED = "recovered"
    """Images of an unknown request turned up on disk."""
    REUSED = "reused"
    """Its images were paid for before, by another job or call, and are copied."""
    CLEARED = "cleared"
    """The account proves that an unknown request was not charged."""
    CONFIRMED = "confirmed"
    """The account proves that an unknown request was charged."""
    FOUND = "found"
    """The process that sent an unknown request turned out to be alive, and will report its outcome."""


def advance(state: State, event: Event) -> State:  # noqa: PLR0912 - a branch for each event
    """
    Return the state after *event*.

    Args:
        state: Where the request stands.
        event: What happened to it.

    Raises:
        JournalError: *event* cannot happen in *state*; a second payment or a lost image would follow.
    """
    before: tuple[State, ...]
    match event:
        case Event.SENT:
            before, after = (State.PENDING,), State.SENT
        case Event.REFUSED:
            # Also while pending: a caller cancelled in between cannot tell whether its intent was recorded.
            before, after = (State.SENT, State.PENDING), State.PENDING
        case Event.LINKED:
            before, after = (State.SENT,), State.LINKED
        case Event.STORED:
            before, after = (State.SENT, State.LINKED), State.DONE
        case Event.REJECTED:
            before, after = (State.PENDING, State.SENT), State.FAILED
        case Event.LOST:
            before, after = (State.SENT, State.LINKED), State.FAILED
        case Event.UNRESOLVED:
            before, after = (State.SENT,), State.UNKNOWN
        case Event.RETRIED:
            before, after = (State.FAILED, State.UNKNOWN), State.PENDING
        case Event.REMADE:
            before, after = (State.DONE,), State.PENDING
        case Event.RECOVERED:
            before, after = (State.UNKNOWN,), State.DONE
        case Event.REUSED:
            before, after = (State.PENDING,), State.DONE
        case Event.CLEARED:
            before, after = (State.UNKNOWN,), State.PENDING
        case Event.CONFIRMED:
            before, after = (State.UNKNOWN,), State.FAILED
        case Event.FOUND:
            before, after = (State.UNKNOWN,), State.SENT
        case _:
            assert_never(event)
    if state not in before:
        allowed = " or ".join(possible.value for possible in before)
        raise JournalError(
            f"a request that is {state.value} cannot become {after.value}: '{event.value}' follows {allowed} only"
        )
    return after


def event_of(charge: Charge) -> Event:
    """Return the event that ends a request which failed with *charge*."""
    match charge:
        case Charge.NOT_SENT | Charge.REJECTED:
            return Event.REJECTED
        case Charge.CHARGED:
            return Event.LOST
        case Charge.UNKNOWN:
            return Event.UNRESOLVED
        case _:
            assert_never(charge)


def is_open(state: State) -> bool:
    """Return whether there is work to do: a request to send, or a paid image to download."""
    return state in (State.PENDING, State.LINKED)


def reopens_on_resume(state: State, charge: Charge | None) -> bool:
    """Return whether a rerun sends the request again by itself: it failed, and it cost nothing."""
    return state is State.FAILED and charge in (Charge.NOT_SENT, Charge.REJECTED)


def reopens_on_retry(state: State, charge: Charge | None, *, unknown: bool) -> bool:
    """
    Return whether `retry` sends the request again.

    Args:
        state: Where the request stands.
        charge: What its failure cost; None unless it failed.
        unknown: Also what may have been, or has been, charged: it is paid for again.
    """
    paid = state is State.UNKNOWN or (state is State.FAILED and charge in (Charge.CHARGED, Charge.UNKNOWN))
    return reopens_on_resume(state, charge) or (unknown and paid)
