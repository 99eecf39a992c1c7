"""`plan`: what a manifest will do and cost."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

import attrs
import click

from ..._base.display import duration
from ...batch.planning.totals import Estimate, ModelEstimate, Problem
from ...batch.run.reuse import Savings
from ...client import AsyncClient
from .. import common as _common
from ..client import number_of_keys, open_client, run_async
from ..errors import USAGE
from ..manifests.choices import Choices, choices
from ..manifests.consent import above_usd, confirm_above
from ..manifests.manifest import (
    Manifest,
    manifest_of,
    planned,
    refused_combinations,
    reusable,
    without_refused,
)
from ..output import count, money, money_range, note, one_line, say, say_fields, say_json, say_table

_SHOWN_PROBLEMS = 20
# A latency to show what the number of requests at once means; the service states none.
_EXAMPLE_S: Final = 12.0


@_common.verb("plan", example="plan prompts.jsonl -m gpt-image-2 --count 4")
@_common.manifest
@choices
@_common.row_prompt
@_common.row_count
@_common.row_parameters
@_common.route
@_common.delivery
@_common.assume_price
@confirm_above
@click.option("-y", "--yes", is_flag=True, hidden=True, help="As for batch; a plan costs nothing.")
@click.option("--keep-going", is_flag=True, hidden=True, help="As for batch; a plan sends nothing.")
@click.option("--quote", is_flag=True, help="Ask the service what each kind of request costs.")
@_common.concurrency
@_common.pacing
@_common.reuse
@_common.sandbox
def command(
    file: str,
    chosen: Choices,
    prompt: str | None,
    count: int | None,
    params: Mapping[str, object],
    route: str | None,
    delivery: str | None,
    assume_price: float | None,
    confirm_above: float | None,
    yes: bool,
    keep_going: bool,
    quote: bool,
    concurrency: int | None,
    requests_per_second: float,
    no_pacing: bool,
    reuse: str | None,
    sandbox: bool,
    base_url: str | None,
    as_json: bool,
) -> int:
    """
    Show what FILE will do and cost, and which of its rows would fail. Nothing is sent, and no key is needed.

    The exit code is 2 where rows would fail.
    """
    del keep_going
    manifest = manifest_of(
        file,
        chosen=chosen,
        params=params if prompt is None else {**params, "prompt": prompt},
        row_count=count,
        route=route,
        response_format=_common.delivery_for(route, delivery),
    )
    manifest.rows()  # a file that is not there needs no catalogue
    pace = None if no_pacing else requests_per_second * number_of_keys()

    async def plan() -> tuple[Estimate, tuple[Problem, ...], Savings | None]:
        async with open_client(base_url=base_url, sandbox=sandbox, paid=False, quiet=as_json) as client:
            if any(model.partial for model in await client.catalog.list()):
                note(
                    "One of the two listings is not available: limits and prices that only it states are missing here."
                )
            numbers = await _planned(manifest, client)
            left_out = refused_combinations(numbers) if chosen.skip_invalid else ()
            if left_out:
                numbers = await _planned(await without_refused(manifest, client.catalog), client)
            found = None if reuse is None else await reusable(manifest, Path(reuse), client)
            return numbers, left_out, found

    async def _planned(manifest: Manifest, client: AsyncClient) -> Estimate:
        return await planned(
            manifest, client.catalog, requests_per_second=pace, assume_price_usd=assume_price, quote=quote
        )

    numbers, left_out, found = run_async(plan)
    if as_json:
        saved = {} if found is None else {"reuse": _reuse_document(reuse, found)}
        say_json({**numbers.to_json(), "left_out": [attrs.asdict(problem) for problem in left_out], **saved})
    else:
        _print(manifest, numbers, pace, concurrency)
        if found is not None:
            say_fields({"reuse": reuse_text(found, reuse or "")})
        say_left_out(left_out)
        above = above_usd(confirm_above, free=sandbox and base_url is None)
        if above is not None and not yes and numbers.cost_usd > above:
            note(f"batch will ask before it pays more than {money(above)} without --budget; --yes agrees")
    return USAGE if numbers.problem_count else 0


def say_left_out(left_out: Sequence[Problem]) -> None:
    """Print the combinations that --skip-invalid leaves out."""
    for problem in left_out[:_SHOWN_PROBLEMS]:
        note(f"left out: {one_line(problem.combination or '')}: {one_line(problem.message)}")
    if len(left_out) > _SHOWN_PROBLEMS:
        note(f"left out: {count(len(left_out) - _SHOWN_PROBLEMS, 'more combination')}")


def reuse_text(found: Savings, file: str) -> str:
    """`10 requests in paid.db already, 10 images; saves $0.40`."""
    made = f"{count(found.requests, 'request')} in {one_line(file)} already, {count(found.images, 'image')}"
    return f"{made}; saves {money(found.saved_usd)}"


def _reuse_document(file: str | None, found: Savings) -> dict[str, object]:
    return {"file": file, "requests": found.requests, "images": found.images, "saves_usd": found.saved_usd}


def _print(manifest: Manifest, numbers: Estimate, pace: float | None, concurrency: int | None) -> None:
    say(f"{one_line(manifest.name)}: {outline(numbers)}")
    say()
    if numbers.per_model:
        header = ["MODEL", "ROWS", "REQUESTS", "IMAGES", "SURPLUS", "COST"]
        rows = [_line(one_line(name), part) for name, part in sorted(numbers.per_model.items())]
        if len(rows) > 1:
            rows.append(_line("all", numbers))
        say_table(header, rows, right={1, 2, 3, 4}, wrap={0})
        say()
    say_fields(
        {
            "cost": cost_text(numbers),
            "quoted": _quoted_text(numbers),
            "surplus": f"{count(numbers.surplus_images, 'image')} that fixed counts and ranges make beyond what is asked for"
            if numbers.surplus_images
            else "",
            "no price": f"{count(numbers.unpriced_requests, 'request')}; --assume-price counts them"
            if numbers.unpriced_requests
            else "",
            "time": time_text(numbers, pace, concurrency) if pace else "",
            "problems": f"{count(numbers.problem_count, 'row')} would fail" if numbers.problem_count else "",
        }
    )
    say_problems(numbers)


def _quoted_text(numbers: ModelEstimate) -> str:
    """Say what the service itself quotes, and where the cost comes from it."""
    if not numbers.quoted_requests:
        return ""
    filled = (
        f"; the catalogue has no price for {numbers.filled_requests:,} of them"
        if numbers.filled_requests
        else ""
    )
    return (
        f"{money(numbers.quoted_usd)} by the service, for {count(numbers.quoted_requests, 'request')}{filled}"
    )


def time_text(numbers: Estimate, pace: float, concurrency: int | None) -> str:
    """Return how long *numbers* take at *pace* (requests per second), and how many requests at once that needs."""
    text = f"{_least(numbers.duration_s)} at {pace:g} requests per second"
    needed = math.ceil(pace * _EXAMPLE_S)
    if numbers.requests <= needed:
        return text
    if concurrency is None or concurrency >= needed:
        return f"{text}, {needed:,} at once if each takes {_EXAMPLE_S:g} s"
    longer = duration(numbers.requests * _EXAMPLE_S / concurrency)
    return f"{text}; with --concurrency {concurrency} {longer} if each takes {_EXAMPLE_S:g} s"


def _least(seconds: float) -> str:
    return f"at least {duration(seconds)}" if seconds >= 1 else "about 1 s"


def say_problems(numbers: Estimate) -> None:
    """Print the first rows that would fail, by line, and what the rows ask for that no listing names."""
    for problem in numbers.problems[:_SHOWN_PROBLEMS]:
        message = one_line(problem.message)
        already = message.startswith("line ")
        where = "" if already else f"line {problem.line or problem.row}: "
        if problem.combination is not None:
            where += f"{one_line(problem.combination)}: "
        say(f"  {where}{message}")
    if numbers.problem_count > _SHOWN_PROBLEMS:
        say(f"  and {count(numbers.problem_count - _SHOWN_PROBLEMS, 'more row')}")
    for warning in numbers.warnings[:_SHOWN_PROBLEMS]:
        say(f"  warning: {one_line(warning)}")


def outline(numbers: ModelEstimate) -> str:
    """Return `40 rows, 52 requests, 64 images`."""
    return ", ".join(
        (count(numbers.rows, "row"), count(numbers.requests, "request"), count(numbers.images, "image"))
    )


def cost_text(numbers: ModelEstimate) -> str:
    """Return the expected cost, with its range where there is one."""
    if numbers.requests and numbers.unpriced_requests == numbers.requests:
        return "not known"
    span = money_range(numbers.cost_low_usd, numbers.cost_high_usd)
    expected = money(numbers.cost_usd)
    return expected if span == expected else f"{expected} expected, {span}"


def _line(name: str, part: ModelEstimate) -> list[str]:
    cost = (
        "not known"
        if part.requests and part.unpriced_requests == part.requests
        else money_range(part.cost_low_usd, part.cost_high_usd)
    )
    return [
        name,
        f"{part.rows:,}",
        f"{part.requests:,}",
        f"{part.images:,}",
        f"{part.surplus_images:,}",
        cost,
    ]
