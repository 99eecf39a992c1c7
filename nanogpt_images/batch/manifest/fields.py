"""What the fields of a row may hold; every fault is a `ManifestError` that names the field."""

from __future__ import annotations

import datetime
import decimal
import math
import os
from collections.abc import Mapping
from typing import Final, cast

from ...errors import ManifestError

MAX_COUNT: Final = 1_000_000
"""Greatest `count` of one row."""

_MAX_DEPTH: Final = 32


def checked_text(value: object, field: str) -> str:
    if not isinstance(value, str):
        raise ManifestError(f"{field} must be text, not {short(value)}.")
    if not value.strip():
        raise ManifestError(f"{field} is empty.")
    return _encodable(value, field)


def _encodable(value: str, field: str) -> str:
    if not value.isascii():
        try:
            value.encode()
        except UnicodeEncodeError:
            raise ManifestError(f"{field} holds half of a surrogate pair.") from None
    return value


def checked_key(value: object) -> str | None:
    if value is None or value == "":
        return None
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    return checked_text(str(value) if type(value) is int else value, "key")


def checked_count(value: object, field: str) -> int:
    if isinstance(value, str) and value.strip().isdecimal() and len(value) < 20:
        value = int(value)
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= MAX_COUNT:
        raise ManifestError(f"{field} must be a whole number from 1 to {MAX_COUNT:,}, not {short(value)}.")
    return value


def plain(value: object) -> object:
    """Convert what tables hold and JSON does not (numbers of numpy, dates, decimals, missing values) to what it does."""
    if value is None or isinstance(value, str | int | float | list | dict):
        return cast("object", value)
    if isinstance(value, datetime.date | datetime.time):
        # The missing moment of pandas is a date that differs from itself.
        return value.isoformat() if value == value else None  # noqa: PLR0124
    if isinstance(value, decimal.Decimal):
        return int(value) if value == value.to_integral_value() else float(value)
    if type(value).__name__ == "NAType":
        return None
    item = getattr(value, "item", None)
    # An array has an item as well, if it holds only one.
    return item() if callable(item) and not hasattr(value, "__len__") else value


def json_value(value: object, name: str, depth: int = 0) -> object:
    if depth > _MAX_DEPTH:
        raise ManifestError(f"{name} is nested deeper than {_MAX_DEPTH} levels.")
    if value is None or isinstance(value, bool | int):
        return value
    if isinstance(value, str):
        return _encodable(value, name)
    if isinstance(value, float) and math.isfinite(value):
        return value
    if isinstance(value, os.PathLike):
        return json_value(os.fspath(cast("os.PathLike[str]", value)), name)
    if isinstance(value, Mapping):
        items = cast("Mapping[object, object]", value).items()
        return {
            checked_text(key, f"a name in {name}"): json_value(item, name, depth + 1) for key, item in items
        }
    if isinstance(value, list | tuple):
        return [json_value(item, name, depth + 1) for item in cast("list[object]", value)]
    raise ManifestError(
        f"{name} must be a JSON value (an image goes in as a path or a URL), not {short(value)}."
    )


def short(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 80 else f"{text[:77]}…"
