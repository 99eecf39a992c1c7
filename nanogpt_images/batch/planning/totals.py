"""The numbers of a plan: value types, and the sums they are made of."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypedDict

import attrs

from ..._base.jsonable import Jsonable
from ...money.nano import to_usd
from .pricing import Price


@attrs.frozen(kw_only=True)
class Problem(Jsonable):
    """
    A row that would fail.

    Attributes:
        row: Its place among the rows, from 1.
        line: Its line in the manifest; None for rows that come from elsewhere.
        key: Its key, where it has one.
        model: ID of its model, where it is known.
        message: What is wrong and what to do.
        combination: What a sweep chose for it, such as `resolution=1024x1024, seed=1`.
    """

    row: int
    line: int | None
    key: str | None
    model: str | None
    message: str
    combination: str | None = None


@attrs.frozen(kw_only=True)
class ModelEstimate(Jsonable):
    """
    Numbers of a batch, or of one model's part of it.

    Attributes:
        rows: Rows, those with a problem included.
        requests: Paid requests.
        images: Images that these make.
        surplus_images: Images beyond the rows' counts, which the model makes and charges all the same.
        cost_usd: Expected cost, at stated or default resolutions.
        cost_low_usd: Least cost by the catalogue.
        cost_high_usd: Greatest cost by the catalogue, as a budget reserves it.
        unpriced_requests: Requests whose price is not known; they are in none of the costs.
        quoted_requests: Requests that the service itself gave a price for.
        quoted_usd: What it said that these cost, whatever the catalogue states.
        filled_requests: Those of them that the catalogue states no price for; only these are in the costs above.
    """

    rows: int
    requests: int
    images: int
    surplus_images: int
    cost_usd: float
    cost_low_usd: float
    cost_high_usd: float
    unpriced_requests: int
    quoted_requests: int = 0
    quoted_usd: float = 0.0
    filled_requests: int = 0


@attrs.frozen(kw_only=True)
class Estimate(ModelEstimate):
    """
    What a batch will do and cost.

    Attributes:
        duration_s: Least time, at the pacing limit and by the latency that was given.
        per_model: The same numbers by ID of the model; rows of unknown models are in no entry.
        problems: Rows that would fail, the first 1,000 of them.
        problem_count: All rows that would fail.
        warnings: Parameters of rows that would not fail, and that the model does not list; each said once.
    """

    duration_s: float
    per_model: Mapping[str, ModelEstimate]
    problems: tuple[Problem, ...]
    problem_count: int
    warnings: tuple[str, ...] = ()

    def to_json(self) -> dict[str, object]:
        """Return what `to_dict` does."""
        return self.to_dict()


class Numbers(TypedDict):
    """The fields of a `ModelEstimate`, to build one from."""

    rows: int
    requests: int
    images: int
    surplus_images: int
    cost_usd: float
    cost_low_usd: float
    cost_high_usd: float
    unpriced_requests: int
    quoted_requests: int
    quoted_usd: float
    filled_requests: int


class Sum:
    """Numbers that grow; money in whole nano-USD."""

    def __init__(self) -> None:
        self.rows = self.requests = self.images = self.surplus = self.unpriced = 0
        self.low = self.expected = self.high = 0
        self.quoted = self.quoted_nano = self.filled = 0

    def add(self, requests: int, images: int, surplus: int, price: Price | None) -> None:
        """Count a row's requests; *price* is that of all its images."""
        self.requests += requests
        self.images += images
        self.surplus += surplus
        if price is None:
            self.unpriced += requests
            return
        self.low += price.low_nano
        self.expected += price.expected_nano
        self.high += price.high_nano

    def quote(self, requests: int, nano: int, *, fills: bool) -> None:
        """Count what the service says of a row's requests; *fills* where the catalogue says nothing."""
        self.quoted += requests
        self.quoted_nano += nano
        self.filled += requests if fills else 0

    def numbers(self) -> Numbers:
        """The sums, money in USD."""
        return {
            "rows": self.rows,
            "requests": self.requests,
            "images": self.images,
            "surplus_images": self.surplus,
            "cost_usd": to_usd(self.expected),
            "cost_low_usd": to_usd(self.low),
            "cost_high_usd": to_usd(self.high),
            "unpriced_requests": self.unpriced,
            "quoted_requests": self.quoted,
            "quoted_usd": to_usd(self.quoted_nano),
            "filled_requests": self.filled,
        }
