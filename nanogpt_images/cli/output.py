"""What a person reads: money, durations, counts, lines and tables. Results go to stdout, notes to stderr."""

from __future__ import annotations

import json
import os
import shlex
import shutil
import sys
from collections.abc import Collection, Mapping, Sequence
from typing import TextIO

from ..money.nano import usd_text

_GAP = "  "


def command_line(*words: str) -> str:
    """Return a command of this program that works as printed: by the path with which it was started, if need be."""
    started, name = sys.argv[0], os.path.basename(sys.argv[0])
    program = ["nanogpt-images"]
    if name == "__main__.py":
        program = [sys.orig_argv[0], "-m", "nanogpt_images"]
    elif name.startswith(program[0]) and not _is_same_file(shutil.which(program[0]), started):
        program = [started]
    return shlex.join([*program, *words])


def _is_same_file(found: str | None, started: str) -> bool:
    return found is not None and os.path.realpath(found) == os.path.realpath(started)


def money(usd: float | None) -> str:
    """Return `$0.0655`: at least cents, further digits only while they mean something."""
    return "unknown" if usd is None else usd_text(usd)


def money_range(low: float, high: float) -> str:
    """Return one amount, or the lower and the higher one."""
    return money(low) if money(low) == money(high) else f"{money(low)} to {money(high)}"


def count(number: int, noun: str, plural: str | None = None) -> str:
    """Return `1 image` or `1,632 images`."""
    return f"{number:,} {noun if number == 1 else plural or noun + 's'}"


def size(size_bytes: int | None) -> str:
    """Return `812 B`, `12.3 kB` or `4.5 MB`."""
    if size_bytes is None:
        return "size unknown"
    if size_bytes < 1_000:
        return f"{size_bytes} B"
    return f"{size_bytes / 1_000:.1f} kB" if size_bytes < 1_000_000 else f"{size_bytes / 1_000_000:.1f} MB"


def one_line(text: str, width: int | None = None) -> str:
    """Return *text* fit for a terminal: no line breaks, no control characters, shortened to *width*."""
    flat = " ".join(text.split())
    flat = "".join(character if character.isprintable() else "?" for character in flat)
    return flat if width is None or len(flat) <= width else f"{flat[: width - 1]}…"


def say(text: str = "") -> None:
    """Print a line of the result."""
    _write(sys.stdout, f"{text}\n")


def note(text: str = "") -> None:
    """Print a line beside the result."""
    _write(sys.stderr, f"{text}\n")


def say_json(document: Mapping[str, object]) -> None:
    """Print the one document of `--json`."""
    _write(sys.stdout, json.dumps(document, ensure_ascii=False, indent=2, default=str) + "\n")


def say_table(
    header: Sequence[str],
    rows: Collection[Sequence[str]],
    *,
    right: Collection[int] = (),
    wrap: Collection[int] = (),
) -> None:
    """
    Print a table: fitted to the width of a terminal, or whole and unwrapped where a program reads it.

    Args:
        header: Names of the columns.
        rows: Cells, as many as there are names.
        right: Columns of numbers.
        wrap: Columns that may be broken into lines where the terminal is narrow.
    """
    if sys.stdout.isatty():
        _rich_table(header, rows, right, wrap)
        return
    lines = [header, *rows]
    widths = [max(len(line[column]) for line in lines) for column in range(len(header))]
    for line in lines:
        cells = (
            cell.rjust(width) if column in right else cell.ljust(width)
            for column, (cell, width) in enumerate(zip(line, widths, strict=True))
        )
        say(_GAP.join(cells).rstrip())


def say_fields(fields: Mapping[str, str | Sequence[str]]) -> None:
    """Print aligned `name  value` lines; several values stand below each other, empty ones are left out."""
    shown = {
        name: [value] if isinstance(value, str) else list(value) for name, value in fields.items() if value
    }
    width = max(map(len, shown), default=0)
    for name, values in shown.items():
        for index, value in enumerate(values):
            label = name if index == 0 else ""
            say(f"{label.ljust(width)}{_GAP}{value}")


def _rich_table(
    header: Sequence[str], rows: Collection[Sequence[str]], right: Collection[int], wrap: Collection[int]
) -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="bold")
    for column, name in enumerate(header):
        table.add_column(
            name,
            justify="right" if column in right else "left",
            no_wrap=column not in wrap,
            overflow="fold" if column in wrap else "ellipsis",
        )
    for row in rows:
        table.add_row(*map(Text, row))
    Console(highlight=False, markup=False, emoji=False).print(table)


def _write(stream: TextIO, text: str) -> None:
    try:
        stream.write(text)
        stream.flush()
    except BrokenPipeError:
        # `| head` has what it wanted; what follows goes nowhere and the exit code stays what it is.
        os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())
