"""The options of `plan` and `batch` that say which rows a manifest makes."""

from __future__ import annotations

import functools
import json
from collections.abc import Callable, Mapping
from typing import Any, Final, TypeVar, cast

import attrs
import click

from ...batch.manifest.reader import FORMATS
from ..common import combined

F = TypeVar("F", bound=Callable[..., Any])


@attrs.frozen(kw_only=True)
class Choices:
    """
    What the options say; see `read_manifest` for what each means.

    Attributes:
        models: IDs for rows that name none; several make a row for each.
        seed: Decides which rows a sample is of; without a sample, the parameter of rows that have none.
        skip_invalid: Leave out combinations of a sweep that their model refuses.
    """

    models: tuple[str, ...] = ()
    sweep: Mapping[str, object] = attrs.field(factory=dict[str, object])
    zipped: bool = False
    limit: int | None = None
    sample: int | None = None
    seed: int | None = None
    where: tuple[str, ...] = ()
    prompt_column: str | None = None
    key_column: str | None = None
    columns: Mapping[str, str] = attrs.field(factory=dict[str, str])
    file_format: str | None = None
    templates: bool = True
    wildcard_seed: int = 0
    skip_invalid: bool = False

    @property
    def axes(self) -> dict[str, object]:
        """What is combined for each row."""
        several = {"model": list(self.models)} if len(self.models) > 1 else {}
        return {**several, **self.sweep}


def _pairs(option: click.Parameter, values: tuple[str, ...]) -> dict[str, str]:
    found: dict[str, str] = {}
    for value in values:
        name, equals, text = value.partition("=")
        if not equals or not name.strip():
            raise click.BadParameter(f"{value!r} is not NAME=VALUE.", param=option)
        if name.strip() in found:
            raise click.BadParameter(f"{name.strip()} is given twice.", param=option)
        found[name.strip()] = text.strip()
    return found


def _sweep(ctx: click.Context, option: click.Parameter, values: tuple[str, ...]) -> dict[str, object]:
    del ctx
    return {name: _values(text) for name, text in _pairs(option, values).items()}


def _values(text: str) -> object:
    """Read `1..4` as it is, a JSON list, or values between commas; what reads as a number is one."""
    if text.startswith("["):
        try:
            return json.loads(text)
        except (ValueError, RecursionError):
            return text
    return (
        text
        if ".." in text and "," not in text
        else [_value(part.strip()) for part in text.split(",") if text]
    )


def _value(text: str) -> object:
    try:
        found: object = json.loads(text)
    except (ValueError, RecursionError):
        return text
    return found if isinstance(found, int | float) else text


def _columns(ctx: click.Context, option: click.Parameter, values: tuple[str, ...]) -> dict[str, str]:
    del ctx
    return _pairs(option, values)


_OPTIONS: Final = combined(
    click.option(
        "-m",
        "--model",
        "models",
        multiple=True,
        metavar="ID",
        help="Model for rows that name none; if repeated, each row is made with each.",
    ),
    click.option(
        "--sweep",
        multiple=True,
        callback=_sweep,
        metavar="NAME=VALUES",
        help="Make a row for each value, such as seed=1..4 or quality=low,high; if repeated, for each combination.",
    ),
    click.option(
        "--zip", "zipped", is_flag=True, help="Pair the values of --sweep instead of combining them."
    ),
    click.option("--skip-invalid", is_flag=True, help="Leave out combinations that their model refuses."),
    click.option("--limit", type=click.IntRange(min=1), metavar="N", help="Take only the first N rows."),
    click.option(
        "--sample", type=click.IntRange(min=1), metavar="N", help="Take only N rows, chosen at random."
    ),
    click.option(
        "--seed",
        type=int,
        metavar="S",
        help="With --sample, decides which rows; otherwise the seed for rows that have none.",
    ),
    click.option(
        "--where",
        multiple=True,
        metavar="COLUMN=VALUE",
        help="Take only rows with this value; if repeated, all must match.",
    ),
    click.option("--prompt-column", metavar="COLUMN", help="Column that holds the prompts."),
    click.option("--key-column", metavar="COLUMN", help="Column that holds the keys."),
    click.option(
        "--map",
        "columns",
        multiple=True,
        callback=_columns,
        metavar="COLUMN=PARAMETER",
        help="Parameter that a column of another name holds, or 'metadata'; may be repeated.",
    ),
    click.option(
        "--format",
        "file_format",
        type=click.Choice(FORMATS),
        help="Format of FILE, where its suffix does not say it, as for - (standard input).",
    ),
    click.option(
        "--no-templates",
        "templates",
        flag_value=False,
        default=True,
        help="Send {column}, {a|b} and __file__ in prompts as they are.",
    ),
    click.option(
        "--wildcard-seed",
        type=int,
        default=0,
        show_default=True,
        metavar="S",
        help="Seed of the choices that {a|b} and __file__ make.",
    ),
)


def choices(function: F) -> F:
    """Give a verb these options, as one argument `chosen`."""
    names = [field.name for field in attrs.fields(Choices)]

    @functools.wraps(function)
    def collected(*args: Any, **options: Any) -> Any:
        chosen = Choices(**{name: options.pop(name) for name in names})
        return function(*args, chosen=chosen, **options)

    return cast("F", _OPTIONS(collected))
