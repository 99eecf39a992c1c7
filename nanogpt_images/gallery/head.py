"""The tiles at the head of the page: planned and actual numbers."""

from __future__ import annotations

from collections.abc import Sequence

import attrs

from ..batch.journal import Totals
from ..batch.states import State
from ..money.nano import usd_text


@attrs.frozen(kw_only=True)
class Tile:
    """
    A number at the head of the page.

    Attributes:
        label: What it counts.
        value: The number.
        notes: Lines below it.
        share: Actual / planned, from 0 to 1; None if nothing was planned.
    """

    label: str
    value: str
    notes: Sequence[str] = ()
    share: float | None = None


def tiles(totals: Totals) -> list[Tile]:
    """Compute the tiles of a batch from the totals of its journal."""
    units = totals.units
    return [
        _counted("Images", totals.images, totals.expected_images),
        _counted("Requests done", units[State.DONE], sum(units.values()), _open_requests(totals)),
        _cost(totals),
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


def _cost(totals: Totals) -> Tile:
    unpriced = f", {totals.unpriced_units:,} requests without a price" if totals.unpriced_units else ""
    notes = [f"of {usd_text(totals.planned_usd)} planned{unpriced}"]
    share = min(1.0, totals.spent_nano / totals.planned_nano) if totals.planned_nano else None
    if totals.reserved_nano:
        notes.append(f"{usd_text(totals.reserved_usd)} reserved for open requests")
    return Tile(label="Spent", value=usd_text(totals.spent_usd), notes=notes, share=share)


def _open_requests(totals: Totals) -> list[str]:
    words = {State.PENDING: "to do", State.SENT: "in progress", State.LINKED: "to download"}
    notes = [f"{totals.units[state]:,} {word}" for state, word in words.items() if totals.units[state]]
    if totals.manifest_rows is not None and totals.unread_rows:
        notes.append(f"{totals.unread_rows:,} of {totals.manifest_rows:,} rows not read yet")
    return notes


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
    return notes or ["all outcomes are known"]
