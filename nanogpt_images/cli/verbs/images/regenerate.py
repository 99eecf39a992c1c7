"""`regenerate`: make an image again from what its file says about how it was made."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

import click

from ....batch.planning.requests import request_of
from ....batch.rows import BatchRow
from ....errors import ParameterError
from ....provenance.reading import read_provenance
from ....provenance.record import Provenance
from ... import common as _common
from ...generation_job import GenerationJob, run_generation
from ...output import one_line

_REFERENCES: Final = frozenset({"input_references", "image_data_url", "image_data_urls", "image"})
_FIELDS: Final = {"images": "input_references", "openai": "image_data_urls", "edit": "image"}


@_common.verb("regenerate", example="regenerate fox.png --name fox-again --budget 0.10")
@click.argument("file", metavar="FILE")
@click.option(
    "-n",
    "--count",
    "images",
    type=click.IntRange(min=1),
    metavar="N",
    help="Number of images (default: as recorded in FILE).",
)
@_common.image_directory
@click.option(
    "-i",
    "--ref",
    "references",
    multiple=True,
    metavar="PATH",
    help="Input image, since FILE does not hold those it was made from; may be repeated.",
)
@_common.image_name
@_common.overwrite
@_common.params
@_common.budget_of_one
@_common.assume_price
@_common.provenance
@_common.no_validate
@_common.sandbox
@_common.quiet
def command(
    file: str,
    images: int | None,
    out: str,
    references: tuple[str, ...],
    name: str | None,
    overwrite: bool,
    params: Mapping[str, object],
    budget: float | None,
    assume_price: float | None,
    provenance: bool,
    no_validate: bool,
    sandbox: bool,
    quiet: bool,
    base_url: str | None,
    as_json: bool,
) -> int:
    """
    Make the images of FILE again, with the same prompt, model, parameters and seed. It costs what 'generate' costs.

    FILE is an image that was written with --provenance. --param changes a parameter.
    """
    record = read_provenance(Path(file))
    if record is None:
        raise ParameterError(f"{file} does not say how it was made (--provenance writes that).")
    row = _row_of(record, file, references, params)
    order = GenerationJob(
        request=request_of(row, images if images is not None else _count_of(record)),
        directory=Path(out),
        name=name,
        overwrite=overwrite,
        provenance=provenance,
        validate=not no_validate,
        budget_usd=budget,
        assume_price_usd=assume_price,
    )
    return run_generation(order, base_url=base_url, sandbox=sandbox, quiet=quiet, as_json=as_json)


def _row_of(
    record: Provenance, file: str, references: Sequence[str], params: Mapping[str, object]
) -> BatchRow:
    given = set(params) | (_REFERENCES if references else set[str]())
    if missing := [name for name in record.left_out if name not in given]:
        raise ParameterError(
            f"{file} was made with {one_line(', '.join(missing))}, which it does not hold.",
            advice="Give input images with --ref, anything else with --param.",
        )
    parameters = {name: value for name, value in record.parameters.items() if name not in ("n", "nImages")}
    if record.seed is not None:
        parameters["seed"] = record.seed
    if references:
        parameters[_FIELDS[record.route]] = list(references)
    fields = {"prompt": record.prompt, "model": record.model, "route": record.route}
    return BatchRow.of({**fields, "parameters": {**parameters, **params}})


def _count_of(record: Provenance) -> int | None:
    count = record.parameters.get("nImages", record.parameters.get("n"))
    return count if isinstance(count, int) and not isinstance(count, bool) and count > 0 else None
