"""`retry`: what failed in a batch, once more."""

from __future__ import annotations

import time
from pathlib import Path

import click

from ...batch.journal import Journal, Totals
from ...batch.manifest.picks import read_picks
from ...batch.run.progress import RunTarget
from ...batch.states import State
from ...errors import ParameterError
from .. import common as _common
from ..batch_run import service_options
from ..client import open_client, run_async
from ..gallery_page import ahead, gallery_at_end
from ..job import Outcome, require_journal, run_batch, totals_of
from ..output import count, money, note
from ..summary import RunSummary, close, print_report


@_common.verb("retry", example="retry out --unknown")
@_common.directory
@click.option(
    "--unknown",
    is_flag=True,
    help="Also send requests that were, or may have been, charged: they are paid for again.",
)
@click.option(
    "--picked",
    metavar="FILE",
    help="Send only what is marked with x in FILE, which the gallery saves; it is paid for again.",
)
@_common.budget
@_common.key_budget
@_common.assume_price
@_common.concurrency
@_common.pacing
@_common.provenance
@_common.no_gallery
@_common.images_url
@_common.sandbox
@_common.quiet
@click.pass_obj
def command(
    args: tuple[str, ...],
    directory: str,
    unknown: bool,
    picked: str | None,
    budget: float | None,
    key_budget: float | None,
    assume_price: float | None,
    concurrency: int | None,
    requests_per_second: float,
    no_pacing: bool,
    provenance: bool,
    no_gallery: bool,
    images_url: str | None,
    sandbox: bool,
    quiet: bool,
    base_url: str | None,
    as_json: bool,
) -> int:
    """
    Send again what failed in the batch in DIR without a charge, and finish what was left.

    Rows of its manifest that were never read are read now, if the file is still there and has not changed;
    otherwise they are counted, and the exit code is 1.

    The exit codes are those of 'batch'.
    """
    folder = Path(directory)
    require_journal(folder)
    if picked is not None and unknown:
        raise click.UsageError("--picked goes without --unknown: it names what is sent.")
    silent = quiet or as_json

    async def work() -> RunSummary:
        async with open_client(
            base_url=base_url,
            sandbox=sandbox,
            requests_per_second=None if no_pacing else requests_per_second,
            quiet=silent,
        ) as client:
            totals = await totals_of(folder)
            if picked is not None:
                goal = await _picked_goal(folder, picked, totals, budget, silent=silent)
            else:
                goal = _goal(totals, budget, unknown=unknown)
                if not silent:
                    _announce(totals, goal, unknown=unknown)
            started = time.monotonic()
            outcome = Outcome(totals=totals)
            # A journal that cannot be read is opened all the same, for the error that says why.
            if totals is None or goal.requests != 0:
                run = client.retry_batch(
                    folder,
                    unknown=unknown,
                    picked=picked,
                    concurrency=concurrency,
                    budget_usd=budget,
                    key_budget_usd=key_budget,
                    assume_price_usd=assume_price,
                    provenance=provenance,
                    images_url=images_url,
                )
                async with ahead(folder, wanted=not no_gallery):
                    outcome = await run_batch(run, folder, goal, quiet=quiet, silent=silent)
            summary = RunSummary(
                outcome=outcome,
                plan=None,
                directory=folder,
                again=args,
                service=service_options(base_url, sandbox=sandbox),
                elapsed_s=time.monotonic() - started,
            )
            if not as_json:
                print_report(summary)
            if not no_gallery:
                summary.gallery = await gallery_at_end(folder, outcome, silent=silent)
            return summary

    return close(run_async(work), as_json=as_json)


def _goal(totals: Totals | None, budget_usd: float | None, *, unknown: bool) -> RunTarget:
    if totals is None:
        return RunTarget(requests=None, budget_usd=budget_usd)
    units = totals.units
    # Links are downloaded without paying again, so those requests are no longer bought.
    followed = 0 if unknown else totals.followed_links
    open_units = (
        followed + units[State.PENDING] + units[State.LINKED] + units[State.FAILED] - totals.charged_failures
    )
    paid_again = units[State.UNKNOWN] + totals.charged_failures if unknown else 0
    return RunTarget(
        # How many requests the rest of a manifest makes shows only when it is read.
        requests=None if totals.unread_rows else open_units + paid_again,
        budget_usd=budget_usd,
        spent_usd=totals.spent_usd + (0.0 if unknown else totals.unknown_usd),
    )


async def _picked_goal(
    folder: Path, picked: str, totals: Totals | None, budget_usd: float | None, *, silent: bool
) -> RunTarget:
    """Count, and unless *silent* say, what the picks send; raise ParameterError where they mark nothing."""
    again = read_picks(picked).again
    if not again:
        raise ParameterError(
            f"{picked} marks nothing to make again.",
            parameter="picked",
            advice="Press x on images in the gallery, then save the picks.",
        )
    async with await Journal.open(folder, service=None, read_only=True) as journal:
        paid = sum((await journal.charged_among(again)).values())
    if not silent:
        budget = f" · budget {money(budget_usd)}" if budget_usd is not None else ""
        note(f"plan: {count(len(again), 'picked request')}, {paid:,} of them paid for again{budget}")
    return RunTarget(
        requests=len(again),
        budget_usd=budget_usd,
        spent_usd=totals.spent_usd + totals.unknown_usd if totals is not None else 0.0,
    )


def _why_nothing(totals: Totals) -> str:
    charged = totals.units[State.UNKNOWN] + totals.charged_failures
    if charged:
        them = count(charged, "request")
        return f"{them} may have been charged or was charged, and only --unknown pays for that again"
    if totals.units[State.SENT]:
        return f"{count(totals.units[State.SENT], 'request')} in flight in a process that is running"
    return f"all {count(totals.units[State.DONE], 'request')} are done"


def _announce(totals: Totals | None, goal: RunTarget, *, unknown: bool) -> None:
    if totals is None:
        return
    if not goal.requests and not totals.unread_rows:
        note(f"nothing to send again: {_why_nothing(totals)}")
        return
    again = totals.units[State.UNKNOWN] + totals.charged_failures
    paid = f", {again:,} of which are paid for again" if unknown and again else ""
    what = "" if goal.requests is None else count(goal.requests, "request")
    if totals.unread_rows:
        what = f"what is open, and {count(totals.unread_rows, 'row')} of the manifest that were not read yet"
        paid = f"; {count(again, 'request')} paid for again" if paid else ""
    budget = f" · budget {money(goal.budget_usd)}" if goal.budget_usd is not None else ""
    note(f"plan: {what}{paid}{budget}")
