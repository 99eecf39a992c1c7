"""The life of a paid request: what can happen to it when, and what is sent again."""

from itertools import pairwise, product

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nanogpt_images.batch.states import (
    Event,
    State,
    advance,
    event_of,
    is_open,
    reopens_on_resume,
    reopens_on_retry,
)
from nanogpt_images.errors import Charge, JournalError

ALLOWED = {
    (State.PENDING, Event.SENT): State.SENT,
    (State.PENDING, Event.REFUSED): State.PENDING,
    (State.PENDING, Event.REJECTED): State.FAILED,
    (State.SENT, Event.REFUSED): State.PENDING,
    (State.SENT, Event.LINKED): State.LINKED,
    (State.SENT, Event.STORED): State.DONE,
    (State.SENT, Event.REJECTED): State.FAILED,
    (State.SENT, Event.LOST): State.FAILED,
    (State.SENT, Event.UNRESOLVED): State.UNKNOWN,
    (State.LINKED, Event.STORED): State.DONE,
    (State.LINKED, Event.LOST): State.FAILED,
    (State.FAILED, Event.RETRIED): State.PENDING,
    (State.UNKNOWN, Event.RETRIED): State.PENDING,
    (State.DONE, Event.REMADE): State.PENDING,
    (State.UNKNOWN, Event.RECOVERED): State.DONE,
    (State.UNKNOWN, Event.FOUND): State.SENT,
    (State.PENDING, Event.REUSED): State.DONE,
    (State.UNKNOWN, Event.CLEARED): State.PENDING,
    (State.UNKNOWN, Event.CONFIRMED): State.FAILED,
}


@pytest.mark.parametrize(("state", "event"), list(product(State, Event)), ids=lambda value: value.name)
def test_every_pair_of_state_and_event(state: State, event: Event) -> None:
    """Each event leads from its states to one state, and is refused in all others."""
    if (state, event) in ALLOWED:
        assert advance(state, event) is ALLOWED[state, event]
    else:
        with pytest.raises(JournalError, match=state.value):
            advance(state, event)


@given(st.lists(st.sampled_from(Event)))
def test_a_second_payment_follows_a_refusal_or_a_request(events: list[Event]) -> None:
    """Between two SENT there is a REFUSED, a CLEARED, a RETRIED or a REMADE, and only a REMADE follows DONE."""
    state = State.PENDING
    accepted: list[Event] = []
    for event in events:
        try:
            state = advance(state, event)
        except JournalError:
            continue
        accepted.append(event)
    between = (Event.REFUSED, Event.CLEARED, Event.RETRIED, Event.REMADE)
    story = [event for event in accepted if event in (Event.SENT, *between)]
    assert (Event.SENT, Event.SENT) not in pairwise(story)
    for event, following in pairwise(accepted):
        assert event not in (Event.STORED, Event.RECOVERED, Event.REUSED) or following is Event.REMADE


@pytest.mark.parametrize(
    ("charge", "event"),
    [
        (Charge.NOT_SENT, Event.REJECTED),
        (Charge.REJECTED, Event.REJECTED),
        (Charge.CHARGED, Event.LOST),
        (Charge.UNKNOWN, Event.UNRESOLVED),
    ],
)
def test_the_charge_decides_how_a_failure_ends(charge: Charge, event: Event) -> None:
    """Only an unknown charge leaves a request unknown; only a charged one counts as lost."""
    assert event_of(charge) is event


def test_what_a_resume_sends_again() -> None:
    """A rerun repeats what failed for free, and nothing that was or may have been charged."""
    again = {pair for pair in product(State, (None, *Charge)) if reopens_on_resume(*pair)}
    assert again == {(State.FAILED, Charge.NOT_SENT), (State.FAILED, Charge.REJECTED)}


def test_what_a_retry_sends_again() -> None:
    """A retry repeats what was or may have been charged only when that is asked for."""
    pairs = list(product(State, (None, *Charge)))
    assert all(reopens_on_retry(*pair, unknown=False) == reopens_on_resume(*pair) for pair in pairs)
    asked = {pair for pair in pairs if reopens_on_retry(*pair, unknown=True)}
    assert (State.UNKNOWN, Charge.UNKNOWN) in asked
    assert (State.FAILED, Charge.CHARGED) in asked
    assert {state for state, _ in asked} == {State.FAILED, State.UNKNOWN}


def test_what_is_left_to_do() -> None:
    """Requests to send and images to download are open; what is under way or over is not."""
    assert {state for state in State if is_open(state)} == {State.PENDING, State.LINKED}
