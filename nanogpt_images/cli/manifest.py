"""A manifest on the command line: looked through before anything is sent, and read lazily afterwards."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Final

import attrs

from .._base.threads import in_thread
from ..batch.manifest.reader import read_manifest, scan_manifest
from ..batch.planning.estimate import check_row, estimate
from ..batch.planning.requests import request_of
from ..batch.planning.totals import Estimate
from ..batch.rows import BatchRow
from ..errors import ManifestError
from ..resources.catalog import Catalog
from ..resources.pricing import needs_offers, price_of
from ..types.model import Model
from ..types.prices import Quote
from ..types.request import ImageRequest
from ..wire.quotes import quote_body
from .output import count, note, one_line

MAX_SCANNED_BYTES: Final = 20_000_000
"""A larger manifest is looked through only at its beginning before a batch starts."""
_FIRST_ROWS: Final = 1_000


@attrs.frozen(kw_only=True)
class Manifest:
    """
    A file of prompts and what fills the gaps in its rows.

    Attributes:
        path: The file.
        model: ID for rows that name none.
        defaults: Fields and parameters for rows that lack them.
    """

    path: Path
    model: str | None = None
    defaults: Mapping[str, object] = attrs.field(factory=dict[str, object])

    @property
    def is_large(self) -> bool:
        """Whether `check` and `plan` look at its first rows only."""
        return self.path.stat().st_size > MAX_SCANNED_BYTES

    def rows(self) -> Iterator[BatchRow]:
        """Read its rows, as they are wanted. Raises ManifestError."""
        return read_manifest(self.path, model=self.model, defaults=self.defaults)

    def scan(self) -> Iterator[BatchRow | ManifestError]:
        """Read its rows, with an error for each that is wrong. Raises ManifestError for the file as a whole."""
        return scan_manifest(self.path, model=self.model, defaults=self.defaults)

    def beginning(self) -> Iterator[BatchRow | ManifestError]:
        """Read what is checked before a batch starts: `scan`, or the start of it for a large file."""
        found = self.scan()
        return itertools.islice(found, _FIRST_ROWS) if self.is_large else found

    def check(self) -> None:
        """Raise ManifestError for the first wrong row, with the number of those behind it."""
        errors = [row for row in self.beginning() if isinstance(row, ManifestError)]
        if not errors:
            return
        first, more = errors[0], len(errors) - 1
        rest = f"{count(more, 'more row')} {'is' if more == 1 else 'are'} wrong; 'nanogpt-images plan' lists them."
        raise ManifestError(first.message, line=first.line, advice=rest if more else "")


def manifest_of(
    file: str,
    *,
    model: str | None,
    params: Mapping[str, object],
    row_count: int | None,
    route: str | None,
    response_format: Mapping[str, object],
) -> Manifest:
    """Return the manifest that the options of `plan` and `batch` describe."""
    fields = {"count": row_count, "route": route, **response_format}
    given = {name: value for name, value in fields.items() if value is not None}
    return Manifest(path=Path(file), model=model, defaults={**params, **given})


async def planned(
    manifest: Manifest,
    catalog: Catalog,
    *,
    requests_per_second: float | None,
    assume_price_usd: float | None,
    beginning: bool = False,
    quote: bool | None = False,
    under_budget: bool = False,
) -> Estimate:
    """
    Estimate what *manifest*, or only its *beginning*, will do and cost by *catalog*.

    It is read once more where the endpoint metadata states prices that the listings lack, or dearer ones, and where the
    service is asked. The metadata is asked for where the listings leave a price open; *under_budget*, for every model.

    Args:
        manifest: What is to be made.
        catalog: Models and prices.
        requests_per_second: Pacing limit; None for none.
        assume_price_usd: USD per image where no price is known.
        beginning: Look at the first rows of a large manifest only.
        quote: Ask the service for the price of each set of parameters; None asks only where the catalogue states none.
        under_budget: Count with what the metadata states dearer.

    Raises:
        ManifestError: It cannot be read.
        NanoGPTError: The catalogue could not be had.
    """
    models = {model.id: model for model in await catalog.list()}
    needed: set[str] = set()
    asked: dict[bytes, ImageRequest] = {}
    quotes: dict[bytes, Quote] = {}

    def check(row: BatchRow, model: Model) -> str | None:
        problem = check_row(row, model)
        if problem is not None:
            return problem
        request = request_of(row, None)
        if model.id not in needed and (under_budget or needs_offers(model, request)):
            needed.add(model.id)
        if quote or (quote is None and price_of(model, request) is None):
            asked.setdefault(quote_body(request), request)
        return None

    def count_up() -> Estimate:
        return estimate(
            manifest.beginning() if beginning else manifest.scan(),
            models,
            requests_per_second=requests_per_second,
            assume_price_usd=assume_price_usd,
            check=check,
            quoted=(lambda row: quotes.get(quote_body(request_of(row, None)))) if quotes else None,
        )

    numbers = await in_thread(count_up)
    priced = {model_id: await catalog.priced(model_id) for model_id in needed}
    for question, request in asked.items():
        quotes[question] = await catalog.quote(request)
    for problem in dict.fromkeys(found.problem for found in quotes.values() if found.problem is not None):
        note(f"note: {one_line(problem)}; the catalogue's price stands where there is one")
    if not quotes and all(model == models[model_id] for model_id, model in priced.items()):
        return numbers
    models |= priced
    return await in_thread(count_up)
