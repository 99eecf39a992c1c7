"""The columns of every table: the fields of `results.jsonl`."""

from __future__ import annotations

import json
from typing import Final

import attrs

from ..batch.journal import ResultRecord

NAMES: Final = tuple(field.name for field in attrs.fields(ResultRecord))
_JSON: Final = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"))


def cells(image: ResultRecord) -> list[object]:
    """Return the values of a row in the order of `NAMES`; parameters are JSON text, as models differ in them."""
    return [
        _JSON.encode(image.parameters) if name == "parameters" else getattr(image, name) for name in NAMES
    ]
