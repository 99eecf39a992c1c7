"""Values as JSON: what `to_dict()` of results, models, reports and events returns."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from datetime import datetime
from enum import Enum
from pathlib import PurePath
from typing import Final, cast

import attrs

from ..errors import NanoGPTError
from .display import shown

LEFT_OUT: Final[Mapping[object, object]] = {"json": False}
"""Metadata of a field that `to_dict` leaves out: bytes, and what belongs to a running program."""

_ERROR_FACTS: Final = ("status", "code", "request_id", "retry_after_s")


class Jsonable:
    """A mixin for attrs classes."""

    __slots__ = ()

    def to_dict(self) -> dict[str, object]:
        """
        Return the attributes under their names as JSON values: what `json.dumps` takes, and reads back the same.

        A path is text, a time is ISO 8601, an error is its `type`, `message`, `charge`, `status`, `code`,
        `request_id` and `retry_after_s`. Bytes of images are left out, and so are numbers that are not finite (None).
        Signed URLs are complete, with what gives access to the image.

        Source: docs/reference/generation.md, "As JSON".
        """
        return fields_of(self)

    # `vars()` is where an encoder that knows no other way looks, FastAPI's `jsonable_encoder` among them.
    __dict__ = property(to_dict)  # pyright: ignore[reportAssignmentType]


def fields_of(instance: object) -> dict[str, object]:
    """Return the public fields of an attrs instance as JSON values."""
    return {
        field.name: json_value(getattr(instance, field.name))
        for field in attrs.fields(cast("type[attrs.AttrsInstance]", type(instance)))
        if not field.name.startswith("_") and field.metadata.get("json", True)
    }


def json_value(value: object) -> object:
    """Return *value* as JSON types only; what has no JSON form becomes a short text."""
    match value:
        case Enum():
            found: object = json_value(value.value)
        case None | bool() | int() | str():
            found = value
        case float():
            found = value if math.isfinite(value) else None
        case datetime():
            found = value.isoformat()
        case PurePath():
            found = str(value)
        case BaseException():
            found = error_facts(value)
        case Jsonable():
            found = value.to_dict()
        case Mapping():
            items = cast("Mapping[object, object]", value)
            found = {str(json_value(name)): json_value(item) for name, item in items.items()}
        case bytes() | bytearray():
            found = f"{len(value):,} bytes"
        case list() | tuple() | set() | frozenset():
            found = [json_value(item) for item in cast("Iterable[object]", value)]
        case _ if attrs.has(type(value)):
            found = fields_of(value)
        case _:
            found = shown(value)
    return found


def error_facts(error: BaseException) -> dict[str, object]:
    """Return what an error says as JSON values, under the same names for every class of errors."""
    return {
        "type": type(error).__name__,
        "message": str(error),
        "charge": error.charge.value if isinstance(error, NanoGPTError) else None,
        **{name: json_value(getattr(error, name, None)) for name in _ERROR_FACTS},
    }
