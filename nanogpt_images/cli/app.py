"""The group of verbs, and what every run of it ends with: an exit code, and one line where it went wrong."""

from __future__ import annotations

import io
import os
import sys
from collections.abc import Sequence
from importlib import import_module
from typing import Final, NoReturn

import click

from .._version import __version__

PROGRAM: Final = "nanogpt-images"

# The overview of the verbs loads none of their modules.
_GROUPS: Final = {
    "Make images": {
        "generate": "Make images of one prompt.",
        "edit": "Change an image.",
        "regenerate": "Make the images of a file again.",
        "plan": "Show what a manifest will do and cost; nothing is sent.",
        "batch": "Make the images of a manifest; a rerun resumes.",
        "retry": "Send again what failed in a batch.",
    },
    "Look": {
        "models": "List the models, or search them.",
        "model": "Show everything about one model.",
        "status": "Show the progress and cost of a batch.",
        "show": "Show how an image was made, from its file.",
        "explain": "Explain an error or a code: was it charged, what to do.",
        "config": "Show the defaults in effect, and where each comes from.",
    },
    "Keep": {
        "gallery": "Make a page of a batch's images, to look through.",
        "mark": "Write into a batch's images that they are generated.",
        "export": "Write a batch's images to Parquet, WebDataset or CSV.",
        "settle": "Settle unknown outcomes by what the account charged.",
        "ledger": "List, check or prune a ledger of calls that were paid for.",
    },
    "Try": {
        "demo": "Run a bulk job against the sandbox; no key, no network.",
        "sandbox": "Run a stand-in for the service on this machine.",
    },
}
_VERBS: Final = {verb: text for verbs in _GROUPS.values() for verb, text in verbs.items()}
_FREE_VERBS: Final = frozenset(
    {"models", "model", "show", "mark", "explain", "config", "plan", "status", "export", "gallery", "sandbox"}
)

_MODULES: Final = {
    "show": "images.show",
    "regenerate": "images.regenerate",
    "edit": "images.edit",
    "mark": "images.mark",
    "explain": "guide.explain",
    "config": "guide.config",
    "ledger": "paid.ledger_files",
    "settle": "paid.settle_books",
}


class Verbs(click.Group):
    """Finds a verb's module when it is called for."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the verbs in the order of the overview."""
        del ctx
        return list(_VERBS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Return the verb's command, from its module."""
        del ctx
        if cmd_name not in _VERBS:
            return None
        module = import_module(f".verbs.{_MODULES.get(cmd_name, cmd_name)}", __package__)
        command = getattr(module, "command", None)
        return command if isinstance(command, click.Command) else None

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Find the verb of *args*; name the nearest ones if no verb has that name."""
        typed = args[0]
        if typed not in _VERBS and not typed.startswith("-") and not ctx.resilient_parsing:
            from difflib import get_close_matches

            near = " or ".join(f"'{verb}'" for verb in get_close_matches(typed.lower(), _VERBS, 2))
            raise click.UsageError(
                f"No such command {typed!r}.{f' Did you mean {near}?' if near else ''}", ctx
            )
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the overview of the verbs, by what they are for."""
        del ctx
        width = max(map(len, _VERBS))
        for title, verbs in _GROUPS.items():
            with formatter.section(title):
                formatter.write_dl([(verb.ljust(width), text) for verb, text in verbs.items()])


@click.group(
    cls=Verbs,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    subcommand_metavar="VERB [ARGS]...",
    epilog=f"'{PROGRAM} VERB --help' explains a verb, with an example. "
    "The key comes from NANOGPT_API_KEY; '--sandbox' needs none.",
)
@click.version_option(__version__, prog_name=PROGRAM, message="%(prog)s %(version)s")
def cli() -> None:
    """Turn prompts into image files with the NanoGPT image API."""


def run(args: Sequence[str]) -> int:
    """
    Run the command line.

    Args:
        args: Arguments without the program's name.

    Returns:
        The exit code.
    """
    for stream in (sys.stdout, sys.stderr):
        # A terminal that lacks a character of a prompt gets a question mark, not a traceback.
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")
    try:
        # Verbs return their exit code; click returns that of its own --help and --version.
        code = cli.main(args=list(args), prog_name=PROGRAM, standalone_mode=False, obj=tuple(args))
        sys.stdout.flush()
    except BrokenPipeError:
        _hush()
        return 0
    except (KeyboardInterrupt, click.Abort):
        return _interrupted(args)
    except Exception as error:
        return _failed(error, args)
    return code if isinstance(code, int) else 0


def _interrupted(args: Sequence[str]) -> int:
    # Verbs that pay report their interrupts themselves; on a terminal a person needs no more than the ^C.
    from .errors import INTERRUPTED, InterruptedRunError, report

    if _wants_json(args):
        report(InterruptedRunError("interrupted."), as_json=True)
    return INTERRUPTED


def _failed(error: Exception, args: Sequence[str]) -> int:
    if isinstance(error, click.exceptions.NoArgsIsHelpError):
        error.show()
        return 2
    from .errors import report

    code = report(error, as_json=_wants_json(args), pays=next(iter(args), None) not in _FREE_VERBS)
    if code is None:
        _unexpected(error)
    return code


def _wants_json(args: Sequence[str]) -> bool:
    return "--json" in (args[: args.index("--")] if "--" in args else args)


def _unexpected(error: Exception) -> NoReturn:
    # A defect of this package: its traceback is what a report needs.
    raise error


def _hush() -> None:
    """Send the rest of the output, and the flush at exit, to nowhere: its reader went away (`| head`)."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
