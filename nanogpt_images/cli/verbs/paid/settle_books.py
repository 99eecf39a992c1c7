"""`settle`: unknown outcomes of a batch or a ledger, by what the account says it charged."""

from __future__ import annotations

import attrs
import click

from ....resources.settling import SettledOutcomes
from ... import common as _common
from ...client import open_client, run_async
from ...errors import FAILED
from ...output import count, one_line, say, say_json, say_table


@_common.verb("settle", example="settle out")
@click.argument("books", metavar="DIR|FILE")
@click.option(
    "--exclusive",
    is_flag=True,
    help="Promise that nothing else used the key on these days; without it, nothing is proven charged.",
)
def command(books: str, exclusive: bool, base_url: str | None, as_json: bool) -> int:
    """
    Settle the unknown outcomes of the batch in DIR, or of the ledger FILE.

    What was not charged for certain may be sent again; what was charged for certain failed. The rest stays unknown, with
    bounds. The account is asked, which is free; nothing else is sent. The exit code is 1 where some stay unknown.
    """

    async def ask() -> SettledOutcomes:
        async with open_client(base_url=base_url) as client:
            return await client.account.settle(books, exclusive=exclusive)

    told = run_async(ask)
    if as_json:
        groups = [
            {**attrs.asdict(group), "first_day": str(group.first_day), "last_day": str(group.last_day)}
            for group in told.groups
        ]
        say_json(
            {
                "books": books,
                "unknown": told.unknown,
                "not_charged": told.not_charged,
                "charged": told.charged,
                "left": told.left,
                "groups": groups,
            }
        )
    else:
        _print(told)
    return FAILED if told.left else 0


def _print(told: SettledOutcomes) -> None:
    if not told.unknown:
        say("nothing to settle: no outcome is unknown")
        return
    say(
        f"{count(told.unknown, 'unknown outcome')}: {told.not_charged:,} not charged, {told.charged:,} charged,"
        f" {told.left:,} left"
    )
    rows = [
        [
            one_line(", ".join(group.models)),
            f"{group.first_day} to {group.last_day}",
            f"{group.unknown:,}",
            f"{group.lower:,} to {group.upper:,}",
            group.reason or group.verdict,
        ]
        for group in told.groups
    ]
    if rows:
        say_table(["model", "days (UTC)", "unknown", "charged", "why"], rows, right=(2,), wrap=(4,))
