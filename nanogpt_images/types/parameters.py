"""What a model accepts for a parameter, and how many images it makes per request."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypeAlias

import attrs

from ..errors import ParameterError


@attrs.frozen
class EnumSpec:
    """One of `values`. Tokens are kept exactly as listed."""

    values: tuple[str, ...]
    default: str | None = None

    def accepts(self, value: object) -> bool:
        """Return whether *value* is listed, compared as the text that goes over the wire."""
        return str(value) in self.values


@attrs.frozen
class RangeSpec:
    """A number from `minimum` to `maximum`, both included; None means "no limit known"."""

    minimum: float | None = None
    maximum: float | None = None
    default: float | None = None

    def accepts(self, value: object) -> bool:
        """Return whether *value* is a number inside the range."""
        if isinstance(value, bool) or not isinstance(value, int | float):
            return False
        above = self.minimum is None or value >= self.minimum
        return above and (self.maximum is None or value <= self.maximum)


@attrs.frozen
class BooleanSpec:
    """The parameter is accepted, whatever its values are (a descriptor of kind `boolean`)."""

    default: bool | None = None

    def accepts(self, value: object) -> bool:
        """Return True: the service decides."""
        del value
        return True


@attrs.frozen
class UnknownSpec:
    """A descriptor of a kind this package does not know: its raw JSON value, never an error."""

    raw: object = None

    def accepts(self, value: object) -> bool:
        """Return True: the service decides."""
        del value
        return True


ParameterSpec: TypeAlias = EnumSpec | RangeSpec | BooleanSpec | UnknownSpec
ParameterSpecs: TypeAlias = Mapping[str, ParameterSpec]


@attrs.frozen
class CountRule:
    """
    How many images one request to a model makes.

    Attributes:
        minimum: Least `n` of one request.
        maximum: Greatest `n` of one request.
        fixed: The number that the model always returns; such a model takes no `n`.
        stated: False where the catalogue says nothing and one image per request is assumed.

    Source: docs/service.md, "List image models", `max_images` and `fixed_image_count`; "List models of the Image API", `n`.
    """

    minimum: int = 1
    maximum: int = 1
    fixed: int | None = None
    stated: bool = True

    def __attrs_post_init__(self) -> None:
        if self.fixed is not None and self.fixed < 1:
            raise ParameterError(f"a fixed image count is at least 1, not {self.fixed}")
        if not 1 <= self.minimum <= self.maximum:
            raise ParameterError(
                f"an n range from {self.minimum} to {self.maximum} holds no number of images"
            )

    def images(self, n: int | None) -> int:
        """Return how many images a request with this *n* makes; None stands for "no n sent"."""
        return self.fixed or n or max(1, self.minimum)

    def __str__(self) -> str:
        if self.fixed is not None:
            return f"always {self.fixed}"
        if self.minimum == self.maximum:
            return f"{self.maximum}"
        return f"{self.minimum} to {self.maximum}"


ONE_IMAGE = CountRule(stated=False)
# Assumption: a model whose listings state no count makes one image per request (both routes default n to 1).


def split_count(total: int, rule: CountRule) -> list[int | None]:
    """
    Split *total* images into the `n` of each request.

    Args:
        total: Images wanted, at least 1.
        rule: What the model accepts per request.

    Returns:
        One entry per request, largest first; None means "send no n" (fixed-count models).
        Together they yield at least *total* images, with the fewest requests.

    Raises:
        ParameterError: *total* is less than 1.

    Source: docs/service.md, "List image models", `fixed_image_count`; "List models of the Image API", `n`.
    """
    if total < 1:
        raise ParameterError(f"count must be at least 1, not {total}.", parameter="count")
    per_request = rule.fixed or rule.maximum
    requests = -(-total // per_request)
    if rule.fixed is not None:
        return [None] * requests
    # Each request takes what it can while leaving the minimum for those after it. Where even the
    # minimum for all is more than the total, the surplus is unavoidable and every request takes the minimum.
    counts: list[int | None] = []
    for behind in reversed(range(requests)):
        n = max(rule.minimum, min(rule.maximum, total - behind * rule.minimum))
        counts.append(n)
        total -= n
    return counts
