"""`batch`: the images of a manifest."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import click

from .. import common as _common
from ..batch_run import BatchJob, ClusterOptions, work
from ..client import run_async
from ..manifests.choices import Choices, choices
from ..manifests.consent import above_usd, confirm_above
from ..manifests.manifest import manifest_of
from ..summary import close


@_common.verb("batch", example="batch prompts.jsonl -m gpt-image-2 -o out --budget 5")
@_common.manifest
@choices
@click.option(
    "-o",
    "--out",
    required=True,
    metavar="DIR",
    help="Directory for images/, results.jsonl and the journal; the same DIR resumes.",
)
@_common.budget
@click.option("-y", "--yes", is_flag=True, help="Agree to the cost of the plan without being asked.")
@confirm_above
@_common.assume_price
@_common.row_prompt
@_common.row_count
@_common.row_parameters
@_common.route
@_common.delivery
@_common.concurrency
@_common.pacing
@_common.images_url
@_common.reuse
@_common.ray
@_common.key_budget
@click.option("--join", is_flag=True, help="Share the work with other processes that have DIR open.")
@click.option(
    "--keep-going",
    is_flag=True,
    help="Continue although the first 20 requests were all refused for their content.",
)
@click.option("--adopt", is_flag=True, help="Take over the images in DIR where its journal is gone.")
@_common.provenance
@_common.no_validate
@_common.no_gallery
@_common.sandbox
@_common.quiet
@click.pass_obj
def command(
    args: tuple[str, ...],
    file: str,
    chosen: Choices,
    prompt: str | None,
    out: str,
    budget: float | None,
    yes: bool,
    confirm_above: float | None,
    assume_price: float | None,
    count: int | None,
    params: Mapping[str, object],
    route: str | None,
    delivery: str | None,
    concurrency: int | None,
    requests_per_second: float,
    no_pacing: bool,
    images_url: str | None,
    reuse: str | None,
    ray: str | None,
    ray_workers: int,
    key_budget: float | None,
    join: bool,
    keep_going: bool,
    adopt: bool,
    provenance: bool,
    no_validate: bool,
    no_gallery: bool,
    sandbox: bool,
    quiet: bool,
    base_url: str | None,
    as_json: bool,
) -> int:
    """
    Make the images of FILE and write them to DIR/images. FILE is .jsonl, .json, .csv, .tsv, .txt, .parquet, .arrow, a
    directory of Parquet files or of images to edit, or - for standard input.

    Nothing in DIR is paid for twice: the same command resumes where the last one stopped. Try some rows first, with
    --limit or --sample: without it, the rest is made in the same DIR.

    \b
    Exit codes: 0 all done, 1 some rows failed or are unknown, 2 bad usage or manifest,
    3 stopped at the budget, 4 key or balance, 130 interrupted (resumable).
    """
    manifest = manifest_of(
        file,
        chosen=chosen,
        params=params if prompt is None else {**params, "prompt": prompt},
        row_count=count,
        route=route,
        response_format=_common.delivery_for(route, delivery),
    )
    manifest.check()
    if join and ray is not None:
        raise click.UsageError(
            "--ray and --join exclude each other: workers take part by themselves.",
            click.get_current_context(),
        )
    if adopt and ray is not None:
        raise click.UsageError(
            "--ray does not adopt: run the batch once without it, with --adopt --budget 0.",
            click.get_current_context(),
        )
    if reuse is not None and ray is not None:
        raise click.UsageError(
            "--ray and --reuse exclude each other: the ledger is a file of this machine. Leave out one of them; a later"
            " run with --reuse on the same directory adds what --ray has paid for.",
            click.get_current_context(),
        )
    job = BatchJob(
        manifest=manifest,
        directory=Path(out),
        again=args,
        base_url=base_url,
        sandbox=sandbox,
        requests_per_second=None if no_pacing else requests_per_second,
        concurrency=concurrency,
        budget_usd=budget,
        key_budget_usd=key_budget,
        confirm_above_usd=None if yes else above_usd(confirm_above, free=sandbox and base_url is None),
        skip_invalid=chosen.skip_invalid,
        assume_price_usd=assume_price,
        join=join,
        keep_going=keep_going,
        adopt=adopt,
        provenance=provenance,
        images_url=images_url,
        reuse=None if reuse is None else Path(reuse),
        ray=None if ray is None else ClusterOptions(address=ray, workers=ray_workers),
        validate=not no_validate,
        gallery=not no_gallery,
        quiet=quiet,
        silent=quiet or as_json,
        as_json=as_json,
    )
    return close(run_async(lambda: work(job)), as_json=as_json)
