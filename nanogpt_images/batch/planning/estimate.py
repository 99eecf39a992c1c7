"""What a batch will do and cost, before anything is sent."""

from __future__ import annotations

import difflib
import os
from collections import Counter
from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping
from typing import Final, TypeAlias, cast

import attrs

from ...errors import ManifestError, ParameterError
from ...money.nano import to_nano
from ...resources.prices.pricing import with_flat_price
from ...types.model import Model
from ...types.parameters import split_count
from ...types.prices import Quote
from ..manifest.reader import ManifestRows, names_manifest, rows_from
from ..manifest.tables import Table
from ..rows import BatchRow
from ..sweeps import rows_of
from .listed import with_listed
from .pricing import Price, unit_price
from .requests import problem_of, warnings_of
from .totals import Estimate, ModelEstimate, Problem, Sum

__all__ = ["MAX_PROBLEMS", "Estimate", "ModelEstimate", "Problem", "check_row", "estimate"]

PlannedRows: TypeAlias = Iterable[BatchRow | Mapping[str, object] | str | ManifestError]
MAX_PROBLEMS: Final = 1_000
"""Problems that an estimate keeps; `problem_count` counts all."""
_MOST_KINDS: Final = 1_000


def check_row(row: BatchRow, model: Model) -> str | None:
    """What *model* does not accept about *row*, by the catalogue; None when nothing."""
    problem = problem_of(row, model)
    return None if problem is None else problem.message


def estimate(
    rows: PlannedRows | Table | str | os.PathLike[str],
    models: Iterable[Model] | Mapping[str, Model],
    *,
    model: str | None = None,
    requests_per_second: float | None = 25,
    assume_price_usd: float | None = None,
    concurrency: int = 64,
    latency_s: float | None = None,
    check: Callable[[BatchRow, Model], str | None] | None = check_row,
    quoted: Callable[[BatchRow], Quote | None] | None = None,
    on_kind: Callable[[BatchRow, Model], None] | None = None,
) -> Estimate:
    """
    Add up what *rows* will do and cost, in one pass and constant memory. Nothing is sent.

    Args:
        rows: Rows, their prompts, mappings of their columns, or errors of a manifest's rows (`scan_manifest` yields
            both); the path of a manifest; a data frame or an Arrow table.
        models: The catalogue.
        model: ID for rows that name none.
        requests_per_second: Pacing limit; None for none.
        assume_price_usd: USD per image where the catalogue states no price.
        concurrency: Requests at once.
        latency_s: Time of one request, where the caller knows it; without it only pacing takes time.
        check: Returns what is wrong with a row for its model, None when it is right; without a check every row is.
        quoted: Gives what `Catalog.quote` said of one request of a row; None where it was not asked.
        on_kind: Called with rows that are right, but not with each of those that differ in their prompt alone.

    Returns:
        The numbers. A row with a problem counts as a row and makes no request.

    Raises:
        ParameterError: A limit is not above zero, or the assumed price is not an amount of money, or
            *rows* is a single row.
        ManifestError: From *rows*, where the manifest as a whole cannot be read.
    """
    for name, limit in (("requests_per_second", requests_per_second), ("concurrency", concurrency)):
        if limit is not None and not limit > 0:
            raise ParameterError(f"{name} must be above 0, not {limit}.", parameter=name)
    if assume_price_usd is not None:
        to_nano(assume_price_usd)
    several: PlannedRows = rows_from(rows, model=model)
    if names_manifest(rows) and isinstance(several, ManifestRows):
        several = several.scan()
    by_id = _by_id(models)
    suggest = _Suggestions(by_id)
    total = Sum()
    per_model: dict[str, Sum] = {}
    problems: list[Problem] = []
    problem_count = 0
    warned = _Warnings()
    rules = _Rules(check, assume_price_usd, quoted, on_kind)

    for position, made, found in _read(several, model):
        total.rows += 1
        row, fault = made, found
        if row is not None:
            listed = by_id.get(row.model)
            if listed is None:
                fault = suggest(row.model)
            else:
                part = per_model.setdefault(row.model, Sum())
                part.rows += 1
                row, fault, numbers = rules.numbers(row, listed)
                if numbers is not None:
                    numbers.add_to(total, part)
                    warned.add(row, listed)
        if fault is not None:
            problem_count += 1
            if len(problems) < MAX_PROBLEMS:
                problems.append(_problem(position, row, fault))

    pacing_s = total.requests / requests_per_second if requests_per_second is not None else 0.0
    working_s = total.requests * (latency_s or 0.0) / concurrency
    return Estimate(
        **total.numbers(),
        duration_s=max(pacing_s, working_s),
        per_model={name: ModelEstimate(**part.numbers()) for name, part in per_model.items()},
        problems=tuple(problems),
        problem_count=problem_count,
        warnings=warned.texts(),
    )


def _by_id(models: Iterable[Model] | Mapping[str, Model]) -> Mapping[str, Model]:
    if isinstance(models, Mapping):
        # A mapping is an iterable too, so the checkers cannot tell which of the two this is.
        return cast("Mapping[str, Model]", models)
    return {model.id: model for model in models}


_Fault: TypeAlias = ManifestError | str


def _read(rows: PlannedRows, model: str | None) -> Iterator[tuple[int, BatchRow | None, _Fault | None]]:
    """Yield each row, or what is wrong with it, and its number."""
    for position, item in enumerate(rows, start=1):
        if isinstance(item, ManifestError):
            yield position, None, item
            continue
        try:
            for row in rows_of(item, model=model, number=position):
                yield row.number or position, row, None
        except ManifestError as error:
            yield position, None, error


def _checked(
    row: BatchRow, model: Model, check: Callable[[BatchRow, Model], str | None] | None
) -> tuple[BatchRow, _Fault | None]:
    try:
        row = with_listed(row, model)
    except ManifestError as error:
        return row, error
    return row, check(row, model) if check is not None else None


class _Rules:
    """What is right about a row, and what it adds to the sums, as `estimate` was asked."""

    def __init__(
        self,
        check: Callable[[BatchRow, Model], str | None] | None,
        assume_price_usd: float | None,
        quoted: Callable[[BatchRow], Quote | None] | None,
        on_kind: Callable[[BatchRow, Model], None] | None,
    ) -> None:
        self._check = check
        self._assume_price_usd = assume_price_usd
        self._quoted = quoted
        self._on_kind = on_kind
        self._known: dict[Hashable, _RowNumbers] = {}

    def numbers(self, row: BatchRow, model: Model) -> tuple[BatchRow, _Fault | None, _RowNumbers | None]:
        """Return *row* as its model lists it, what is wrong with it, and its numbers where nothing is."""
        # Most rows of a batch differ in their prompt alone, on which no price depends.
        kind = _kind(row, model) if self._check in (None, check_row) else None
        if (known := self._known.get(kind)) is not None:
            return row, None, known
        row, fault = _checked(row, model, self._check)
        if fault is not None:
            return row, fault, None
        if self._on_kind is not None:
            self._on_kind(row, model)
        quote = None if self._quoted is None else self._quoted(row)
        numbers = _numbers(row, model, self._assume_price_usd, quote)
        if kind is not None and len(self._known) < _MOST_KINDS:
            self._known[kind] = numbers
        return row, None, numbers


def _kind(row: BatchRow, model: Model) -> Hashable | None:
    """Return what rows have in common of which one is as right and as dear as the other; None where that is not known."""
    limit = model.prompt_limit
    # A character is two units of the limit at the most.
    if row.columns or not row.prompt.strip() or (limit and 2 * len(row.prompt) > limit.max_characters):
        return None
    # True and 1 are equal, and not the same parameter.
    parameters = [(name, type(value), value) for name, value in row.parameters.items()]
    kind = (row.model, row.route, row.count, *parameters)
    try:
        hash(kind)
    except TypeError:
        return None
    return kind


@attrs.frozen
class _RowNumbers:
    """What a row adds to the sums."""

    requests: int
    images: int
    surplus: int
    price: Price | None
    stated: Price | None
    fills: bool

    def add_to(self, *sums: Sum) -> None:
        for numbers in sums:
            if self.stated is not None:
                numbers.quote(self.requests, self.stated.expected_nano, fills=self.fills)
            numbers.add(self.requests, self.images, self.surplus, self.price)


def _numbers(row: BatchRow, model: Model, assume_price_usd: float | None, quote: Quote | None) -> _RowNumbers:
    counts = split_count(row.count, model.count_rule)
    images = sum(map(model.count_rule.images, counts))
    price = unit_price(model, row, images, assume_price_usd, requests=len(counts))
    fills = price is None
    stated: Price | None = None
    if quote is not None and quote.image_usd is not None:
        stated = unit_price(with_flat_price(model, quote.image_usd), row, images, requests=len(counts))
        price = price or stated
    return _RowNumbers(len(counts), images, images - row.count, price, stated, fills)


def _problem(position: int, row: BatchRow | None, fault: _Fault) -> Problem:
    line = row.line if row is not None else getattr(fault, "line", None)
    return Problem(
        row=position,
        line=line,
        key=row.key if row is not None else None,
        model=row.model if row is not None else None,
        message=fault.message if isinstance(fault, ManifestError) else fault,
        combination=row.combination if row is not None else None,
    )


class _Warnings:
    """Texts about parameters that no listing names, and how many rows each is about."""

    def __init__(self) -> None:
        self._rows: Counter[str] = Counter()
        self._known: dict[tuple[str, ...], tuple[str, ...]] = {}

    def add(self, row: BatchRow, model: Model) -> None:
        extra = row.parameters.get("extra")
        inner = cast("Mapping[str, object]", extra) if isinstance(extra, Mapping) else ()
        # The names alone decide, and most rows of a batch have the same.
        names = (row.model, row.route, *row.parameters, "", *inner)
        if names not in self._known:
            if len(self._known) >= MAX_PROBLEMS:
                return
            self._known[names] = warnings_of(row, model)
        self._rows.update(self._known[names])

    def texts(self) -> tuple[str, ...]:
        return tuple(f"{text} ({rows:,} row{'s' * (rows != 1)})" for text, rows in self._rows.items())


class _Suggestions:
    """Texts about unknown models; each ID is compared with the catalogue once."""

    def __init__(self, known: Iterable[str]) -> None:
        self._known = tuple(known)
        self._texts: dict[str, str] = {}

    def __call__(self, model_id: str) -> str:
        if model_id not in self._texts:
            if len(self._texts) >= MAX_PROBLEMS:
                return f"model {model_id!r} is not in the catalogue."
            near = difflib.get_close_matches(model_id, self._known, n=3)
            hint = f"; did you mean {', '.join(near)}?" if near else "."
            self._texts[model_id] = f"model {model_id!r} is not in the catalogue{hint}"
        return self._texts[model_id]
