"""The columns that every table has: the fields of `results.jsonl`."""

from __future__ import annotations

import json
from typing import Final

import attrs

from ..batch.journal import ResultRecord

NAMES: Final = tuple(field.name for field in attrs.fields(ResultRecord))
_JSON: Final = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"))


def cells(image: ResultRecord) -> list[object]:
    """The values of a row, in the order of `NAMES`; parameters are JSON text, because each model has its own."""
    return [
        _JSON.encode(image.parameters) if name == "parameters" else getattr(image, name) for name in NAMES
    ]
