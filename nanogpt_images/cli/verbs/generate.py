"""`generate`: the images of one prompt, as files."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import click

from ...batch.planning.requests import request_of
from ...batch.rows import BatchRow
from .. import common as _common
from ..generation_job import GenerationJob, run_generation


@_common.verb("generate", example="generate 'a red fox in the snow' -m gpt-image-2 -n 2 -o foxes")
@click.argument("prompt")
@click.option(
    "-m", "--model", required=True, metavar="ID", help="Model to use; 'nanogpt-images models' lists them."
)
@click.option(
    "-n",
    "--count",
    "images",
    type=click.IntRange(min=1),
    metavar="N",
    help="Number of images to ask for, in one request.",
)
@_common.image_directory
@_common.resolution
@_common.aspect_ratio
@_common.quality
@click.option(
    "--output-format",
    "--format",
    "output_format",
    metavar="FORMAT",
    help="File format, such as png, where the model offers a choice.",
)
@click.option("--seed", type=int, metavar="N", help="Seed, where the model takes one.")
@click.option(
    "-i",
    "--ref",
    "references",
    multiple=True,
    metavar="PATH",
    help="Input image: a file or a URL; may be repeated.",
)
@_common.image_name
@_common.overwrite
@_common.params
@_common.generation_route
@_common.delivery
@_common.budget_of_one
@_common.assume_price
@_common.provenance
@_common.no_validate
@_common.sandbox
@_common.quiet
def command(
    prompt: str,
    model: str,
    images: int | None,
    out: str,
    resolution: str | None,
    aspect_ratio: str | None,
    quality: str | None,
    output_format: str | None,
    seed: int | None,
    references: tuple[str, ...],
    name: str | None,
    overwrite: bool,
    params: Mapping[str, object],
    route: str | None,
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
    """Make images of PROMPT and write them to files."""
    openai = route == "openai"
    given: dict[str, object] = {
        "size" if openai else "resolution": resolution,
        "aspect_ratio": aspect_ratio,
        "quality": quality,
        "output_format": output_format,
        "seed": seed,
        "image_data_urls" if openai else "input_references": list(references) or None,
    }
    given |= _common.delivery_for(route, delivery)
    fields = {**params, **{field: value for field, value in given.items() if value is not None}}
    row = BatchRow.of({"prompt": prompt, "model": model, "route": route or "images", "parameters": fields})
    if row.count != 1 and images is None:
        images = row.count
    order = GenerationJob(
        request=request_of(row, images),
        directory=Path(out),
        name=name,
        overwrite=overwrite,
        provenance=provenance,
        validate=not no_validate,
        budget_usd=budget,
        assume_price_usd=assume_price,
    )
    return run_generation(order, base_url=base_url, sandbox=sandbox, quiet=quiet, as_json=as_json)
