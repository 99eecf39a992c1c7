"""`status`: where a batch stands, from its journal alone."""

from __future__ import annotations

import shutil
import sys
from collections.abc import AsyncIterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

import anyio
import attrs
import click

from ...batch.journal import Ending, Holder, Journal, ModelTotals, Totals
from ...batch.states import State
from ...transport.identity import SANDBOX
from .. import common as _common
from ..client import open_client, run_async
from ..job import require_journal
from ..output import command_line, count, money, one_line, say, say_fields, say_json
from ..reconciliation import Comparison, compare, print_comparison
from ..summary import rows_text, totals_document

_SHOWN: Final = 20
_IN_JSON: Final = 1_000
_PLAIN_WIDTH: Final = 200
_MANY_REQUESTS: Final = 250_000
_EVERY_S: Final = 2.0

_WORDS: Final = {
    State.DONE: "done",
    State.FAILED: "failed",
    State.UNKNOWN: "unknown",
    State.PENDING: "to do",
    State.SENT: "in flight",
    State.LINKED: "to download",
}


@attrs.frozen(kw_only=True)
class _Standing:
    service: str | None
    totals: Totals
    models: Sequence[ModelTotals]
    holders: Sequence[Holder]
    unknowns: Sequence[Ending]
    failures: Sequence[Ending]
    comparison: Comparison | None = None


@_common.verb("status", example="status out")
@_common.directory
@click.option(
    "--account",
    is_flag=True,
    help="Compare with what the service charged and refunded on the days of the batch.",
)
@click.option(
    "--watch",
    is_flag=True,
    help="Show it again every two seconds, for as long as a process works on DIR.",
)
def command(directory: str, account: bool, watch: bool, base_url: str | None, as_json: bool) -> int:
    """
    Show the progress of the batch in DIR: requests, images, money, and what failed.

    Nothing is sent, unless --account asks for the account's usage, which is free.
    """
    folder = Path(directory)
    require_journal(folder)
    if watch:
        run_async(lambda: _watch(folder, shows=not as_json))
    standing = run_async(lambda: _stand(folder, _IN_JSON if as_json else _SHOWN, base_url, account=account))
    if as_json:
        say_json(_document(folder, standing))
    else:
        _print(folder, standing)
    return 0


async def _watch(directory: Path, *, shows: bool, every_s: float = _EVERY_S) -> None:
    """Show where the batch stands, now and then, for as long as a process works on it."""
    while (standing := await _read(directory, _SHOWN)).holders:
        if shows:
            if sys.stdout.isatty():
                click.clear()
            _print(directory, standing)
            say()
        await anyio.sleep(every_s)
    if shows and sys.stdout.isatty():
        click.clear()


async def _stand(directory: Path, limit: int, base_url: str | None, *, account: bool) -> _Standing:
    if not account:
        return await _read(directory, limit)
    async with open_client(base_url=base_url) as client:
        async with await Journal.open(directory, service=await client.service(), read_only=True) as journal:
            spending = await journal.spending()
        comparison = await compare(spending, client)
    return attrs.evolve(await _read(directory, limit), comparison=comparison)


async def _read(directory: Path, limit: int) -> _Standing:
    async with await Journal.open(directory, service=None, read_only=True) as journal:
        return _Standing(
            service=await journal.service(),
            totals=(totals := await journal.totals()),
            # It reads every request, unlike all else here.
            models=await journal.by_model() if sum(totals.units.values()) <= _MANY_REQUESTS else [],
            holders=await journal.holders(),
            unknowns=await _first(journal.unknowns(), limit),
            failures=await _first(journal.failures(), limit),
        )


async def _first(endings: AsyncIterator[Ending], limit: int) -> list[Ending]:
    found: list[Ending] = []
    async for ending in endings:
        found.append(ending)
        if len(found) == limit:
            break
    return found


def _print(directory: Path, standing: _Standing) -> None:
    totals = standing.totals
    say_fields(
        {
            "batch": f"{one_line(str(directory))}, {_service(standing.service)}",
            "running": [
                f"process {holder.pid} on {one_line(holder.host)} since {_time(holder.started_at)}"
                for holder in standing.holders
            ],
            "rows": rows_text(totals),
            "requests": ", ".join(
                f"{totals.units[state]:,} {word}" for state, word in _WORDS.items() if totals.units[state]
            )
            or "none",
            "images": f"{totals.images:,} of {totals.expected_images:,}",
            "planned": _planned(totals),
            "spent": money(totals.spent_usd),
            "reserved": f"{money(totals.reserved_usd)} for requests in flight"
            if totals.reserved_nano
            else "",
            "unknown": f"up to {money(totals.unknown_usd)} may have been charged"
            if totals.unknown_nano
            else "",
            "models": [_model(each) for each in standing.models],
        }
    )
    if standing.comparison is not None:
        print_comparison(standing.comparison)
    _print_endings("unknown: may have been charged", standing.unknowns, totals.units[State.UNKNOWN])
    _print_endings("failed", standing.failures, totals.units[State.FAILED])
    if (command_line := _next(directory, standing)) and not standing.holders:
        say()
        say(f"next  {command_line}")


def _model(each: ModelTotals) -> str:
    parts = [
        f"{one_line(each.model)}: {count(each.images, 'image')}",
        f"{money(each.spent_usd)}{f', {money(each.spent_usd / each.images)} each' if each.images else ''}",
        f"{each.failed:,} failed" if each.failed else "",
        f"{each.unknown:,} unknown" if each.unknown else "",
        f"median {each.median_s:.1f} s" if each.median_s is not None else "",
    ]
    return " · ".join(part for part in parts if part)


def _planned(totals: Totals) -> str:
    whole = totals.job_usd if totals.unread_rows else None
    parts = [
        "" if whole is None else f"{money(whole)} for all rows",
        f"{money(totals.planned_usd)}{'' if whole is None else ' for those read'}",
        f"{money(totals.to_come_usd)} of it still to be sent" if totals.to_come_nano else "",
        f"{count(totals.unpriced_units, 'request')} without a known price not counted"
        if totals.unpriced_units
        else "",
    ]
    return ", ".join(part for part in parts if part)


def _print_endings(title: str, endings: Sequence[Ending], total: int) -> None:
    if not endings:
        return
    say()
    say(f"{title} ({total:,})")
    width = shutil.get_terminal_size().columns if sys.stdout.isatty() else _PLAIN_WIDTH
    for ending in endings:
        charged = ending.state is State.FAILED and ending.cost_nano
        cost = f" [charged {money(ending.cost_usd)}]" if charged else ""
        say(f"  {one_line(f'{_name(ending)}{cost}  {ending.error_type}: {ending.error_text}', width - 2)}")
    if total > len(endings):
        say(f"  and {count(total - len(endings), 'more', 'more')}; --json lists up to {_IN_JSON:,}")


def _name(ending: Ending) -> str:
    unit = ending.unit
    return one_line(unit.name if unit.parts == 1 else f"{unit.name} part {unit.part + 1} of {unit.parts}")


def _next(directory: Path, standing: _Standing) -> str:
    units, charged = standing.totals.units, standing.totals.charged_failures
    options = " --sandbox" if standing.service == SANDBOX else ""
    retry = command_line("retry", str(directory))
    if units[State.PENDING] or units[State.LINKED] or standing.totals.unread_rows:
        # The same command has the same budget and options, which a retry would not know.
        return "the same 'nanogpt-images batch' command again; it resumes where the last one stopped"
    if units[State.FAILED] > charged or standing.totals.followed_links:
        return retry + options
    if units[State.UNKNOWN] or charged:
        return f"{retry} --unknown{options}   (pays for these again)"
    return ""


def _service(service: str | None) -> str:
    return "made with a sandbox" if service == SANDBOX else f"made with {service or 'an unknown service'}"


def _time(at: float) -> str:
    return f"{datetime.fromtimestamp(at, UTC):%Y-%m-%d %H:%M:%S} UTC"


def _document(directory: Path, standing: _Standing) -> dict[str, object]:
    return {
        "out": str(directory),
        "service": standing.service,
        **totals_document(standing.totals),
        "models": [
            {
                "model": each.model,
                "requests": each.requests,
                "done": each.done,
                "failed": each.failed,
                "unknown": each.unknown,
                "images": each.images,
                "spent_usd": each.spent_usd,
                "unknown_usd": each.unknown_usd,
                "median_s": each.median_s,
            }
            for each in standing.models
        ],
        "holders": [
            {"pid": holder.pid, "host": holder.host, "since": _time(holder.started_at)}
            for holder in standing.holders
        ],
        "unknowns": [_ending(ending) for ending in standing.unknowns],
        "failures": [_ending(ending) for ending in standing.failures],
        "account": None if standing.comparison is None else standing.comparison.document(),
    }


def _ending(ending: Ending) -> dict[str, object]:
    row = ending.unit.row
    return {
        "key": row.key,
        "name": ending.unit.name,
        "part": ending.unit.part,
        "prompt": row.prompt,
        "model": row.model,
        "charge": ending.charge.value,
        "cost_usd": ending.cost_usd,
        "error": ending.error_type,
        "message": ending.error_text,
        "request_id": ending.request_id,
        "attempts": ending.attempts,
        "at": _time(ending.updated_at),
    }
