"""The head of the page: what was planned beside what came."""

from __future__ import annotations

from collections.abc import Sequence

import attrs

from .._money import usd_text
from ..batch.journal import Totals
from ..batch.planfile import Planned
from ..batch.states import State


@attrs.frozen(kw_only=True)
class Tile:
    """
    A number at the head of the page.

    Attributes:
        label: What it counts.
        value: The number.
        notes: What stands below it.
        share: How much of what was planned has come, from 0 to 1; None without a plan.
    """

    label: str
    value: str
    notes: Sequence[str] = ()
    share: float | None = None


def tiles(totals: Totals, plan: Planned | None) -> list[Tile]:
    """
    The numbers of a job.

    Args:
        totals: The sums of its journal.
        plan: What the last manifest was planned to do; counts only where it covers what the journal holds.
    """
    units = totals.units
    requests, images = sum(units.values()), totals.expected_images
    # A journal grows as rows are read, so a job that was stopped holds fewer than were planned; one that
    # holds more has had further manifests.
    covered = plan if plan is not None and plan.rows >= totals.rows else None
    if covered is not None:
        requests, images = covered.requests, covered.images
    return [
        _counted("Images", totals.images, images),
        _counted("Requests done", units[State.DONE], requests, _open_requests(totals)),
        _cost(totals, covered),
        Tile(
            label="Failed or unknown",
            value=f"{units[State.FAILED] + units[State.UNKNOWN]:,}",
            notes=_troubles(totals),
        ),
    ]


def _counted(label: str, actual: int, planned: int, notes: Sequence[str] = ()) -> Tile:
    return Tile(
        label=label,
        value=f"{actual:,}",
        notes=[f"of {planned:,} planned", *notes],
        share=min(1.0, actual / planned) if planned else None,
    )


def _cost(totals: Totals, plan: Planned | None) -> Tile:
    notes: list[str] = []
    share = None
    if plan is not None:
        unpriced = f", {plan.unpriced_requests:,} requests without a price" if plan.unpriced_requests else ""
        notes.append(f"of {usd_text(plan.cost_usd)} planned{unpriced}")
        share = min(1.0, totals.spent_usd / plan.cost_usd) if plan.cost_usd else None
    if totals.reserved_nano:
        notes.append(f"{usd_text(totals.reserved_usd)} reserved for what is under way")
    return Tile(label="Spent", value=usd_text(totals.spent_usd), notes=notes, share=share)


def _open_requests(totals: Totals) -> list[str]:
    words = {State.PENDING: "to do", State.SENT: "under way", State.LINKED: "to download"}
    return [f"{totals.units[state]:,} {word}" for state, word in words.items() if totals.units[state]]


def _troubles(totals: Totals) -> list[str]:
    units = totals.units
    notes: list[str] = []
    if units[State.FAILED]:
        charged = f", {totals.charged_failures:,} of them charged" if totals.charged_failures else ""
        notes.append(f"{units[State.FAILED]:,} failed{charged}")
    if totals.unknown_nano or units[State.UNKNOWN]:
        notes.append(
            f"{units[State.UNKNOWN]:,} unknown, up to {usd_text(totals.unknown_usd)} may have been charged"
        )
    return notes or ["every outcome is known"]
