"""The life of one paid request in a batch: its states, what happens to it, and what may be sent again."""

from __future__ import annotations

import enum
from typing import Final, TypeAlias, assert_never

from ..errors import Charge, JournalError


class State(enum.Enum):
    """Where a paid request stands."""

    PENDING = "pending"
    """Not sent, or refused without a charge: it may be sent."""
    SENT = "sent"
    """It may be under way at the service."""
    LINKED = "linked"
    """Charged; its signed URLs are known and their download is open."""
    DONE = "done"
    """Its images are on disk."""
    FAILED = "failed"
    """Over without its images; the charge says whether it cost anything."""
    UNKNOWN = "unknown"
    """Sent, and nothing tells what became of it."""


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
    """It was charged, and images of it cannot be had."""
    UNRESOLVED = "unresolved"
    """Nothing will tell any more what became of it."""
    RETRIED = "retried"
    """It is asked for again, at whatever price."""
    REMADE = "remade"
    """Its images are there, and others are asked for, at the full price."""
    RECOVERED = "recovered"
    """Images of an unknown request turned up on disk."""
    FOUND = "found"
    """Whoever sent an unknown request turned out to be alive, and will tell what became of it."""


_STEPS: Final[dict[Event, tuple[tuple[State, ...], State]]] = {
    Event.SENT: ((State.PENDING,), State.SENT),
    # Also while pending: a caller cancelled in between cannot tell whether its intent was recorded.
    Event.REFUSED: ((State.SENT, State.PENDING), State.PENDING),
    Event.LINKED: ((State.SENT,), State.LINKED),
    Event.STORED: ((State.SENT, State.LINKED), State.DONE),
    Event.REJECTED: ((State.PENDING, State.SENT), State.FAILED),
    Event.LOST: ((State.SENT, State.LINKED), State.FAILED),
    Event.UNRESOLVED: ((State.SENT,), State.UNKNOWN),
    Event.RETRIED: ((State.FAILED, State.UNKNOWN), State.PENDING),
    Event.REMADE: ((State.DONE,), State.PENDING),
    Event.RECOVERED: ((State.UNKNOWN,), State.DONE),
    Event.FOUND: ((State.UNKNOWN,), State.SENT),
}
"""For each event the states in which it can happen, and the state after it."""


def advance(state: State, event: Event) -> State:
    """
    The state after *event*.

    Args:
        state: Where the request stands.
        event: What happened to it.

    Raises:
        JournalError: *event* cannot happen in *state*; a second payment or a lost image would follow.
    """
    before, after = _STEPS[event]
    if state not in before:
        allowed = " or ".join(possible.value for possible in before)
        raise JournalError(
            f"a request that is {state.value} cannot become {after.value}: '{event.value}' follows {allowed} only"
        )
    return after


def event_of(charge: Charge) -> Event:
    """The event that ends a request which failed with *charge*."""
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
    """Whether there is work to do: a request to send, or a paid image to download."""
    return state in (State.PENDING, State.LINKED)


def reopens_on_resume(state: State, charge: Charge | None) -> bool:
    """Whether a rerun sends the request again by itself: it failed, and it cost nothing."""
    return state is State.FAILED and charge in (Charge.NOT_SENT, Charge.REJECTED)


def reopens_on_retry(state: State, charge: Charge | None, *, unknown: bool) -> bool:
    """
    Whether `retry` sends the request again.

    Args:
        state: Where the request stands.
        charge: What its failure cost; None unless it failed.
        unknown: Also what may have been, or has been, charged: it is paid for again.
    """
    paid = state is State.UNKNOWN or (state is State.FAILED and charge in (Charge.CHARGED, Charge.UNKNOWN))
    return reopens_on_resume(state, charge) or (unknown and paid)
