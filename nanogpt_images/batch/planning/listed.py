"""Columns that are parameters because the row's model lists them in the catalogue."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from typing import Final

from ...errors import ManifestError
from ...types.model import ModelRecord
from ...types.parameters import BooleanSpec, ParameterSpec, RangeSpec
from ..manifest.vocabulary import nearest, parse_number, parse_switch
from ..rows import BatchRow

_NOTHING: Final[Mapping[str, str]] = {}


def with_listed(row: BatchRow, model: ModelRecord | None) -> BatchRow:
    """
    Make parameters of those columns of *row* that *model* lists; all others stay metadata, and are never sent.

    Raises:
        ManifestError: The name of a column is nearly that of a parameter of the model.

    Source: docs/service.md, "List models of the Image API", `supported_parameters`.
    """
    if not row.columns or model is None:
        return row
    try:
        listed = _listed(row.columns, tuple(model.parameters), model.id)
    except ManifestError as error:
        raise ManifestError(error.message, line=row.line) from None
    if not listed:
        return row.evolved(columns=())
    values = {name: _value(row.metadata[column], model.parameters[name]) for column, name in listed.items()}
    kept = {column: value for column, value in row.metadata.items() if column not in listed}
    return row.evolved(parameters={**row.parameters, **values}, metadata=kept, columns=())


@lru_cache(maxsize=1024)
def _listed(columns: tuple[str, ...], names: tuple[str, ...], model_id: str) -> Mapping[str, str]:
    known = {name.lower(): name for name in names}
    found: dict[str, str] = {}
    for column in columns:
        label = column.strip().lower()
        if label in known:
            found[column] = known[label]
        elif near := nearest(label, names):
            raise ManifestError(
                f"column {column!r} is not known, and {model_id} has a parameter {near!r}. Rename it, or put it into "
                "'metadata' (--map NAME=metadata) if it is not for the service."
            )
    return found or _NOTHING


def _value(value: object, spec: ParameterSpec) -> object:
    """Read the text of a table as what the parameter is."""
    try:
        if isinstance(value, str) and isinstance(spec, RangeSpec):
            return parse_number(value)
        if isinstance(value, str) and isinstance(spec, BooleanSpec):
            return parse_switch(value)
    except ValueError:
        pass
    return int(value) if isinstance(value, float) and value.is_integer() else value
