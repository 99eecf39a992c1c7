"""A batch's own books beside the service's: what the account says was charged and given back."""

from __future__ import annotations

import math
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import UTC, date, datetime, timedelta
from typing import Final

import attrs

from ..batch.journal import ModelSpending, SpendingByModel
from ..client import AsyncClient
from ..errors import NanoGPTError
from ..money.nano import to_usd
from ..types.account import ModelUsage
from .output import money, note, one_line, say, say_fields, say_table

# The service refuses more.
_MOST_DAYS: Final = 366


@attrs.frozen(kw_only=True)
class Line:
    """
    One model in both books, in USD; several models, where the account knows them under one label.

    Attributes:
        journal_usd: What the journal knows to be charged.
        open_usd: What may have been charged on top: requests in flight or unknown, at their worst case.
        charged_usd: What the service says it charged, other uses of the key on those days included.
        refunded_usd: What the service says it gave back.
    """

    model: str
    journal_usd: float
    open_usd: float
    charged_usd: float
    refunded_usd: float


@attrs.frozen(kw_only=True)
class Comparison:
    """
    The journal beside the account, over the UTC days of the batch.

    Attributes:
        lines: By model; only models of the batch.
        unmatched: What the account lists beside these: other uses of the key, or models under a label that is not known.
        charged_usd: What the service says it charged for all uses of the key.
        refunded_usd: What it says it gave back of that.
        balance_usd: What the account holds now; None where the service does not say.
    """

    first_day: date
    last_day: date
    lines: Sequence[Line]
    unmatched: Sequence[ModelUsage]
    charged_usd: float
    refunded_usd: float
    balance_usd: float | None

    def document(self) -> dict[str, object]:
        """Return the comparison as JSON values."""
        return {
            "first_day": str(self.first_day),
            "last_day": str(self.last_day),
            "models": [attrs.asdict(line) for line in self.lines],
            "unmatched": [
                {
                    "model": usage.model,
                    "requests": usage.requests,
                    "charged_usd": usage.cost_usd,
                    "refunded_usd": usage.refunded_usd,
                }
                for usage in self.unmatched
            ],
            "charged_usd": self.charged_usd,
            "refunded_usd": self.refunded_usd,
            "balance_usd": self.balance_usd,
        }


async def compare(spending: SpendingByModel, client: AsyncClient) -> Comparison:
    """
    Ask the service about the days of a batch.

    Raises:
        NanoGPTError: It does not answer, or not to this key. Nothing was charged.
    """
    now = time.time()
    first_day, last_day = _day(spending.first_at or now), _day(spending.last_at or now)
    usages = [await client.account.usage(*days) for days in _ranges(first_day, last_day)]
    lines, unmatched = _matched(
        spending.models,
        [line for usage in usages for line in usage.by_model],
        await _labels(spending, client),
    )
    return Comparison(
        first_day=first_day,
        last_day=last_day,
        lines=lines,
        unmatched=unmatched,
        charged_usd=_total(usage.cost_usd or 0.0 for usage in usages),
        refunded_usd=_total(usage.refunded_usd or 0.0 for usage in usages),
        balance_usd=(await client.account.balance()).usd,
    )


def _ranges(first: date, last: date) -> Iterator[tuple[date, date]]:
    """Return the days from *first* to *last* in ranges that the service takes."""
    while first <= last:
        end = min(last, first + timedelta(days=_MOST_DAYS - 1))
        yield first, end
        first = end + timedelta(days=1)


async def _labels(spending: SpendingByModel, client: AsyncClient) -> Mapping[str, set[str]]:
    """Return by ID what the account may call each model of the batch: its ID and its name."""
    labels = {model.model: {_folded(model.model)} for model in spending.models}
    try:
        for model in await client.catalog.list():
            if model.id in labels and model.name:
                labels[model.id].add(_folded(model.name))
    except NanoGPTError as error:
        note(f"note: models are matched with the account by their IDs alone: {error.message}")
    return labels


def _folded(label: str) -> str:
    # `GPT Image 2` is the public label of gpt-image-2.
    return "".join(char for char in label.casefold() if char.isalnum())


def _matched(
    models: Sequence[ModelSpending], usages: Sequence[ModelUsage], labels: Mapping[str, set[str]]
) -> tuple[list[Line], list[ModelUsage]]:
    """Return a line for each model, or for all models that share a label, and the usages that belong to none."""
    groups: list[tuple[list[ModelSpending], set[str]]] = []
    for model in models:
        names = labels[model.model]
        shared = [group for group in groups if group[1] & names]
        groups = [group for group in groups if group not in shared]
        groups.append(
            (
                [*(each for group in shared for each in group[0]), model],
                names.union(*(group[1] for group in shared)),
            )
        )
    lines = [
        _line(members, [usage for usage in usages if _names(usage) & names]) for members, names in groups
    ]
    known = set[str]().union(*labels.values())
    return lines, [usage for usage in usages if not _names(usage) & known]


def _names(usage: ModelUsage) -> set[str]:
    return {_folded(name) for name in usage.names}


def print_comparison(comparison: Comparison) -> None:
    """Print the comparison as a table."""
    days = str(comparison.first_day)
    if comparison.last_day != comparison.first_day:
        days += f" to {comparison.last_day}"
    say()
    say(f"beside the account, {days} (UTC), with all other uses of the key on these days")
    rows = [
        [one_line(line.model), money(line.journal_usd), money(line.open_usd), *_charged(line)]
        for line in comparison.lines
    ]
    rows += [
        [one_line(usage.model or "not named"), "", "", *_charged(usage)] for usage in comparison.unmatched
    ]
    if len(rows) > 1:
        rows.append(["all", "", "", *_charged(comparison)])
    say_table(
        ["model", "this batch", "perhaps", "account", "refunded", "account net"], rows, right=range(1, 6)
    )
    if comparison.unmatched:
        say("a line without amounts of this batch belongs to none of its models, by ID or name")
    say_fields({"balance": money(comparison.balance_usd)})


def _charged(of: Line | ModelUsage | Comparison) -> list[str]:
    charged_usd = (of.cost_usd if isinstance(of, ModelUsage) else of.charged_usd) or 0.0
    refunded_usd = of.refunded_usd or 0.0
    return [*map(money, (charged_usd, refunded_usd, charged_usd - refunded_usd))]


def _line(models: Sequence[ModelSpending], usages: Sequence[ModelUsage]) -> Line:
    return Line(
        model=", ".join(model.model for model in models),
        journal_usd=to_usd(sum(model.spent_nano for model in models)),
        open_usd=to_usd(sum(model.open_nano for model in models)),
        charged_usd=_total(usage.cost_usd or 0.0 for usage in usages),
        refunded_usd=_total(usage.refunded_usd or 0.0 for usage in usages),
    )


def _day(at: float) -> date:
    return datetime.fromtimestamp(at, UTC).date()


def _total(amounts: Iterable[float]) -> float:
    return round(math.fsum(amounts), 9)
