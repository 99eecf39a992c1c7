"""`explain`: what an error or a code means, whether it was charged, and what to do."""

from __future__ import annotations

import re
from typing import Final

import click

from ... import common as _common
from ...output import one_line, say, say_fields, say_json
from .meanings import Meaning, explained, near

_PLAINLY: Final = {"NOT_SENT": "no", "REJECTED": "no", "CHARGED": "yes", "UNKNOWN": "perhaps"}


@_common.verb("explain", example="explain daily_usd_limit_exceeded")
@click.argument("code", metavar="CODE")
def command(code: str, base_url: str | None, as_json: bool) -> int:
    """
    Explain CODE: the name of an error, a code or status of the service, an exit code, or a charge.

    It says what happened, whether it was charged, whether it is sent again, and what to do. Nothing is sent.
    """
    del base_url
    found = explained(code)
    if not found:
        names = ", ".join(near(code))
        raise click.UsageError(
            f"{one_line(code)!r} is not an error or a code that is known here."
            + (f" Did you mean {names}?" if names else ""),
            click.get_current_context(),
        )
    if as_json:
        say_json({"code": code, "meanings": [_document(meaning) for meaning in found]})
        return 0
    for number, meaning in enumerate(found):
        if number:
            say()
        _print(meaning)
    return 0


def _document(meaning: Meaning) -> dict[str, object]:
    return {
        "what": meaning.what,
        "error": meaning.raised or None,
        "names": list(meaning.names),
        "charge": meaning.charge or None,
        "sent_again": meaning.again or None,
        "in_a_batch": meaning.batch or None,
        "do": meaning.do or None,
    }


def _print(meaning: Meaning) -> None:
    say(f"{meaning.what}.")
    fields = {
        "names": meaning.title,
        "charged": re.sub(
            "|".join(_PLAINLY), lambda found: f"{_PLAINLY[found[0]]} ({found[0]})", meaning.charge
        ),
        "sent again": meaning.again,
        "in a batch": meaning.batch,
        "to do": meaning.do,
    }
    say_fields({name: text.replace("`", "") for name, text in fields.items()})
