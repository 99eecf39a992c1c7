"""The parts that make requests, put together in one place for local and for distributed batches."""

from __future__ import annotations

from collections.abc import Sequence

from ...money.budget import Budget
from ...money.budget_gate import BudgetGate
from ...resources.pipeline import Pipeline
from ...transport.pacing.pacer import Pacing
from ..batch_options import BatchOptions
from ..events import Tally
from ..journal.key_budget import KeyBudget
from ..recorder import Recorder
from .concurrency import ConcurrencyLimit
from .executor import Executor
from .later import Later
from .settlement import Settlement
from .stop_signal import StopSignal


def assemble(
    options: BatchOptions,
    *,
    images: Pipeline,
    recorder: Recorder,
    budget: Budget,
    stop_signal: StopSignal,
    tally: Tally,
    concurrency_limit: ConcurrencyLimit,
    pacers: Sequence[Pacing] = (),
    accounts: Sequence[KeyBudget] = (),
    later: Later | None = None,
) -> Executor:
    """
    Make an executor, and the settlement that follows each of its requests.

    Args:
        options: The batch's.
        images: Sends the requests.
        recorder: Writes down intents and outcomes.
        budget: What may be spent here.
        stop_signal: Stops the batch.
        tally: Counts.
        concurrency_limit: Bounds the requests in flight.
        pacers: Pace the starts of all processes of the job, one for each key.
        accounts: Book requests on their keys, where there are several.
        later: Takes downloads that failed for now; None leaves them to the next run.
    """
    budget_gate = BudgetGate(budget)
    settlement = Settlement(
        images=images,
        recorder=recorder,
        budget_gate=budget_gate,
        stop_signal=stop_signal,
        tally=tally,
        options=options,
        later=later,
    )
    return Executor(
        images=images,
        recorder=recorder,
        budget_gate=budget_gate,
        concurrency_limit=concurrency_limit,
        stop_signal=stop_signal,
        tally=tally,
        settlement=settlement,
        pacers=pacers,
        accounts=accounts,
    )
