"""A manifest on the command line: looked through before anything is sent, and read lazily afterwards."""

from __future__ import annotations

import itertools
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Final, TypeVar

import attrs
import click

from ..._base.threads import in_thread
from ...batch.manifest.reader import ManifestRows, ReadOptions
from ...batch.planning.estimate import check_row, estimate
from ...batch.planning.listed import with_listed
from ...batch.planning.requests import request_of
from ...batch.planning.totals import Estimate, Problem
from ...batch.rows import BatchRow
from ...batch.run.reuse import Savings, savings
from ...client import AsyncClient
from ...errors import ManifestError
from ...references import ReferenceLoader
from ...resources.catalog import Catalog
from ...resources.ledger.keyed_images import KeyedImages
from ...resources.ledger.paid_ledger import PaidLedger
from ...resources.prices.pricing import needs_offers, price_of
from ...types.model import Model
from ...types.prices import Quote
from ...types.request import ImageRequest
from ...wire.quotes import quote_body
from ..output import count, note, one_line
from .choices import Choices

R = TypeVar("R")

MAX_SCANNED_BYTES: Final = 20_000_000
"""A larger manifest is not looked through twice: its first rows are, for faults that are in all of them."""
_FIRST_ROWS: Final = 1_000
_PACKED: Final = (".gz", ".zst", ".parquet", ".pq")
_PACKED_RATIO: Final = 10


@attrs.frozen(kw_only=True)
class Manifest:
    """
    A file of prompts and what fills the gaps in its rows.

    Attributes:
        path: The file.
        model: ID for rows that name none.
        defaults: Fields and parameters for rows that lack them.
        options: How its rows are made and chosen.
        shown: What to call it.
        keep: Which of its rows to take; see `ManifestRows`.
    """

    path: Path
    model: str | None = None
    defaults: Mapping[str, object] = attrs.field(factory=dict[str, object])
    options: ReadOptions = attrs.field(factory=ReadOptions)
    shown: str = ""
    keep: Callable[[BatchRow], bool] | None = None

    @property
    def name(self) -> str:
        """What to call it in messages."""
        return self.shown or str(self.path)

    @property
    def is_large(self) -> bool:
        """Whether it takes a while to look through all of it."""
        chosen = self.options.limit or self.options.sample
        if chosen is not None and chosen <= _FIRST_ROWS:
            return False
        files = self.path.rglob("*") if self.path.is_dir() else [self.path]
        return sum(_read_bytes(file) for file in files if file.is_file()) > MAX_SCANNED_BYTES

    def rows(self) -> ManifestRows:
        """Open its rows, which are read as they are wanted. Raises ManifestError."""
        options = attrs.evolve(self.options, model=self.model, defaults=self.defaults)
        return ManifestRows(self.path, options, keep=self.keep)

    def scan(self) -> Iterator[BatchRow | ManifestError]:
        """Open its rows, and an error for each that is wrong. Raises ManifestError for the file as a whole."""
        return self.rows().scan()

    def beginning(self) -> Iterator[BatchRow | ManifestError]:
        """Open `scan`, or the start of it for a large file."""
        found = self.scan()
        return itertools.islice(found, _FIRST_ROWS) if self.is_large else found

    def check(self) -> None:
        """Raise ManifestError for the first wrong row, with the number of those behind it; of a large file, look at its beginning."""
        _check(self.beginning(), Faults())

    async def check_whole(self) -> None:
        """Raise ManifestError for the first wrong row of all, with the number of those behind it."""
        await _looked_through(lambda faults: _check(self.scan(), faults))


class Faults:
    """The rows of a manifest that cannot be read: the first one, and how many there are."""

    def __init__(self) -> None:
        self._is_stopped = False
        self._first: ManifestError | None = None
        self._count = 0

    def noted(self, rows: Iterator[BatchRow | ManifestError]) -> Iterator[BatchRow | ManifestError]:
        """Hand *rows* on, and count what is wrong with them, until `stop` is called."""
        for row in rows:
            if self._is_stopped:
                return
            if isinstance(row, ManifestError):
                self._first, self._count = self._first or row, self._count + 1
            yield row

    def stop(self) -> None:
        """Hand on no further rows, because the caller is gone; from any thread."""
        self._is_stopped = True

    def refuse(self) -> None:
        """Raise ManifestError for the first of them, if there is one."""
        first, more = self._first, self._count - 1
        if first is None:
            return
        rest = f"{count(more, 'more row')} {'is' if more == 1 else 'are'} wrong; 'nanogpt-images plan' lists them."
        raise ManifestError(first.message, line=first.line, advice=rest if more else "")


def _check(rows: Iterator[BatchRow | ManifestError], faults: Faults) -> None:
    for _ in faults.noted(rows):
        pass
    faults.refuse()


async def _looked_through(look: Callable[[Faults], R]) -> R:
    """Call *look* in a thread; an interrupt ends it at its next row."""
    faults = Faults()
    try:
        return await in_thread(look, faults)
    finally:
        faults.stop()


def _read_bytes(file: Path) -> int:
    """Say how much is to be read of a file, unpacked."""
    return file.stat().st_size * (_PACKED_RATIO if file.suffix.lower() in _PACKED else 1)


def manifest_of(
    file: str,
    *,
    chosen: Choices,
    params: Mapping[str, object],
    row_count: int | None,
    route: str | None,
    response_format: Mapping[str, object],
) -> Manifest:
    """Make the manifest that the options of `plan` and `batch` describe."""
    seed = chosen.seed if chosen.sample is None else None
    fields = {"count": row_count, "route": route, "seed": seed, **response_format}
    given = {name: value for name, value in fields.items() if value is not None}
    path = _spooled(file, chosen.file_format)
    return Manifest(
        path=path,
        shown="" if str(path) == file else "standard input" if file == "-" else file,
        model=chosen.models[0] if len(chosen.models) == 1 else None,
        defaults={**params, **given},
        options=ReadOptions(
            format=chosen.file_format,
            prompt_column=chosen.prompt_column,
            key_column=chosen.key_column,
            columns=chosen.columns,
            where=chosen.where,
            limit=chosen.limit,
            sample=chosen.sample,
            seed=(chosen.seed or 0) if chosen.sample is not None else 0,
            sweep=chosen.axes,
            zip=chosen.zipped,
            templates=chosen.templates,
            wildcard_seed=chosen.wildcard_seed,
        ),
    )


def _spooled(file: str, file_format: str | None) -> Path:
    """Return the path of a file that can be read more than once: what comes through a pipe is kept until the end."""
    path = Path(file)
    if file != "-" and not path.is_fifo() and not path.is_char_device():
        return path
    if file_format is None:
        raise click.UsageError(
            f"say what {'standard input' if file == '-' else file} is with --format.",
            click.get_current_context(),
        )
    directory = tempfile.TemporaryDirectory(prefix="nanogpt-images-")
    click.get_current_context().call_on_close(directory.cleanup)
    kept = Path(directory.name) / f"manifest.{file_format}"
    with kept.open("wb") as target:
        if file == "-":
            shutil.copyfileobj(sys.stdin.buffer, target)
        else:
            with path.open("rb") as source:
                shutil.copyfileobj(source, target)
    return kept


async def planned(
    manifest: Manifest,
    catalog: Catalog,
    *,
    requests_per_second: float | None,
    assume_price_usd: float | None,
    strict: bool = False,
    quote: bool | None = False,
    under_budget: bool = False,
) -> Estimate:
    """
    Add up what *manifest* will do and cost by *catalog*.

    It is read once more where the endpoint metadata states prices that the listings lack, or dearer ones, and where the
    service is asked. The metadata is asked for where the listings leave a price open; *under_budget*, for every model.

    Args:
        manifest: What is to be made.
        catalog: Models and prices.
        requests_per_second: Pacing limit; None for none.
        assume_price_usd: USD per image where no price is known.
        strict: Refuse a manifest with rows that cannot be read.
        quote: Ask the service for the price of each set of parameters; None asks only where the catalogue states none.
        under_budget: Count with what the metadata states dearer.

    Raises:
        ManifestError: It cannot be read, or with *strict* one of its rows.
        NanoGPTError: The catalogue is not available.
    """
    models = {model.id: model for model in await catalog.list()}
    needed: set[str] = set()
    asked: dict[bytes, ImageRequest] = {}
    quotes: dict[bytes, Quote] = {}

    def note_kind(row: BatchRow, model: Model) -> None:
        request = request_of(row, None)
        if model.id not in needed and (under_budget or needs_offers(model, request)):
            needed.add(model.id)
        if quote or (quote is None and price_of(model, request) is None):
            asked.setdefault(quote_body(request), request)

    def count_up(faults: Faults) -> Estimate:
        numbers = estimate(
            faults.noted(manifest.scan()),
            models,
            requests_per_second=requests_per_second,
            assume_price_usd=assume_price_usd,
            on_kind=note_kind,
            quoted=(lambda row: quotes.get(quote_body(request_of(row, None)))) if quotes else None,
        )
        if strict:
            faults.refuse()
        return numbers

    numbers = await _looked_through(count_up)
    priced = {model_id: await catalog.priced(model_id) for model_id in needed}
    for question, request in asked.items():
        quotes[question] = await catalog.quote(request)
    for problem in dict.fromkeys(found.problem for found in quotes.values() if found.problem is not None):
        note(f"note: {one_line(problem)}; the catalogue's price stands where there is one")
    if not quotes and all(model == models[model_id] for model_id, model in priced.items()):
        return numbers
    models |= priced
    return await _looked_through(count_up)


async def reusable(
    manifest: Manifest, file: Path, client: AsyncClient, *, out: Path | None = None
) -> Savings:
    """
    Count what of *manifest* (of a large one, of its beginning) a job in *out* would copy from the ledger *file*.

    Raises:
        LedgerError: The ledger cannot be used.
    """
    ledger = PaidLedger(file, client.service)
    models = {model.id: model for model in await client.catalog.list()}
    rows = await in_thread(lambda: list(manifest.beginning()))
    try:
        return await savings(
            rows, models.get, ledger=ledger, keyed=KeyedImages(ledger, ReferenceLoader()), out=out
        )
    finally:
        await ledger.aclose()


async def without_refused(manifest: Manifest, catalog: Catalog) -> Manifest:
    """Return *manifest* without the combinations of a sweep that their models refuse."""
    models = {model.id: model for model in await catalog.list()}

    def keep(row: BatchRow) -> bool:
        model = models.get(row.model)
        if row.combination is None:
            return True
        try:
            return model is not None and check_row(with_listed(row, model), model) is None
        except ManifestError:
            return False

    return attrs.evolve(manifest, keep=keep)


def refused_combinations(numbers: Estimate) -> tuple[Problem, ...]:
    """The problems of a plan that are combinations of a sweep."""
    return tuple(problem for problem in numbers.problems if problem.combination is not None)
