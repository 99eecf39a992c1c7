"""Fault rules, and the choice of the fault that strikes a request."""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import Literal, get_args

import attrs

from .kinds import KINDS, FaultStage

FaultRoute = Literal[
    "images",
    "openai",
    "edit",
    "catalog",
    "image-models",
    "images/models",
    "endpoints",
    "account",
    "estimate",
    "files",
]
_ROUTES: tuple[str, ...] = get_args(FaultRoute)
GENERATION: frozenset[str] = frozenset({"images", "openai", "edit"})


def _known(instance: object, attribute: attrs.Attribute[str], kind: str) -> None:
    if kind not in KINDS:
        raise ValueError(f"Unknown fault kind {kind!r}; the kinds are {', '.join(sorted(KINDS))}.")


def _at_least_one(instance: object, attribute: attrs.Attribute[int | None], value: int | None) -> None:
    if value is not None and value < 1:
        raise ValueError(f"{attribute.name} must be at least 1; got {value}.")


def _share(instance: object, attribute: attrs.Attribute[float | None], value: float | None) -> None:
    if value is not None and not 0 <= value <= 1:
        raise ValueError(f"{attribute.name} must be from 0 to 1; got {value}.")


def _known_route(instance: object, attribute: attrs.Attribute[FaultRoute | None], value: str | None) -> None:
    if value is not None and value not in _ROUTES:
        raise ValueError(f"unknown route {value!r}; the routes are {', '.join(_ROUTES)}.")


@attrs.frozen
class Fault:
    """
    One rule: a kind of fault and the requests that it strikes. All conditions given must hold.

    Args:
        kind: What goes wrong; `faults.kinds.KINDS` has the kinds.
        every: Strike every k-th request that meets the other conditions.
        prompt_contains: Strike only requests whose prompt contains this text.
        model: Strike only requests for this model.
        rate: Strike this share of requests, 0 to 1, drawn with the sandbox's seed.
        times: Strike at most this many times.
        skip: Let this many matching requests pass first.
        route: Strike only this route; None means the routes that generate or edit, or the route of the kind's stage.
            `catalog` means both listings, `image-models` or `images/models` only one.
        after_s: Seconds that a stall lasts (None: until the client disconnects), or between the slices of a slow drip.
        billed: Whether a struck generation is billed; None leaves it to the kind.
    """

    kind: str = attrs.field(validator=_known)
    every: int | None = attrs.field(default=None, kw_only=True, validator=_at_least_one)
    prompt_contains: str | None = attrs.field(default=None, kw_only=True)
    model: str | None = attrs.field(default=None, kw_only=True)
    rate: float | None = attrs.field(default=None, kw_only=True, validator=_share)
    times: int | None = attrs.field(default=None, kw_only=True)
    skip: int = attrs.field(default=0, kw_only=True)
    route: FaultRoute | None = attrs.field(default=None, kw_only=True, validator=_known_route)
    after_s: float | None = attrs.field(default=None, kw_only=True)
    billed: bool | None = attrs.field(default=None, kw_only=True)

    @property
    def stage(self) -> FaultStage:
        """When in the life of a request the fault strikes."""
        return KINDS[self.kind].stage

    @property
    def bills(self) -> bool:
        """Whether a struck generation is billed."""
        return KINDS[self.kind].billed if self.billed is None else self.billed


@attrs.frozen(kw_only=True)
class FaultTarget:
    """The facts of a request that rules are matched against."""

    route: str
    model: str | None = None
    prompt: str | None = None
    delivery: str | None = None
    listing: str | None = None


class FaultPicker:
    """Decides for each request which fault strikes: the first rule that matches."""

    def __init__(self, faults: Sequence[Fault], seed: int) -> None:
        self.faults = tuple(faults)
        self._seed = seed
        self.clear()

    def clear(self) -> None:
        """Reset the counts and the random draws."""
        self._seen = [0] * len(self.faults)
        self._struck = [0] * len(self.faults)
        # Not a secret: the same seed gives the same faults.
        self._random = [random.Random(f"{self._seed} {index}") for index in range(len(self.faults))]  # noqa: S311

    def has_early(self) -> bool:
        """Return whether some rule strikes before the request body is read."""
        return any(fault.stage is FaultStage.EARLY for fault in self.faults)

    def pick(self, target: FaultTarget, stages: frozenset[FaultStage]) -> Fault | None:
        """Return the first fault of *stages* that strikes *target*; None for none."""
        for index, fault in enumerate(self.faults):
            if fault.stage in stages and _meets(fault, target) and self._strikes(index, fault):
                return fault
        return None

    def _strikes(self, index: int, fault: Fault) -> bool:
        self._seen[index] += 1
        number = self._seen[index] - fault.skip
        if number < 1 or (fault.times is not None and self._struck[index] >= fault.times):
            return False
        if fault.every is not None and number % fault.every:
            return False
        if fault.rate is not None and self._random[index].random() >= fault.rate:
            return False
        self._struck[index] += 1
        return True


def _meets(fault: Fault, target: FaultTarget) -> bool:
    kind = KINDS[fault.kind]
    route = "generation" if fault.route is None and target.route in GENERATION else target.route
    if (fault.route or _USUAL_ROUTES.get(kind.stage, "generation")) not in {route, target.listing}:
        return False
    if kind.delivery is not None and target.delivery is not None and kind.delivery != target.delivery:
        return False
    if fault.model is not None and fault.model != target.model:
        return False
    return fault.prompt_contains is None or fault.prompt_contains in (target.prompt or "")


_USUAL_ROUTES = {FaultStage.FILE: "files", FaultStage.LISTING: "catalog"}
