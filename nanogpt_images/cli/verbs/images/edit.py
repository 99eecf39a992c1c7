"""`edit`: one image, or several, changed by a prompt."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

import attrs
import click

from ....types.request import EditRequest
from ... import common as _common
from ...generation_job import GenerationJob, run_generation

_FIELDS = frozenset(field.name for field in attrs.fields(EditRequest) if field.init) - {"extra"}


@_common.verb("edit", example="edit 'give the fox a hat' --image fox.png --mask mask.png -m gpt-image-2")
@click.argument("prompt")
@click.option(
    "-i",
    "--image",
    "image",
    multiple=True,
    required=True,
    metavar="PATH",
    help="Image to edit: a file or a URL; may be repeated.",
)
@click.option("--mask", metavar="PATH", help="Image of the same size, white where the first one may change.")
@click.option("-m", "--model", metavar="ID", help="Model to use (default: one that the service chooses).")
@click.option(
    "-n",
    "--count",
    "images",
    type=click.IntRange(min=1),
    metavar="N",
    help="Number of images to ask for, in one request.",
)
@_common.image_directory
@click.option(
    "-r", "--size", metavar="TOKEN", help="Resolution, spelt as the model lists it: see 'model ID'."
)
@click.option("--seed", type=int, metavar="N", help="Seed, where the model takes one.")
@_common.image_name
@_common.overwrite
@_common.params
@_common.delivery
@_common.budget_of_one
@_common.assume_price
@_common.provenance
@_common.no_validate
@_common.sandbox
@_common.quiet
def command(
    prompt: str,
    image: tuple[str, ...],
    mask: str | None,
    model: str | None,
    images: int | None,
    out: str,
    size: str | None,
    seed: int | None,
    name: str | None,
    overwrite: bool,
    params: Mapping[str, object],
    delivery: str | None,
    budget: float | None,
    assume_price: float | None,
    provenance: bool,
    no_validate: bool,
    sandbox: bool,
    quiet: bool,
    base_url: str | None,
    as_json: bool,
) -> int:
    """Change an image as PROMPT says and write the result to files."""
    given = {
        "mask": mask,
        "model": model,
        "n": images,
        "size": size,
        "seed": seed,
        "response_format": delivery,
    }
    fields: dict[str, object] = {
        **params,
        **{field: value for field, value in given.items() if value is not None},
        "prompt": prompt,
        "image": image,
    }
    own = {field: value for field, value in fields.items() if field in _FIELDS}
    extra = {field: value for field, value in fields.items() if field not in _FIELDS}
    order = GenerationJob(
        request=EditRequest(**cast("dict[str, Any]", own), extra=extra),
        directory=Path(out),
        name=name,
        overwrite=overwrite,
        provenance=provenance,
        validate=not no_validate,
        budget_usd=budget,
        assume_price_usd=assume_price,
    )
    return run_generation(order, base_url=base_url, sandbox=sandbox, quiet=quiet, as_json=as_json)
