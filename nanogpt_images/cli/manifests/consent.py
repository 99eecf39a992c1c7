"""The question before a plan is paid for that has no budget."""

from __future__ import annotations

import signal
import sys
from typing import Final

import click

from ...batch.journal import Totals
from ...batch.planning.totals import Estimate
from ...errors import Charge, ParameterError
from ..errors import InterruptedRunError
from ..output import money

CONFIRM_ABOVE_USD: Final = 10.0
"""What a batch without a budget may cost before somebody is asked."""


confirm_above = click.option(
    "--confirm-above",
    type=click.FloatRange(min=0),
    metavar="USD",
    help=f"Without --budget, ask before paying for a plan above this.  [default: {CONFIRM_ABOVE_USD:g}]",
)


def above_usd(given: float | None, *, free: bool) -> float | None:
    """Return the cost above which to ask; None where no question is needed because nothing can be charged."""
    return None if given is None and free else CONFIRM_ABOVE_USD if given is None else given


def left_to_pay_usd(plan: Estimate, earlier: Totals | None) -> float:
    """
    Estimate what a run will cost.

    Args:
        plan: The numbers of the manifest.
        earlier: The sums of the journal so far.
    """
    done = 0.0 if earlier is None else earlier.planned_usd - earlier.to_come_usd
    return max(0.0, plan.cost_usd - done)


def ask(cost_usd: float, *, above_usd: float, may_ask: bool) -> None:
    """
    Let a person agree to a cost above a sum.

    Args:
        cost_usd: What the run will cost.
        above_usd: The sum; below it there is no question.
        may_ask: Whether there is somebody to ask, if standard input and error are a terminal.

    Raises:
        ParameterError: The question was not answered with yes.
        InterruptedRunError: The question was interrupted.
    """
    if cost_usd <= above_usd:
        return
    cost = money(cost_usd)
    if not may_ask or not sys.stdin.isatty() or not sys.stderr.isatty():
        raise ParameterError(
            f"this would cost {cost}, more than {money(above_usd)} (--confirm-above), and there is no --budget. Pass "
            "--budget USD, or --yes to agree.",
            parameter="budget_usd",
        )
    if not _agreed(f"This would cost {cost}. Go on?"):
        raise ParameterError("not confirmed.", parameter="budget_usd")


def _agreed(question: str) -> bool:
    # The loop's own handler would only take note of an interrupt, and the question would stay.
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        return click.confirm(question, err=True)
    except (KeyboardInterrupt, click.Abort):
        raise InterruptedRunError("interrupted.", charge=Charge.NOT_SENT) from None
    finally:
        signal.signal(signal.SIGINT, before)
