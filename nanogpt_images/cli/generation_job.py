"""One paid request from the command line: price → check → pay → files → what came."""

from __future__ import annotations

from pathlib import Path

import attrs

from .._base.names import prompt_slug, safe_name
from .._base.threads import in_thread
from ..client import AsyncClient, pipeline_of
from ..errors import Charge, NanoGPTError, OutputError, ParameterError
from ..money.nano import to_usd
from ..outputs import existing_images, make_directory
from ..resources.checks import checked
from ..resources.prices.pricing import needs_offers, price_of
from ..types.model import Model
from ..types.request import ImageRequest
from ..types.result import GenerationResult, ImageData
from .client import open_client, run_async
from .errors import InterruptedRunError
from .output import count, money, money_range, note, one_line, say, say_json, size


@attrs.frozen(kw_only=True)
class GenerationJob:
    """
    What is to be made, where, and for how much.

    Attributes:
        request: What is sent.
        directory: Where to write.
        name: File name without suffix; None makes one of the prompt.
    """

    request: ImageRequest
    directory: Path
    name: str | None
    overwrite: bool
    provenance: bool
    validate: bool
    budget_usd: float | None
    assume_price_usd: float | None

    @property
    def stem(self) -> str:
        """What the files are named by."""
        return prompt_slug(self.request.prompt) if self.name is None else safe_name(self.name)


def run_generation(
    order: GenerationJob, *, base_url: str | None, sandbox: bool, quiet: bool, as_json: bool
) -> int:
    """Pay for *order*, print what came, and return the exit code."""
    try:
        result = run_async(lambda: _generate(order, base_url, sandbox, quiet=quiet or as_json))
    except KeyboardInterrupt:
        raise InterruptedRunError(
            "interrupted while the request may have been in flight.", charge=Charge.UNKNOWN
        ) from None
    if as_json:
        say_json(_document(result))
    else:
        _print(result)
    return 0


async def _generate(
    order: GenerationJob, base_url: str | None, sandbox: bool, *, quiet: bool
) -> GenerationResult:
    async with open_client(
        base_url=base_url,
        sandbox=sandbox,
        quiet=quiet,
        budget_usd=order.budget_usd,
        assume_price_usd=order.assume_price_usd,
    ) as client:
        model = None
        if order.validate and order.request.model:
            # Whatever hides the catalogue (a wrong address, a proxy's page) is better met before paying.
            model = await client.catalog.get(order.request.model)
            checked(order.request, model)
            if order.budget_usd is not None or needs_offers(model, order.request):
                model = await client.catalog.priced(model.id)
        await in_thread(_prepare, order)
        if model is not None and not quiet:
            _announce(order, model)
        return await _paid(client, order)


def _announce(order: GenerationJob, model: Model) -> None:
    images = model.count_rule.images(order.request.n)
    price = price_of(model, order.request, assume_price_usd=order.assume_price_usd)
    cost = "not known" if price is None else money_range(to_usd(price.low_nano), to_usd(price.high_nano))
    budget = f" · budget {money(order.budget_usd)}" if order.budget_usd is not None else ""
    note(f"plan: {count(images, 'image')} of {one_line(model.id)} · cost {cost}{budget}")


def _prepare(order: GenerationJob) -> None:
    if not order.overwrite and (files := existing_images(order.directory, order.stem, order.request.n or 1)):
        raise OutputError(
            f"{files[0]} exists; --overwrite replaces it, --name chooses another.", says_charge=True
        )
    make_directory(order.directory)


async def _paid(client: AsyncClient, order: GenerationJob) -> GenerationResult:
    try:
        return await pipeline_of(client).to_directory(
            order.request,
            order.directory,
            name=order.stem,
            overwrite=order.overwrite,
            provenance=order.provenance,
            validate=order.validate,
        )
    except ParameterError:
        raise
    except NanoGPTError as error:
        _rescued(error)
        raise


def _rescued(error: NanoGPTError) -> None:
    """Name the images of a failed request that was paid for and can still be saved."""
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
    parts.append(f"cost {_cost(result)}")
    if result.remaining_balance is not None:
        parts.append(f"balance {money(result.remaining_balance)}")
    if result.request_id is not None:
        parts.append(f"request {one_line(result.request_id)}")
    say(" · ".join(parts))
    for problem in result.problems:
        note(f"note: {one_line(problem)}")


def _cost(result: GenerationResult) -> str:
    if result.cost_usd is not None or result.cost is None:
        return "not stated" if result.cost_usd is None else money(result.cost_usd)
    return f"{result.cost.amount:g} {one_line(result.cost.currency)}"


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
        "cost": None if result.cost is None else attrs.asdict(result.cost),
        "remaining_balance": result.remaining_balance,
        "request_id": result.request_id,
        "problems": list(result.problems),
    }
