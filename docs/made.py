"""
Write the parts of the documentation that are made from the code: docs/commands.md, and the tables of docs/what-happens.md.

    python docs/made.py

tests/test_made_pages.py fails while they differ from what this script would write.
"""

from __future__ import annotations

import inspect
import re
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

import click

from nanogpt_images.cli.app import PROGRAM, cli
from nanogpt_images.cli.common import VerbCommand
from nanogpt_images.cli.verbs.guide.meanings import SECTIONS, Meaning

DOCS = Path(__file__).parent
_TABLE = re.compile(r"(<!-- made: (.+?) -->\n).*?(<!-- end -->)", re.DOTALL)
_HEAD = "| what | error | charge | sent again | in a batch |\n|---|---|---|---|---|\n"


def pages() -> Mapping[Path, str]:
    """Return the text of each page that is made, by its path."""
    failures = DOCS / "what-happens.md"
    return {
        failures: with_tables(failures.read_text(encoding="utf-8")),
        DOCS / "commands.md": commands(),
    }


def with_tables(page: str) -> str:
    """Return *page* with the tables of failures between its marks."""
    return _TABLE.sub(lambda found: found[1] + table(found[2]) + found[3], page)


def table(section: str) -> str:
    """Return the failures of *section* as a table."""
    return _HEAD + "".join(f"| {' | '.join(_cells(meaning))} |\n" for meaning in SECTIONS[section])


def _cells(meaning: Meaning) -> Iterator[str]:
    yield meaning.what
    statuses = ", ".join(name for name in meaning.names if name.isdecimal())
    yield (
        " ".join(filter(None, (meaning.raised and f"`{meaning.raised}`", statuses and f"({statuses})")))
        or "-"
    )
    yield re.sub(r"\b[A-Z_]{5,}\b", r"`\g<0>`", meaning.charge)
    yield meaning.again or "-"
    yield meaning.batch or "-"


def commands() -> str:
    """Return the page of every verb and option."""
    ctx = click.Context(cli, info_name=PROGRAM, **cli.context_settings)
    introduction = (
        f"Made from the code by `docs/made.py`; `{PROGRAM} VERB --help` prints the same. [Command line](cli.md) explains "
        "output, exit codes and manifests. Every verb also takes `--base-url URL` (before `NANOGPT_BASE_URL`, and "
        "https://nano-gpt.com), `--json` (one JSON document on stdout) and `--help`."
    )
    parts = ["# Every command and option", introduction]
    for verb in cli.list_commands(ctx):
        command = cli.get_command(ctx, verb)
        assert command is not None
        parts += _command(verb, command, ctx)
    return "\n\n".join(parts) + "\n"


def _command(name: str, command: click.Command, parent: click.Context) -> Iterator[str]:
    ctx = click.Context(command, info_name=name, parent=parent)
    yield f"{'#' * len(ctx.command_path.split())} {ctx.command_path.removeprefix(PROGRAM).strip()}"
    yield from (_paragraph(text) for text in inspect.cleandoc(command.help or "").split("\n\n"))
    if isinstance(command, click.Group):
        for inner in command.list_commands(ctx):
            found = command.get_command(ctx, inner)
            assert found is not None
            yield from _command(inner, found, ctx)
        return
    usage = " ".join(command.collect_usage_pieces(ctx))
    yield f"```text\n{ctx.command_path} {usage}\n```"
    own = own_options(command)
    for title, options in command.sections(ctx) if isinstance(command, VerbCommand) else ():
        rows = [record for option in options if option in own and (record := option.get_help_record(ctx))]
        if rows:
            lines = "\n".join(f"| `{_code(option)}` | {_cell(text)} |" for option, text in rows)
            head = "option" if title == "Options" else title
            yield f"| {head} | what it does |\n|---|---|\n{lines}"
    if command.epilog:
        yield f"```text\n{command.epilog.rpartition(chr(10))[2].strip()}\n```"


def own_options(command: click.Command) -> list[click.Option]:
    """Return the options of *command* that not every verb has."""
    shared = {"base_url", "as_json", "_click_default_help"}
    return [
        option for option in command.params if isinstance(option, click.Option) and option.name not in shared
    ]


def _code(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")


def _paragraph(text: str) -> str:
    return _plain(text.removeprefix("\b\n"))


def _cell(text: str) -> str:
    return _plain(text).replace("|", "\\|")


def _plain(text: str) -> str:
    """Return *text* on one line, with nothing in it that Markdown would take for markup; a literal option is code."""
    escaped = " ".join(text.split()).replace("<", "\\<").replace("__", "\\_\\_")
    return re.sub(r"(?<!\S)(--[a-z][a-z-]*)(?=[\s,;:.]|$)", r"`\1`", escaped)


if __name__ == "__main__":
    for path, text in pages().items():
        path.write_text(text, encoding="utf-8")
        sys.stdout.write(f"{path}\n")
