"""A batch's own books beside the service's: what the account says was charged and given back."""

from __future__ import annotations

import math
import time
from collections.abc import Iterable, Sequence
from datetime import UTC, date, datetime

import attrs

from .._money import to_usd
from ..account import Account, ModelUsage
from ..batch.journal import ModelSpending, Spending
from ._output import money, say, say_fields, say_table


@attrs.frozen(kw_only=True)
class Line:
    """
    One model in both books, in USD.

    Attributes:
        journal_usd: What the journal knows to be charged.
        open_usd: What may have been charged on top: requests under way or unknown, at their worst case.
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
        balance_usd: What the account holds now; None where the service does not say.
    """

    first_day: date
    last_day: date
    lines: Sequence[Line]
    balance_usd: float | None

    def document(self) -> dict[str, object]:
        """The comparison as JSON values."""
        return {
            "first_day": str(self.first_day),
            "last_day": str(self.last_day),
            "models": [attrs.asdict(line) for line in self.lines],
            "charged_usd": _total(line.charged_usd for line in self.lines),
            "refunded_usd": _total(line.refunded_usd for line in self.lines),
            "balance_usd": self.balance_usd,
        }


async def compare(spending: Spending, account: Account) -> Comparison:
    """
    Ask the service about the days of a batch.

    Raises:
        NanoGPTError: It does not answer, or not to this key. Nothing was charged.
    """
    now = time.time()
    first_day, last_day = _day(spending.first_at or now), _day(spending.last_at or now)
    usage = await account.usage(first_day, last_day)
    charged = {line.model: line for line in usage.by_model}
    return Comparison(
        first_day=first_day,
        last_day=last_day,
        lines=[_line(model, charged.get(model.model)) for model in spending.models],
        balance_usd=(await account.balance()).usd,
    )


def print_comparison(comparison: Comparison) -> None:
    """The comparison as a table."""
    days = str(comparison.first_day)
    if comparison.last_day != comparison.first_day:
        days += f" to {comparison.last_day}"
    say()
    say(f"beside the account, {days} (UTC), with all other uses of the key on these days")
    say_table(
        ["model", "this batch", "perhaps", "account", "refunded", "account net"],
        [
            [
                line.model,
                *map(money, (line.journal_usd, line.open_usd, line.charged_usd, line.refunded_usd)),
                money(line.charged_usd - line.refunded_usd),
            ]
            for line in comparison.lines
        ],
        right=range(1, 6),
    )
    say_fields({"balance": money(comparison.balance_usd)})


def _line(model: ModelSpending, usage: ModelUsage | None) -> Line:
    return Line(
        model=model.model,
        journal_usd=to_usd(model.spent_nano),
        open_usd=to_usd(model.open_nano),
        charged_usd=(usage and usage.cost_usd) or 0.0,
        refunded_usd=(usage and usage.refunded_usd) or 0.0,
    )


def _day(at: float) -> date:
    return datetime.fromtimestamp(at, UTC).date()


def _total(amounts: Iterable[float]) -> float:
    return round(math.fsum(amounts), 9)
