"""How many requests of unknown outcome an account can have charged, from its sums by UTC day. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from typing import Final, Literal, TypeAlias

import attrs

MARGIN_S: Final = 900.0
"""By so much may the service count a request earlier or later than its books here say: late billing, sums that lag by a
minute, clocks that differ. What is nearer to the edge of a day counts for neither side."""
DAY_S: Final = 86_400

Standing: TypeAlias = Literal["charged", "maybe", "unknown"]


@attrs.frozen(kw_only=True)
class BookedRequest:
    """
    A request that was sent, as the books here have it.

    Attributes:
        id: Tells it from the others of its books.
        model: ID of the model.
        first_at: When it was sent at the earliest (seconds since the epoch).
        last_at: When it ended at the latest.
        standing: `charged` where an answer states its cost; `unknown` where nothing tells; `maybe` for all between,
            such as a failure that was charged by its status alone.
        cost_nano: What the answer states, for a charged one.
    """

    id: str
    model: str
    first_at: float
    last_at: float
    standing: Standing
    cost_nano: int = 0


@attrs.frozen(kw_only=True)
class DayRange:
    """UTC days, counted from the epoch, the last one included."""

    first: int
    last: int

    def holds(self, request: BookedRequest, margin_s: float, now: float) -> bool:
        """Whether the service has counted *request* within these days for certain, if it was charged."""
        return self.first * DAY_S <= request.first_at - margin_s and request.last_at + margin_s <= min(
            now, (self.last + 1) * DAY_S
        )

    def touches(self, request: BookedRequest, margin_s: float) -> bool:
        """Whether the service may have counted *request* within these days."""
        return (
            request.first_at - margin_s < (self.last + 1) * DAY_S
            and request.last_at + margin_s >= self.first * DAY_S
        )


@attrs.frozen(kw_only=True)
class UsageSum:
    """What an account says of some days: requests charged, and what they cost."""

    requests: int
    cost_nano: int


@attrs.frozen(kw_only=True)
class OutcomeBounds:
    """
    How many of some unknown requests were charged.

    Attributes:
        ids: The unknown requests.
        lower: At least so many were charged.
        upper: At most so many.
        reason: Why the bounds are not tighter; empty where they meet.
    """

    ids: tuple[str, ...]
    lower: int
    upper: int
    reason: str = ""

    @property
    def verdict(self) -> Literal["charged", "not charged", "open"]:
        """What is proven of all of them."""
        if self.upper == 0:
            return "not charged"
        return "charged" if self.lower == len(self.ids) else "open"


def too_early(final_at: float) -> str:
    """Say that an account may still change until *final_at* (seconds since the epoch)."""
    return f"too early: the account may still change; settle again after {datetime.fromtimestamp(final_at, UTC):%Y-%m-%d %H:%M} UTC"


def ranges_of(requests: Iterable[BookedRequest], margin_s: float) -> list[DayRange]:
    """The days in which the unknown ones of *requests* can have been counted; ranges that touch are one."""
    spans = sorted(
        (int((request.first_at - margin_s) // DAY_S), int((request.last_at + margin_s) // DAY_S))
        for request in requests
        if request.standing == "unknown"
    )
    merged: list[DayRange] = []
    for first, last in spans:
        if merged and first <= merged[-1].last:
            merged[-1] = DayRange(first=merged[-1].first, last=max(last, merged[-1].last))
        else:
            merged.append(DayRange(first=first, last=last))
    return merged


def bounds(
    days: DayRange,
    requests: Sequence[BookedRequest],
    usage: UsageSum | None,
    *,
    now: float,
    margin_s: float = MARGIN_S,
    exclusive: bool = False,
    doubt: str = "",
) -> OutcomeBounds:
    """
    Bound how many unknown requests of *days* were charged.

    "Not charged" needs a proof: all that the account counts on these days is charged here for certain, in number and
    in money. Other users of the key only add to the account, so they loosen the bound and never break it.

    Args:
        days: The days that hold the unknown ones whole.
        requests: All of the books that the account counts under the same label.
        usage: What the account says of these days under that label; None where it does not say.
        now: Seconds since the epoch.
        margin_s: See `MARGIN_S`; more where clocks differ by more.
        exclusive: The caller vouches that nothing else uses the key, so that what the account counts is in these books.
        doubt: Why nothing can be proven, such as a refund.
    """
    unknown = [
        request for request in requests if request.standing == "unknown" and days.touches(request, margin_s)
    ]
    ids = tuple(request.id for request in unknown)
    if doubt or usage is None:
        return OutcomeBounds(ids=ids, lower=0, upper=len(ids), reason=doubt or "the account does not say")
    if not all(days.holds(request, margin_s, now) for request in unknown):
        final_at = max(request.last_at for request in unknown) + margin_s
        reason = too_early(final_at) if final_at > now else "sent too near to midnight UTC to tell its day"
        return OutcomeBounds(ids=ids, lower=0, upper=len(ids), reason=reason)
    certain = [r for r in requests if r.standing == "charged" and days.holds(r, margin_s, now)]
    possible = [r for r in requests if r.standing != "unknown" and days.touches(r, margin_s)]
    left = usage.requests - len(certain)
    left_nano = usage.cost_nano - sum(request.cost_nano for request in certain)
    if left < 0 or left_nano < 0:
        return OutcomeBounds(
            ids=ids,
            lower=0,
            upper=len(ids),
            reason="the account counts less than these books know to be charged",
        )
    upper = min(len(ids), left)
    reason = ""
    if upper == 0 and left_nano:
        upper, reason = len(ids), "the account's sum of money is not that of these books"
    lower = max(0, min(len(ids), usage.requests - len(possible))) if exclusive else 0
    if lower > upper:
        return OutcomeBounds(ids=ids, lower=0, upper=len(ids), reason="the account contradicts itself")
    if not reason and upper and lower < len(ids):
        reason = (
            f"{left} more charged than these books know, by these or other requests"
            if not exclusive
            else "which of these were charged is not told"
        )
    return OutcomeBounds(ids=ids, lower=lower, upper=upper, reason=reason)
