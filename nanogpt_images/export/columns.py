"""The columns that every table has: the fields of `results.jsonl`."""

from __future__ import annotations

import json
from typing import Final

import attrs

from ..batch.journal import ResultRecord

NAMES: Final = tuple(field.name for field in attrs.fields(ResultRecord))
_OBJECTS: Final = ("parameters", "metadata")
_JSON: Final = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"))


def cells(image: ResultRecord) -> list[object]:
    """Return the values of a row in the order of `NAMES`; what each row has names of its own for is JSON text."""
    return [
        _JSON.encode(getattr(image, name)) if name in _OBJECTS else getattr(image, name) for name in NAMES
    ]
