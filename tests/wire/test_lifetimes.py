"""The life of signed URLs: what they say themselves, the documented hour, and two clocks that differ."""

from __future__ import annotations

from datetime import UTC, datetime
from email.utils import format_datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nanogpt_images.wire.lifetimes import expiry_of, life_is_over

NOON = datetime(2026, 11, 21, 12, tzinfo=UTC).timestamp()
HOST = "https://files.example/a.png"


@pytest.mark.parametrize(
    ("query", "expires_at"),
    [
        ("", None),
        ("Expires=1795262400", NOON),
        ("expires=1795262400&sig=x", NOON),
        ("Expires=1795262400000", NOON),
        ("X-Amz-Date=20261121T113000Z&X-Amz-Expires=1800&X-Amz-Signature=x", NOON),
        ("X-Goog-Date=20261121T110000Z&X-Goog-Expires=3600", NOON),
        ("x-amz-date=20261121T113000Z&x-amz-expires=1800", NOON),
        ("sv=2025&se=2026-11-21T12%3A00%3A00Z&sig=x", NOON),
        ("se=2026-11-21T13:00:00%2B01:00", NOON),
        ("se=2026-11-21", NOON - 12 * 3600),
        ("X-Amz-Expires=3600", None),
        ("X-Amz-Date=yesterday&X-Amz-Expires=3600", None),
        ("X-Amz-Date=20261121T113000Z&X-Amz-Expires=soon", None),
        ("Expires=Sat%2C+21+Nov+2026", None),
        ("Expires=-5", None),
        ("Expires=1e999", None),
        ("Expires=" + "9" * 400, None),
        ("Expires=\u0661\u0662", None),
        ("se=never", None),
    ],
)
def test_what_a_url_says_of_its_end(query: str, expires_at: float | None) -> None:
    """The four usual ways of saying it are read, in any case; whatever else stands there is not taken for one."""
    assert expiry_of(f"{HOST}?{query}") == expires_at


@given(st.text())
def test_no_url_is_too_odd(text: str) -> None:
    """Whatever the service gave as a URL has an end that is a number, or none."""
    assert isinstance(expiry_of(text), float | None)
    assert isinstance(expiry_of(f"{HOST}?Expires={text}&se={text}&X-Amz-Date={text}"), float | None)


@pytest.mark.parametrize(
    ("query", "age_s", "over"),
    [
        ("", 3599, False),
        ("", 3600, True),
        (f"Expires={NOON + 60:.0f}", 59, False),
        (f"Expires={NOON + 60:.0f}", 60, True),
        (f"Expires={NOON + 7200:.0f}", 7199, False),
        # Whatever it promises, the files are kept for a day.
        ("Expires=9999999999", 86_399, False),
        ("Expires=9999999999", 86_400, True),
    ],
)
def test_when_a_life_is_over(query: str, age_s: float, over: bool) -> None:
    """By its own word, else after the documented hour; in any case after the day for which files are kept."""
    assert life_is_over(f"{HOST}?{query}", received_at=NOON, now=NOON + age_s) is over


@pytest.mark.parametrize(
    ("host_ahead_s", "over"), [(-86_000, False), (-61, False), (0, True), (90_000, True)]
)
def test_a_clock_that_is_ahead_loses_no_image(host_ahead_s: float, over: bool) -> None:
    """Where this machine thinks that a URL is dead and its host does not yet, it lives."""
    now = NOON + 60
    date = format_datetime(datetime.fromtimestamp(now + host_ahead_s, UTC), usegmt=True)
    link = f"{HOST}?Expires={NOON:.0f}"
    assert life_is_over(link, received_at=NOON, now=now, host_date=date) is over
    assert not life_is_over(link, received_at=NOON, now=NOON - 1, host_date=date)
    assert life_is_over(link, received_at=NOON, now=now, host_date="no date")
