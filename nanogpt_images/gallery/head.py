"""The head of the page: planned and actual numbers, when the batch ran, and its models."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime

import attrs

from ..batch.journal import ModelTotals, Totals
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
        states: The states of the cards that it counts, separated by spaces; empty if there are none.
    """

    label: str
    value: str
    notes: Sequence[str] = ()
    share: float | None = None
    states: str = ""


def tiles(totals: Totals) -> list[Tile]:
    """Compute the tiles of a batch from the totals of its journal."""
    units = totals.units
    return [
        _counted("Images", totals.images, totals.expected_images, states=State.DONE.value),
        _counted("Requests done", units[State.DONE], sum(units.values()), _open_requests(totals)),
        _cost(totals),
        Tile(
            label="Failed or unknown",
            value=f"{units[State.FAILED] + units[State.UNKNOWN]:,}",
            notes=_troubles(totals),
            states=" ".join(state.value for state in (State.FAILED, State.UNKNOWN) if units[state]),
        ),
    ]


def span_text(first_at: float | None, last_at: float | None) -> str:
    """Write when a batch ran, from its first and last moment in seconds since the epoch; empty if it never did."""
    if first_at is None or last_at is None:
        return ""
    first, last = (datetime.fromtimestamp(at, UTC) for at in (first_at, max(first_at, last_at)))
    if f"{first:%F %H:%M}" == f"{last:%F %H:%M}":
        end = ""
    elif first.date() == last.date():
        end = f" to {last:%H:%M}"
    else:
        end = f" to {last.day} {last:%b %Y, %H:%M}"
    return f"{first.day} {first:%b %Y, %H:%M}{end} UTC"


def duration_text(seconds: float | None) -> str:
    """Write a duration such as `8.4 s`, `12 min` or `3 h 20 min`; a dash if it is not known."""
    if seconds is None:
        return "-"
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 60 else f"{minutes // 60} h {minutes % 60} min"


def _counted(label: str, actual: int, planned: int, notes: Sequence[str] = (), *, states: str = "") -> Tile:
    return Tile(
        label=label,
        value=f"{actual:,}",
        notes=[f"of {planned:,} planned", *notes],
        share=min(1.0, actual / planned) if planned else None,
        states=states if actual else "",
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


@attrs.frozen(kw_only=True)
class ModelLine:
    """A model's line in the table of models: texts, as they are shown."""

    model: str
    images: str
    requests: str
    troubles: str
    spent: str
    each: str
    median: str


def model_lines(models: Sequence[ModelTotals]) -> list[ModelLine]:
    """Write the table of models: images, requests, failures, money and duration of each."""
    return [
        ModelLine(
            model=each.model,
            images=f"{each.images:,}",
            requests=f"{each.done:,} of {each.requests:,} done",
            troubles=", ".join(
                f"{number:,} {word}"
                for number, word in ((each.failed, "failed"), (each.unknown, "unknown"))
                if number
            )
            or "none",
            spent=usd_text(each.spent_usd)
            + (f", up to {usd_text(each.unknown_usd)} more" if each.unknown_nano else ""),
            each=usd_text(each.spent_usd / each.images) if each.images else "-",
            median=duration_text(each.median_s),
        )
        for each in models
    ]
