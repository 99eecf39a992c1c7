"""Options that several verbs share."""

from __future__ import annotations

import functools
import json
import math
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final, TypeAlias, TypeVar, cast

import click

from ..transport.options import MAX_REQUESTS_PER_SECOND, MIN_REQUESTS_PER_SECOND

F = TypeVar("F", bound=Callable[..., Any])
Verb: TypeAlias = Callable[..., int]


def verb(name: str, *, example: str) -> Callable[[Verb], click.Command]:
    """Return a command with the options that every verb has, and an example under its help."""

    def make(function: Verb) -> click.Command:
        make_command = click.command(
            name, cls=VerbCommand, epilog=f"\b\nExample:\n  nanogpt-images {example}"
        )
        command = make_command(base_url(as_json(function)))
        # Decorators put the options that every verb has first; the help lists them last.
        command.params = [*command.params[2:], *command.params[:2]]
        return command

    return make


_MANY: Final = 25
_LAST: Final = "Everywhere"
_SECTIONS: Final = {
    "Images": "models prompt count resolution aspect_ratio quality output_format params route delivery no_validate",
    "Directory and money": "out budget yes confirm_above assume_price quote reuse",
    "Rows": "limit sample seed where sweep zipped skip_invalid",
    "How FILE is read": "file_format prompt_column key_column columns templates wildcard_seed",
    "Speed": "concurrency requests_per_second no_pacing",
    "Files": "provenance no_gallery images_url",
    "Special cases": "keep_going join adopt",
    "A Ray cluster": "ray ray_workers key_budget",
}
"""What the options of a verb with many are for: a title, and the names of its options in the order of use."""


class VerbCommand(click.Command):
    """A verb; its options take their defaults from the environment and the configuration file."""

    def make_context(
        self, info_name: str | None, args: list[str], parent: click.Context | None = None, **extra: Any
    ) -> click.Context:
        """Parse *args* with those defaults."""
        if not {"-h", "--help"}.intersection(args):
            from .verbs.guide.defaults import defaults_of

            extra.setdefault("default_map", defaults_of(self))
        return super().make_context(info_name, args, parent, **extra)

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the options, by what they are for where there are many."""
        for title, options in self.sections(ctx):
            records = [record for option in options if (record := option.get_help_record(ctx))]
            with formatter.section(title):
                formatter.write_dl(records)

    def sections(self, ctx: click.Context) -> Iterator[tuple[str, list[click.Option]]]:
        """Yield the visible options under their titles, in the order of use."""
        options = [
            option
            for option in self.get_params(ctx)
            if isinstance(option, click.Option) and not option.hidden
        ]
        if len(options) <= _MANY:
            yield "Options", options
            return
        by_name = {option.name: option for option in options}
        for title, names in _SECTIONS.items():
            if found := [by_name.pop(name) for name in names.split() if name in by_name]:
                yield title, found
        yield _LAST, list(by_name.values())


def combined(*options: Callable[[F], F]) -> Callable[[F], F]:
    """Combine several options into one decorator; the help lists them in this order."""

    def apply(function: F) -> F:
        for option in reversed(options):
            function = option(function)
        return function

    return apply


def parameter(ctx: click.Context, option: click.Parameter, values: tuple[str, ...]) -> dict[str, object]:
    """Return the values of `--param` as a mapping; a value that reads as JSON is that, any other is text."""
    del ctx
    parameters: dict[str, object] = {}
    for value in values:
        name, equals, text = value.partition("=")
        if not equals or not name.strip():
            raise click.BadParameter(f"{value!r} is not NAME=VALUE.", param=option)
        try:
            parameters[name.strip()] = json.loads(text)
        except ValueError:
            parameters[name.strip()] = text
        except RecursionError:
            raise click.BadParameter(
                f"the value of {name.strip()} is nested too deeply.", param=option
            ) from None
    return parameters


def delivery_for(route: str | None, delivery: str | None) -> Mapping[str, object]:
    """`response_format`, which the normalized route does not have."""
    if delivery is None:
        return {}
    if route not in ("openai", "edit"):
        raise click.UsageError("--delivery goes with --route openai or edit.", click.get_current_context())
    return {"response_format": delivery}


base_url = click.option(
    "--base-url",
    metavar="URL",
    help="Address of the API (default: NANOGPT_BASE_URL, else https://nano-gpt.com).",
)
as_json = click.option("--json", "as_json", is_flag=True, help="Print one JSON document to stdout.")
quiet = click.option("-q", "--quiet", is_flag=True, help="Print no progress and no notes.")
sandbox = click.option(
    "--sandbox", is_flag=True, help="Use a sandbox inside this command: no key, no network, no charge."
)
params = click.option(
    "--param",
    "params",
    multiple=True,
    callback=parameter,
    metavar="NAME=VALUE",
    help="Another parameter of the model, such as seed=7; may be repeated.",
)
route = click.option(
    "--route",
    type=click.Choice(["images", "openai", "edit"]),
    help="Endpoint to send to: 'openai' is the OpenAI-compatible one, 'edit' changes the rows' images (default: images).",
)
generation_route = click.option(
    "--route",
    type=click.Choice(["images", "openai"]),
    help="Endpoint to send to: 'openai' is the OpenAI-compatible one (default: images).",
)
row_prompt = click.option(
    "--prompt", metavar="TEXT", help="Prompt for rows that have none, such as those of a folder of images."
)
delivery = click.option(
    "--delivery",
    type=click.Choice(["url", "b64_json"]),
    help="How the openai and edit routes return images; those behind a 'url' are downloaded.",
)
no_validate = click.option(
    "--no-validate", is_flag=True, help="Send without checking the request against the catalogue."
)
resolution = click.option(
    "-r", "--resolution", metavar="TOKEN", help="Resolution, spelt as the model lists it: see 'model ID'."
)
aspect_ratio = click.option(
    "--aspect-ratio", metavar="TOKEN", help="Aspect ratio, spelt as the model lists it."
)
quality = click.option("--quality", metavar="TOKEN", help="Quality, spelt as the model lists it.")
output_format = click.option(
    "--output-format", metavar="FORMAT", help="File format, such as png, where the model offers a choice."
)


def row_parameters(function: F) -> F:
    """Give a verb `--param` and the parameters that have an option of their own, as one mapping `params`."""

    @functools.wraps(function)
    def merged(*args: Any, params: Mapping[str, object], **options: Any) -> Any:
        names = {name: name for name in ("resolution", "aspect_ratio", "quality", "output_format")}
        if options.get("route") == "openai":
            names["resolution"] = "size"
        values = {field: options.pop(name) for name, field in names.items()}
        given = {field: value for field, value in values.items() if value is not None}
        if twice := sorted(given.keys() & params.keys()):
            raise click.UsageError(
                f"{twice[0]} is given by --param and by its own option.", click.get_current_context()
            )
        return function(*args, params={**params, **given}, **options)

    return cast("F", combined(resolution, aspect_ratio, quality, output_format, params)(merged))


row_count = click.option(
    "-n", "--count", type=click.IntRange(min=1), metavar="N", help="Number of images for rows that give none."
)
assume_price = click.option(
    "--assume-price",
    type=click.FloatRange(min=0),
    metavar="USD",
    help="Price to assume for an image where the catalogue states none.",
)
budget = click.option(
    "--budget",
    type=click.FloatRange(min=0),
    metavar="USD",
    help="Most that may be spent, earlier runs into DIR included.",
)
reuse = click.option(
    "--reuse",
    metavar="FILE",
    help="Ledger to copy from what earlier jobs and calls paid for, and to add to; made if missing.",
)
image_directory = click.option(
    "-o", "--out", default=".", metavar="DIR", help="Directory to write to (default: the current one)."
)
image_name = click.option(
    "--name", metavar="NAME", help="File name without suffix (default: a few words of the prompt)."
)
overwrite = click.option("--overwrite", is_flag=True, help="Replace existing files of that name.")
provenance = click.option(
    "--provenance",
    is_flag=True,
    help="Write prompt, model, parameters and request ID into each file, where 'show' finds them.",
)
budget_of_one = click.option(
    "--budget",
    type=click.FloatRange(min=0),
    metavar="USD",
    help="Most that it may cost; if it could cost more, nothing is sent.",
)
concurrency = click.option(
    "--concurrency",
    type=click.IntRange(min=1),
    metavar="N",
    help="Most requests in flight at once.  [default: as many as --requests-per-second needs; 64 with --no-pacing]",
)


class Rate(click.FloatRange):
    """A number of requests per second that a limiter can keep to; not a number and infinity are none."""

    def __init__(self, *, min_open: bool) -> None:
        super().__init__(min=0, max=MAX_REQUESTS_PER_SECOND, min_open=min_open)

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """Return the number, or fail as bad usage."""
        rate = float(super().convert(value, param, ctx))
        if math.isnan(rate):
            self.fail(f"{value!r} is not a number.", param, ctx)
        if 0 < rate < MIN_REQUESTS_PER_SECOND:
            self.fail(f"{value!r} is less than one start per day (1/86400).", param, ctx)
        return rate


pacing = combined(
    click.option(
        "--requests-per-second",
        type=Rate(min_open=True),
        default=25,
        show_default=True,
        metavar="R",
        help="Most requests started in any one second.",
    ),
    click.option("--no-pacing", is_flag=True, help="Start requests without that limit."),
)
no_gallery = click.option("--no-gallery", is_flag=True, help="Make no gallery (DIR/index.html) at the end.")


images_url = click.option(
    "--images-url",
    metavar="URL",
    help="Store images there instead of in DIR/images: s3://bucket/prefix, gs://, az:// or file://.",
)
key_budget = click.option(
    "--key-budget",
    type=click.FloatRange(min=0),
    metavar="USD",
    help="Most that may be spent with any one key of NANOGPT_API_KEYS on this job.",
)
ray = combined(
    click.option(
        "--ray",
        is_flag=False,
        flag_value="local",
        metavar="[ADDRESS]",
        help="Send from the workers of a Ray cluster; without ADDRESS, start one on this machine.",
    ),
    click.option(
        "--ray-workers",
        type=click.IntRange(min=1),
        default=2,
        show_default=True,
        metavar="N",
        help="Number of workers; each takes a CPU, and a key of NANOGPT_API_KEYS.",
    ),
)
manifest = click.argument("file", metavar="FILE")
directory = click.argument("directory", metavar="DIR")
