"""`plan.json`: what a batch was planned to do and cost, kept beside its journal."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Final, cast

import attrs

from .estimates import Estimate

FILE_NAME: Final = "plan.json"
_LEFT_OUT: Final = ("problems",)


@attrs.frozen(kw_only=True)
class Planned:
    """The numbers of a plan that a job is measured by; see `Estimate`."""

    rows: int
    requests: int
    images: int
    cost_usd: float
    unpriced_requests: int


def save_plan(directory: Path, plan: Estimate) -> None:
    """
    Write *plan* into *directory*, whole or not at all.

    Raises:
        OSError: It cannot be written.
    """
    numbers = {name: value for name, value in plan.to_json().items() if name not in _LEFT_OUT}
    partial = directory / f".{FILE_NAME}.{os.getpid()}.partial"
    try:
        partial.write_text(json.dumps(numbers, indent=2, sort_keys=True) + "\n", encoding="utf-8")
        partial.replace(directory / FILE_NAME)
    finally:
        partial.unlink(missing_ok=True)


def load_plan(directory: Path) -> Planned | None:
    """The plan in *directory*; None where there is none that can be read."""
    try:
        found: object = json.loads((directory / FILE_NAME).read_bytes())
    except (OSError, ValueError):
        return None
    if not isinstance(found, dict):
        return None
    numbers = cast("dict[str, object]", found)
    names = [field.name for field in attrs.fields(Planned)]
    values = {name: numbers.get(name) for name in names}
    if not all(type(value) in (int, float) for value in values.values()):
        return None
    return Planned(**cast("dict[str, int]", values))
