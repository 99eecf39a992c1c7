"""`mark`: images of an earlier batch say that they are generated."""

from __future__ import annotations

from pathlib import Path

import attrs

from ....batch.marks import MarkReport, mark_batch
from ... import common as _common
from ...client import run_async
from ...errors import FAILED
from ...job import require_journal
from ...output import count, note, one_line, say, say_json


@_common.verb("mark", example="mark out")
@_common.directory
def command(directory: str, base_url: str | None, as_json: bool) -> int:
    """
    Write into each image of the batch in DIR that it is generated (IPTC DigitalSourceType). Nothing is sent.

    No pixel changes; sizes and digests in DIR follow. The exit code is 1 where images could not be marked.
    """
    del base_url
    require_journal(Path(directory))
    report = run_async(lambda: mark_batch(directory))
    if as_json:
        say_json(attrs.asdict(report))
    else:
        _print(report)
    return FAILED if report.left else 0


def _print(report: MarkReport) -> None:
    say(f"{count(report.marked, 'image')} marked · {report.already:,} said it already")
    for reason, number in report.left.items():
        note(f"note: {count(number, 'image')} left as it was: {one_line(reason)}")
