"""Bounds on unknown outcomes, against a simulated account that is honest and hard to read."""

from __future__ import annotations

import random

import attrs
import pytest

from nanogpt_images.money.outcome_bounds import (
    DAY_S,
    MARGIN_S,
    BookedRequest,
    DayRange,
    UsageSum,
    bounds,
    ranges_of,
)

NOON = 20_000 * DAY_S + DAY_S // 2
LATER = NOON + 5 * MARGIN_S


def booked(number: int, standing: str, at: float = NOON, cost: int = 0) -> BookedRequest:
    return BookedRequest(
        id=f"{standing}{number}", model="m", first_at=at, last_at=at + 10, standing=standing, cost_nano=cost
    )


TODAY = DayRange(first=20_000, last=20_000)
PAID = booked(0, "charged", cost=5)
LOST = booked(0, "unknown")


@pytest.mark.parametrize(
    ("requests", "usage", "options", "verdict", "lower", "upper"),
    [
        ([PAID, LOST], (1, 5), {}, "not charged", 0, 0),
        ([PAID, LOST], (2, 10), {}, "open", 0, 1),
        ([PAID, LOST], (2, 10), {"exclusive": True}, "charged", 1, 1),
        ([PAID, LOST], (1, 6), {}, "open", 0, 1),
        ([PAID, LOST], (0, 0), {}, "open", 0, 1),
        ([PAID, LOST], (1, 5), {"doubt": "a refund"}, "open", 0, 1),
        ([PAID, LOST], (1, 5), {"now": NOON + 60}, "open", 0, 1),
        ([PAID, LOST, booked(1, "unknown")], (2, 10), {"exclusive": True}, "open", 1, 1),
        ([PAID, LOST, booked(1, "maybe")], (2, 10), {"exclusive": True}, "open", 0, 1),
        ([PAID, booked(2, "unknown", at=20_001 * DAY_S - 60)], (1, 5), {"now": LATER + DAY_S}, "open", 0, 1),
    ],
)
def test_verdicts(
    requests: list[BookedRequest],
    usage: tuple[int, int],
    options: dict[str, object],
    verdict: str,
    lower: int,
    upper: int,
) -> None:
    """What proves something, and what is only a bound."""
    told = bounds(
        TODAY, requests, UsageSum(requests=usage[0], cost_nano=usage[1]), **{"now": LATER, **options}
    )
    assert (told.verdict, told.lower, told.upper) == (verdict, lower, upper)
    assert bool(told.reason) == (verdict == "open")


def test_when_to_settle_again() -> None:
    """Too early says until when; a clock that differs too much near midnight is another matter."""
    early = bounds(TODAY, [PAID, LOST], UsageSum(requests=1, cost_nano=5), now=NOON + 60)
    assert early.reason.endswith("settle again after 2024-10-04 12:15 UTC")
    near = booked(1, "unknown", at=20_001 * DAY_S - 2 * MARGIN_S)
    usage = UsageSum(requests=1, cost_nano=5)
    late = bounds(TODAY, [PAID, near], usage, now=LATER + DAY_S, margin_s=3 * MARGIN_S)
    assert "midnight" in late.reason


def test_ranges_hold_the_unknown_ones_whole() -> None:
    """A request near midnight takes both days; requests of one range share it."""
    near = booked(1, "unknown", at=20_001 * DAY_S - 60)
    assert ranges_of([LOST, near, PAID], MARGIN_S) == [DayRange(first=20_000, last=20_001)]
    assert ranges_of([LOST], MARGIN_S) == [TODAY]


@attrs.define
class Account:
    """The service's side: what it charged, by its own clock."""

    skew_s: float
    rows: list[tuple[float, int]] = attrs.field(factory=list)
    refunded: bool = False

    def charge(self, at: float, nano: int) -> None:
        self.rows.append((at + self.skew_s, nano))

    def usage(self, days: DayRange, *, until: float) -> UsageSum:
        counted = [
            nano
            for at, nano in self.rows
            if days.first * DAY_S <= at < (days.last + 1) * DAY_S and at <= until
        ]
        return UsageSum(requests=len(counted), cost_nano=sum(counted))


def simulate(chance: random.Random) -> tuple[int, int, int]:
    """One job; how many unknown requests there were, how many were settled, how many wrongly."""
    account = Account(skew_s=chance.uniform(-600, 600))
    start = 20_000 * DAY_S + chance.uniform(0, DAY_S)
    length = chance.choice([600, 7_200, 2 * DAY_S])
    prices = chance.choice([[40], [40, 50, 60]])
    books: list[BookedRequest] = []
    truth: dict[str, bool] = {}
    for number in range(chance.randrange(1, 30)):
        sent = start + chance.uniform(0, length)
        ended = sent + chance.uniform(1, 200)
        price = chance.choice(prices)
        unknown = chance.random() < 0.15
        charged = chance.random() < 0.3 if unknown else True
        if charged:
            late = chance.uniform(0, 120) if unknown else 0
            account.charge(chance.uniform(sent, ended) + late, price)
        request = BookedRequest(
            id=str(number),
            model="m",
            first_at=sent,
            last_at=ended,
            standing="unknown" if unknown else chance.choice(["charged"] * 30 + ["maybe"]),
            cost_nano=0 if unknown else price,
        )
        books.append(request)
        truth[request.id] = charged
    if chance.random() < 0.3:
        for _ in range(chance.randrange(1, 5)):
            account.charge(start + chance.uniform(0, length), chance.choice(prices))
    if chance.random() < 0.2 and account.rows:
        # The worst reading of the documents: a refunded request is counted no longer.
        del account.rows[chance.randrange(len(account.rows))]
        account.refunded = True
    now = start + length + chance.uniform(0, 3 * 3_600)
    settled = wrong = unknowns = 0
    for days in ranges_of(books, MARGIN_S):
        told = bounds(
            days,
            books,
            account.usage(days, until=now - chance.uniform(0, 60) + account.skew_s),
            now=now,
            doubt="a refund" if account.refunded else "",
        )
        charged = sum(truth[each] for each in told.ids)
        unknowns += len(told.ids)
        if told.verdict == "not charged":
            settled += len(told.ids)
            wrong += charged
        assert told.lower <= charged <= told.upper
        assert told.verdict == "open" or charged in (0, len(told.ids))
    return unknowns, settled, wrong


def test_no_false_acquittal() -> None:
    """10,000 jobs with refunds, other users of the key, price ranges and clocks that differ: none is wrongly cleared."""
    chance = random.Random(7)
    outcomes = [simulate(chance) for _ in range(10_000)]
    unknowns, settled, wrong = (sum(column) for column in zip(*outcomes, strict=True))
    assert wrong == 0
    print(f"{settled / unknowns:.0%} of {unknowns} unknown requests settled")
    assert settled > unknowns / 10
