"""The end of a batch: planned beside actual, where things are, what to do next, and the exit code."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

import attrs

from .._base.display import duration
from ..batch.events import BatchReport
from ..batch.journal import Totals
from ..batch.planning.totals import Estimate
from ..batch.states import State
from ..errors import BudgetExceededError
from .errors import FAILED, INTERRUPTED, document, exit_code, sentence
from .job import Outcome
from .output import command_line, count, money, note, one_line, say, say_fields, say_json, say_table

_SHOWN_REASONS: Final = 5
_PLAIN_WIDTH: Final = 600


@attrs.define(kw_only=True)
class RunSummary:
    """
    All that the end of a run tells.

    Attributes:
        outcome: The run.
        plan: What it was to do; None for a retry, and for a large manifest.
        directory: Where the images are.
        again: The arguments that resume it.
        gallery: The page that shows them, once it is made.
        service: Options that name the service, for the next command (`--sandbox`, `--base-url …`).
        elapsed_s: How long it took.
        joined: It was one process of several that may work on the directory.
    """

    outcome: Outcome
    plan: Estimate | None
    directory: Path
    again: Sequence[str]
    service: Sequence[str]
    elapsed_s: float
    joined: bool = False
    gallery: Path | None = None

    @property
    def left(self) -> int:
        """Requests of a job of several processes that are still to do, those in other processes' hands included."""
        report = self.outcome.report
        return report.pending + report.open_downloads if self.joined else 0

    @property
    def code(self) -> int:
        """The exit code."""
        if self.outcome.interrupted:
            return INTERRUPTED
        if self.outcome.stopped is not None:
            # A usage error has its own code only before anything was sent.
            code = exit_code(self.outcome.stopped) or FAILED
            return FAILED if code == 2 else code
        return 0 if self.outcome.report.ok and not _unfinished(self.outcome.totals) else FAILED


def _unfinished(totals: Totals | None) -> int:
    """
    Describe requests of earlier runs that a rerun leaves alone, because they may have been charged.

    Failures without a charge do not count: those of this manifest were sent again, others are of rows that are gone.
    """
    if totals is None:
        return 0
    return totals.units[State.UNKNOWN] + totals.units[State.LINKED] + totals.charged_failures


def close(closing: RunSummary, *, as_json: bool) -> int:
    """Print what `print_report` left to say, or the document of *as_json*, and return the exit code."""
    if as_json:
        say_json(_document(closing))
    elif closing.gallery is not None:
        say_fields({"gallery": str(closing.gallery)})
    return closing.code


def print_report(closing: RunSummary) -> None:
    """Print what became of a run and what to do next, before its gallery is made."""
    outcome, report = closing.outcome, closing.outcome.report
    parts = [
        count(report.done, "request") + " done",
        count(report.images, "image"),
        f"{report.skipped - report.unresolved:,} done before{' or claimed by others' if closing.joined else ''}"
        if report.skipped > report.unresolved
        else "",
        f"{report.unresolved:,} unresolved from before" if report.unresolved else "",
        f"{report.failed:,} failed" if report.failed else "",
        f"{report.unknown:,} unknown" if report.unknown else "",
        count(report.open_downloads, "open download") if report.open_downloads else "",
        f"{report.pending:,} still pending" if report.pending else "",
        duration(closing.elapsed_s),
    ]
    say(" · ".join(part for part in parts if part))
    _print_reasons(report)
    if closing.plan is not None and report.requests:
        say()
        _print_comparison(closing, closing.plan)
    say()
    say_fields(
        {
            "images": str(closing.directory / "images"),
            "results": str(closing.directory / "results.jsonl"),
            "not in USD": other_costs_text(report),
            "unread": _unread(closing),
            "unknown": f"up to {money(outcome.totals.unknown_usd)} may have been charged for {count(outcome.totals.units[State.UNKNOWN], 'request')}"
            if outcome.totals is not None and outcome.totals.units[State.UNKNOWN]
            else "",
            "next": [next_command(closing), *([f"({remark})"] if (remark := _remark(closing)) else [])],
        }
    )
    if outcome.stopped is not None:
        note(f"stopped: {sentence(outcome.stopped)}")
    elif outcome.interrupted:
        note("interrupted; nothing that is done will be paid for twice")
    if closing.left:
        held = report.held_by_others
        by_others = f", {held:,} of them in the hands of other processes" if held else ""
        note(
            f"left: {count(closing.left, 'request')} of this job still to do{by_others}; once no process works on it,"
            f" continue with '{next_command(closing)}'"
        )


def other_costs_text(report: BatchReport) -> str:
    """What requests cost in other currencies; empty where there are none."""
    if not report.other_currency:
        return ""
    amounts = ", ".join(f"{amount:.9g} {one_line(name)}" for name, amount in report.other_costs.items())
    return f"{count(report.other_currency, 'request')}: {amounts}; counted above at the expected price"


def _unread(closing: RunSummary) -> str:
    report, totals = closing.outcome.report, closing.outcome.totals
    if not report.unread or totals is None:
        return ""
    files = ", ".join(one_line(manifest.path) for manifest in totals.manifests if manifest.unread)
    why = "" if _is_cut_short(closing) or closing.joined else ", which is gone or has changed"
    return f"{count(report.unread, 'row')} of {files} never read{why}"


def _is_cut_short(closing: RunSummary) -> bool:
    return bool(closing.outcome.interrupted) or closing.outcome.stopped is not None


def _print_reasons(report: BatchReport) -> None:
    """Print why requests are not done, by class, code and model, each with an example."""
    width = shutil.get_terminal_size().columns if sys.stdout.isatty() else _PLAIN_WIDTH
    for found in report.failures[:_SHOWN_REASONS]:
        kinds = (found.error, found.code, found.model)
        say(f"  {found.count:,} x {one_line(', '.join(kind for kind in kinds if kind), width - 8)}")
        where = f" (line {found.line})" if found.line is not None else ""
        say(f"      {one_line(f'such as {found.key}{where}: {found.text}', 2 * width - 6)}")
    left = len(report.failures) - _SHOWN_REASONS
    if left > 0:
        say(f"  and {count(left, 'other reason')}; 'status' lists them")


def _print_comparison(closing: RunSummary, plan: Estimate) -> None:
    report, totals = closing.outcome.report, closing.outcome.totals
    header = ["", "planned", "this run"]
    rows = [
        ["requests", f"{plan.requests:,}", f"{report.requests:,}"],
        ["images", f"{plan.images:,}", f"{report.images:,}"],
        ["cost", money(plan.cost_usd), money(report.cost_usd)],
    ]
    if report.skipped and totals is not None:
        header.append("in all")
        in_all = [f"{totals.units[State.DONE]:,} done", f"{totals.images:,}", money(totals.spent_usd)]
        rows = [[*row, cell] for row, cell in zip(rows, in_all, strict=True)]
    say_table(header, rows, right=set(range(1, len(header))))


def next_command(closing: RunSummary) -> str:
    """Return what to type next."""
    outcome, totals = closing.outcome, closing.outcome.totals
    again = command_line(*closing.again)
    retry = ["retry", str(closing.directory)]
    left = outcome.report.open_downloads or outcome.report.pending
    if outcome.interrupted or outcome.stopped is not None or (left and not closing.joined):
        return again
    # What other processes left behind can be of rows that this manifest does not hold.
    if left or outcome.report.failed > outcome.hopeless:
        return command_line(*retry, *closing.service)
    if outcome.report.unread:
        return again
    if _unfinished(totals):
        return command_line(*retry, "--unknown", *closing.service)
    if outcome.report.failed:
        return again
    return command_line("status", str(closing.directory))


def _remark(closing: RunSummary) -> str:
    """Return what to know before the next command."""
    if isinstance(closing.outcome.stopped, BudgetExceededError):
        return _about_budget(closing.outcome)
    if _is_cut_short(closing):
        return "resumes where this run stopped"
    if closing.outcome.report.unread:
        return "once the file is there as it was; or run 'batch' with another one, which resumes too"
    if "--unknown" in next_command(closing).split():
        return "pays again for what may have been charged"
    if closing.outcome.report.failed and closing.outcome.hopeless >= closing.outcome.report.failed:
        return (
            "once the failed rows are fixed"
            if closing.plan is not None
            else "will fail again: fix these rows in the manifest"
        )
    return ""


def _about_budget(outcome: Outcome) -> str:
    totals = outcome.totals
    if totals is None:
        return "with a higher --budget"
    committed = totals.spent_usd + totals.unknown_usd
    left = (
        f", and {money(totals.to_come_usd)} is planned for what was read and not sent"
        if totals.to_come_nano
        else ""
    )
    return f"with a higher --budget: {money(committed)} of this one is used{left}"


def _document(closing: RunSummary) -> dict[str, object]:
    outcome, plan = closing.outcome, closing.plan
    stopped = outcome.stopped
    return {
        **outcome.report.to_json(),
        "stopped": None if stopped is None else str(stopped),
        "planned": None if plan is None else _numbers(plan),
        "totals": None if outcome.totals is None else totals_document(outcome.totals),
        "elapsed_s": round(closing.elapsed_s, 3),
        "out": str(closing.directory),
        "images_dir": str(closing.directory / "images"),
        "results": str(closing.directory / "results.jsonl"),
        "gallery": None if closing.gallery is None else str(closing.gallery),
        "interrupted": bool(outcome.interrupted),
        "reasons": dict(outcome.reasons.most_common()),
        "next": next_command(closing),
        "error": None if stopped is None else document(stopped),
        "exit_code": closing.code,
    }


def _numbers(plan: Estimate) -> Mapping[str, object]:
    left_out = ("per_model", "problems")
    return {name: value for name, value in plan.to_json().items() if name not in left_out}


def rows_text(totals: Totals) -> str:
    """Say how many rows there are, and how many of the manifest were never read."""
    if totals.manifest_rows is None or not totals.unread_rows:
        return f"{totals.rows:,}"
    read = totals.manifest_rows - totals.unread_rows
    return f"{read:,} of {totals.manifest_rows:,}, {totals.unread_rows:,} not read yet"


def totals_document(totals: Totals) -> dict[str, object]:
    """Return the sums of a journal as JSON values."""
    return {
        "rows": totals.rows,
        "manifest_rows": totals.manifest_rows,
        "unread_rows": totals.unread_rows,
        "manifests": [
            {"path": manifest.path, "sha256": manifest.sha256, "rows": manifest.rows, "read": manifest.read}
            for manifest in totals.manifests
        ],
        "requests": {state.value: totals.units[state] for state in State},
        "charged_failures": totals.charged_failures,
        "images": totals.images,
        "expected_images": totals.expected_images,
        "planned_usd": totals.planned_usd,
        "job_usd": totals.job_usd,
        "to_come_usd": totals.to_come_usd,
        "unpriced_requests": totals.unpriced_units,
        "spent_usd": totals.spent_usd,
        "reserved_usd": totals.reserved_usd,
        "unknown_usd": totals.unknown_usd,
    }
