"""`generate`: the images of one prompt, as files."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from pathlib import Path

import anyio.to_thread
import attrs
import click

from .._names import image_stem, prompt_slug, safe_name
from ..batch.requests import request_of
from ..batch.rows import BatchRow
from ..checks import checked
from ..client import AsyncClient
from ..errors import Charge, NanoGPTError, OutputError, ParameterError
from ..outputs import DirectoryStore, existing_images, make_directory
from ..request import ImageRequest
from ..results import GenerationResult, ImageData
from . import _common
from ._client import open_client, run_async
from ._errors import InterruptedRunError
from ._output import count, money, note, one_line, say, say_json, size


@attrs.frozen(kw_only=True)
class _Order:
    request: ImageRequest
    directory: Path
    stem: str
    overwrite: bool
    validate: bool


@_common.verb("generate", example="generate 'a red fox in the snow' -m gpt-image-2 -n 2 -o foxes")
@click.argument("prompt")
@click.option("-m", "--model", required=True, metavar="ID", help="Model; 'nanogpt-images models' lists them.")
@click.option("-n", "images", type=click.IntRange(min=1), metavar="N", help="Images of this one request.")
@click.option("-o", "--out", default=".", metavar="DIR", help="Where to write; the current directory.")
@click.option("-r", "--resolution", metavar="TOKEN", help="As the model lists it.")
@click.option("--aspect-ratio", metavar="TOKEN", help="As the model lists it.")
@click.option("--quality", metavar="TOKEN", help="As the model lists it.")
@click.option("--format", "output_format", metavar="FORMAT", help="Such as png, where the model supports it.")
@click.option("--seed", type=int, metavar="N", help="For reproducible images, where the model supports it.")
@click.option(
    "--ref",
    "references",
    multiple=True,
    metavar="PATH",
    help="An input image: a file or a URL; may be repeated.",
)
@click.option("--name", metavar="NAME", help="File name without suffix; a few words of the prompt.")
@click.option("--overwrite", is_flag=True, help="Replace files of that name.")
@_common.params
@_common.route
@_common.delivery
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
    order = _Order(
        request=request_of(row, images),
        directory=Path(out),
        stem=prompt_slug(prompt) if name is None else safe_name(name),
        overwrite=overwrite,
        validate=not no_validate,
    )
    try:
        result = run_async(lambda: _generate(order, base_url, sandbox, quiet=quiet or as_json))
    except KeyboardInterrupt:
        raise InterruptedRunError(
            "interrupted; if the request was under way, it may have been charged.", charge=Charge.UNKNOWN
        ) from None
    if as_json:
        say_json(_document(result))
    else:
        _print(result)
    return 0


async def _generate(order: _Order, base_url: str | None, sandbox: bool, *, quiet: bool) -> GenerationResult:
    async with open_client(base_url=base_url, sandbox=sandbox, quiet=quiet) as client:
        if order.validate:
            # Whatever hides the catalogue (a wrong address, a proxy's page) is better met before paying.
            checked(order.request, await client.catalog.get(order.request.model))
        await anyio.to_thread.run_sync(_prepare, order)
        return await _paid(client, order)


def _prepare(order: _Order) -> None:
    if not order.overwrite and (files := existing_images(order.directory, order.stem)):
        raise OutputError(
            f"{files[0]} exists; --overwrite replaces it, --name chooses another. Nothing was sent."
        )
    make_directory(order.directory)


async def _paid(client: AsyncClient, order: _Order) -> GenerationResult:
    store = DirectoryStore(
        order.directory, functools.partial(image_stem, order.stem), overwrite=order.overwrite
    )
    try:
        result = await client.images.run(order.request, store, validate=order.validate)
        return await client.images.downloaded(result, store)
    except ParameterError:
        raise
    except NanoGPTError as error:
        _rescued(error)
        raise


def _rescued(error: NanoGPTError) -> None:
    """Name what can still be had of a failed request that was paid for."""
    partial = getattr(error, "partial", None)
    if not isinstance(partial, GenerationResult):
        return
    for image in partial.images:
        if image.path is not None:
            note(f"kept: {image.path}")
        elif image.url is not None:
            note(f"still to be downloaded, for about an hour: {image.url}")


def _print(result: GenerationResult) -> None:
    for image in result.images:
        say(f"{image.path}  {_facts(image)}")
    parts = [count(len(result.images), "image")]
    parts.append(f"cost {money(result.cost_usd)}" if result.cost_usd is not None else "cost not stated")
    if result.remaining_balance is not None:
        parts.append(f"balance {money(result.remaining_balance)}")
    if result.request_id is not None:
        parts.append(f"request {one_line(result.request_id)}")
    say(" · ".join(parts))
    for problem in result.problems:
        note(f"note: {one_line(problem)}")


def _facts(image: ImageData) -> str:
    pixels = f"{image.width}x{image.height}" if image.width and image.height else ""
    return "  ".join(part for part in (pixels, size(image.size_bytes)) if part)


def _document(result: GenerationResult) -> dict[str, object]:
    return {
        "model": result.model,
        "prompt": result.prompt,
        "images": [
            {
                "index": image.index,
                "file": str(image.path) if image.path is not None else None,
                "media_type": image.media_type,
                "width": image.width,
                "height": image.height,
                "bytes": image.size_bytes,
            }
            for image in result.images
        ],
        "asked": result.asked,
        "cost_usd": result.cost_usd,
        "remaining_balance": result.remaining_balance,
        "request_id": result.request_id,
        "problems": list(result.problems),
    }
