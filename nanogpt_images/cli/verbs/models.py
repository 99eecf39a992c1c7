"""`models`: the catalogue as a table."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Callable, Sequence
from typing import Final

import click

from ...types.model import Model
from .. import common as _common
from ..client import open_client, run_async
from ..output import command_line, count, money_range, note, one_line, say, say_json, say_table

# Narrower than this, these columns would leave no room for the ID.
_WIDE_COLUMNS: Final = 100
_WHEN_WIDE: Final = ("NAME", "INPUTS")


@_common.verb("models", example="models --search krea")
@click.option(
    "--search", metavar="TEXT", help="List only models whose ID, name or description contains TEXT."
)
@_common.sandbox
def command(search: str | None, sandbox: bool, base_url: str | None, as_json: bool) -> int:
    """List the models that make images, or search them. No key is needed."""
    models = run_async(lambda: _fetch(base_url, sandbox, quiet=as_json))
    found = [model for model in models if search is None or _holds(model, search)]
    if as_json:
        say_json({"models": [summary(model) for model in found]})
    elif found:
        _table(found)
        note(f"{count(len(found), 'model')}; '{command_line('model', 'ID')}' shows everything about one")
    else:
        note(f"none of {count(len(models), 'model')} matches {search!r}")
    return 0


async def _fetch(base_url: str | None, sandbox: bool, *, quiet: bool) -> Sequence[Model]:
    async with open_client(base_url=base_url, sandbox=sandbox, paid=False, quiet=quiet) as client:
        return await client.catalog.list()


def _holds(model: Model, text: str) -> bool:
    wanted = text.casefold()
    return any(wanted in where.casefold() for where in (model.id, model.name, model.description, *model.tags))


def _table(models: Sequence[Model]) -> None:
    wide = not sys.stdout.isatty() or shutil.get_terminal_size().columns >= _WIDE_COLUMNS
    columns: dict[str, Callable[[Model], str]] = {
        "ID": lambda model: one_line(model.id),
        "NAME": lambda model: one_line(model.name),
        "IMAGES": lambda model: str(model.count_rule),
        "RESOLUTIONS": lambda model: _shortened(model.resolutions, 2 if wide else 1),
        "PRICE": price_text,
        "INPUTS": _inputs,
    }
    names = [name for name in columns if wide or name not in _WHEN_WIDE]
    say_table(
        names, [[columns[name](model) for name in names] for model in models], wrap={1} if wide else {0}
    )
    if sys.stdout.isatty():
        say()


def _shortened(tokens: Sequence[str], shown: int) -> str:
    more = len(tokens) - shown
    return ", ".join(map(one_line, tokens[:shown])) + (f" +{more}" if more > 0 else "")


def _inputs(model: Model) -> str:
    if model.references is not None and model.references.max_items is not None:
        return f"up to {model.references.max_items}" if model.references.max_items else ""
    return "yes" if "image" in model.input_modalities else ""


def price_text(model: Model) -> str:
    """Return the price of an image, over all resolutions and tiers."""
    bounds = model.price_bounds()
    return "not stated" if bounds is None else money_range(*bounds)


def summary(model: Model) -> dict[str, object]:
    """Return a model in the listing of `--json`."""
    low, high = model.price_bounds() or (None, None)
    rule = model.count_rule
    return {
        "id": model.id,
        "name": model.name,
        "images_per_request": {"minimum": rule.minimum, "maximum": rule.maximum, "fixed": rule.fixed},
        "resolutions": list(model.resolutions),
        "price_low_usd": low,
        "price_high_usd": high,
        "max_input_images": model.references.max_items if model.references is not None else None,
    }
