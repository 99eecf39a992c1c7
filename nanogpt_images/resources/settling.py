"""Unknown outcomes settled by the account: books → usage by day and label → proofs and bounds → books."""

from __future__ import annotations

import math
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Final, Literal, Protocol, TypeAlias

import attrs

from ..errors import NanoGPTError
from ..money.nano import to_nano
from ..money.outcome_bounds import (
    DAY_S,
    MARGIN_S,
    BookedRequest,
    DayRange,
    OutcomeBounds,
    UsageSum,
    bounds,
    ranges_of,
    too_early,
)
from ..types.model import Model
from ..wire.convert import as_object, as_text

if TYPE_CHECKING:
    from ..types.account import ModelUsage, Usage

_MOST_SKEW_S: Final = 3_600.0
_MOST_DAYS: Final = 366


class Books(Protocol):
    """What was sent, and where a verdict is written down: a batch's journal, or a ledger."""

    async def requests(self) -> Sequence[BookedRequest]:
        """Every request that was sent."""
        ...

    async def settle(self, ids: Sequence[str], verdict: Literal["charged", "not charged"]) -> int:
        """Record what is proven of unknown requests; how many still were unknown."""
        ...

    async def aclose(self) -> None:
        """Close the books."""
        ...


class Asks(Protocol):
    """The account, as far as it is asked."""

    async def balance(self) -> HasUsd: ...
    async def usage(self, from_: date | str | None = None, to: date | str | None = None) -> Usage: ...


class HasUsd(Protocol):
    """A balance."""

    @property
    def usd(self) -> float | None: ...


OpenBooks: TypeAlias = Callable[[Path], Awaitable[Books]]
Labels: TypeAlias = Callable[[], Awaitable[Sequence[Model]]]


@attrs.frozen(kw_only=True)
class SettledGroup:
    """
    The unknown requests of one model (or of several under one label) on some UTC days.

    Attributes:
        models: IDs.
        first_day: The first of the days.
        last_day: The last one, itself included.
        unknown: How many there are.
        lower: At least so many were charged.
        upper: At most so many.
        verdict: What is proven of all of them.
        reason: Why nothing is, in words.
    """

    models: tuple[str, ...]
    first_day: date
    last_day: date
    unknown: int
    lower: int
    upper: int
    verdict: Literal["charged", "not charged", "open"]
    reason: str


@attrs.frozen(kw_only=True)
class SettledOutcomes:
    """
    What became of unknown outcomes.

    Attributes:
        unknown: How many there were.
        not_charged: Proven not charged; they may be sent again.
        charged: Proven charged; they failed.
        groups: The bounds of each group.
    """

    unknown: int
    not_charged: int
    charged: int
    groups: tuple[SettledGroup, ...]

    @property
    def left(self) -> int:
        """How many stay unknown."""
        return self.unknown - self.not_charged - self.charged


async def settle(
    account: Asks,
    books: Books,
    labels: Labels,
    *,
    exclusive: bool = False,
    clock: Callable[[], float] = time.time,
) -> SettledOutcomes:
    """
    Settle the unknown requests of *books*; see `Account.settle`.

    Raises:
        NanoGPTError: The account does not answer.
    """
    requests = await books.requests()
    unknown = sum(request.standing == "unknown" for request in requests)
    if not unknown:
        return SettledOutcomes(unknown=0, not_charged=0, charged=0, groups=())
    before = (await account.balance()).usd
    found: list[tuple[tuple[str, ...], DayRange, OutcomeBounds]] = []
    names = await _names({request.model for request in requests}, labels)
    for models in _groups(names):
        own = [request for request in requests if request.model in models]
        label = frozenset[str]().union(*(names[model] for model in models))
        for days in ranges_of(own, MARGIN_S):
            told = await _bound(account, days, own, requests, label, exclusive=exclusive, now=clock())
            found.append((models, days, told))
    if (await account.balance()).usd != before:
        doubt = "the balance changed meanwhile: another request is in flight"
        found = [
            (models, days, attrs.evolve(told, lower=0, upper=len(told.ids), reason=doubt))
            for models, days, told in found
        ]
    cleared = charged = 0
    for _, _, told in found:
        if told.verdict == "not charged":
            cleared += await books.settle(told.ids, "not charged")
        elif told.verdict == "charged":
            charged += await books.settle(told.ids, "charged")
    return SettledOutcomes(
        unknown=unknown, not_charged=cleared, charged=charged, groups=tuple(_group(*each) for each in found)
    )


async def _bound(
    account: Asks,
    days: DayRange,
    own: Sequence[BookedRequest],
    every: Sequence[BookedRequest],
    label: frozenset[str],
    *,
    exclusive: bool,
    now: float,
) -> OutcomeBounds:
    today = _day(int(now // DAY_S))
    first, last = _day(days.first), _day(days.last)
    if last > today:
        return bounds(days, own, None, now=now, doubt=too_early(days.last * DAY_S + MARGIN_S))
    if (today - first).days >= _MOST_DAYS:
        return bounds(days, own, None, now=now, doubt="the account reports the last 366 days only")
    usage = await account.usage(first, last)
    # A refund may be booked on a later day, and may take its request out of the count.
    since = usage if last == today else await account.usage(first, today)
    margin_s, doubt = _doubt(usage, since, now)
    if not doubt and any(not line.names and line.requests != 0 for line in usage.by_model):
        doubt = "the account lists requests without the name of their model"
    lines = [line for line in usage.by_model if {_folded(name) for name in line.names} & label]
    told = bounds(days, own, _sum(lines), now=now, margin_s=margin_s, exclusive=exclusive, doubt=doubt)
    if any(r.standing == "charged" and days.holds(r, margin_s, now) for r in own):
        return told
    # Nothing here shows what the account calls these models; then only its total over all models can prove anything.
    total = (
        None
        if usage.requests is None
        else UsageSum(requests=usage.requests, cost_nano=to_nano(usage.cost_usd or 0))
    )
    of_all = bounds(days, every, total, now=now, margin_s=margin_s, exclusive=exclusive, doubt=doubt)
    if of_all.verdict == "open":
        return attrs.evolve(told, lower=0, upper=len(told.ids), reason=of_all.reason)
    verdict = 0 if of_all.verdict == "not charged" else len(told.ids)
    return attrs.evolve(told, lower=verdict, upper=verdict, reason="")


def _doubt(usage: Usage, since: Usage, now: float) -> tuple[float, str]:
    """By how much the account may count otherwise in time, and why nothing can be proven with it."""
    refunded = since.refunded_usd
    if refunded is None or refunded or any(line.refunded_usd for line in since.by_model):
        return MARGIN_S, "refunds, or no word on them: a refunded request may be counted no longer"
    if as_object(usage.raw.get("source")).get("missingRollupDays"):
        return MARGIN_S, "the account lacks sums of some of these days"
    stated = as_text(usage.raw.get("asOf"))
    try:
        as_of = datetime.fromisoformat(stated or "").timestamp()
    except ValueError:
        return MARGIN_S, "the account does not say how fresh its sums are"
    skew_s = abs(now - as_of)
    if skew_s > _MOST_SKEW_S:
        return MARGIN_S, "the account's clock and the one here differ by more than an hour"
    return MARGIN_S + skew_s, ""


def _sum(lines: Sequence[ModelUsage]) -> UsageSum | None:
    requests = [line.requests for line in lines]
    costs = [line.cost_usd for line in lines]
    if any(number is None for number in requests) or any(cost is None for cost in costs):
        return None
    return UsageSum(
        requests=sum(number or 0 for number in requests),
        cost_nano=to_nano(math.fsum(cost or 0.0 for cost in costs)),
    )


async def _names(models: set[str], labels: Labels) -> dict[str, frozenset[str]]:
    """By ID, what the account may call each model: its ID and its name."""
    names = {model: {_folded(model)} for model in models}
    try:
        for listed in await labels():
            if listed.id in names and listed.name:
                names[listed.id].add(_folded(listed.name))
    except NanoGPTError:
        pass  # their IDs alone prove less
    return {model: frozenset(texts) for model, texts in names.items()}


def _groups(names: Mapping[str, frozenset[str]]) -> list[tuple[str, ...]]:
    """Models that share a label belong together: the account counts them as one."""
    groups: list[tuple[set[str], frozenset[str]]] = []
    for model, own in sorted(names.items()):
        shared = [group for group in groups if group[1] & own]
        groups = [group for group in groups if group not in shared]
        groups.append(
            ({model}.union(*(group[0] for group in shared)), own.union(*(group[1] for group in shared)))
        )
    return [tuple(sorted(models)) for models, _ in groups]


def _folded(label: str) -> str:
    # `GPT Image 2` is the public label of gpt-image-2.
    return "".join(char for char in label.casefold() if char.isalnum())


def _day(number: int) -> date:
    return datetime(1970, 1, 1, tzinfo=UTC).date() + timedelta(days=number)


def _group(models: tuple[str, ...], days: DayRange, told: OutcomeBounds) -> SettledGroup:
    return SettledGroup(
        models=models,
        first_day=_day(days.first),
        last_day=_day(days.last),
        unknown=len(told.ids),
        lower=told.lower,
        upper=told.upper,
        verdict=told.verdict,
        reason=told.reason,
    )
