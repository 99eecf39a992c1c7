"""A row → the request of each of its units."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, cast

import attrs

from ...errors import ManifestError, NanoGPTError
from ...resources.checks import find_problems, find_warnings
from ...types.model import Model
from ...types.request import EditRequest, GenerateRequest, ImageRequest, OpenAIRequest
from ..rows import BatchRow, Route

_SET_BY_ROW: Final = frozenset({"prompt", "model", "n", "extra", "route"})
_PRICED: Final = frozenset({"n", "nImages", "resolution", "size"})
_TEXT_FIELDS: Final = frozenset(
    {"resolution", "aspect_ratio", "quality", "output_format", "size", "response_format", "user"}
)


def _fields(kind: type[ImageRequest]) -> frozenset[str]:
    return frozenset(field.name for field in attrs.fields(kind) if field.init) - _SET_BY_ROW


_KINDS: Final[Mapping[Route, type[ImageRequest]]] = {
    "images": GenerateRequest,
    "openai": OpenAIRequest,
    "edit": EditRequest,
}
_KNOWN: Final = {route: _fields(kind) for route, kind in _KINDS.items()}


def request_of(row: BatchRow, n: int | None) -> ImageRequest:
    """
    The request that makes *n* images of *row*.

    Parameters that the route does not name go into `extra`, and so into the body as they are.

    Raises:
        ManifestError: `extra` is not a mapping, or holds what the row itself has fields for.
    """
    known = _KNOWN[row.route]
    fields = {name: _text(name, value) for name, value in row.parameters.items() if name in known}
    extra = {name: value for name, value in row.parameters.items() if name not in known and name != "extra"}
    nested = row.parameters.get("extra", {})
    if not isinstance(nested, Mapping):
        raise ManifestError("extra must be an object of further fields.", line=row.line)
    if hidden := sorted(_PRICED & nested.keys()):
        # What decides the price must stand where the budget looks for it.
        names = ", ".join(hidden)
        raise ManifestError(f"extra holds {names}; use count, resolution or size of the row.", line=row.line)
    common: dict[str, object] = {
        "prompt": row.prompt,
        "model": row.model,
        "n": n,
        "extra": {**cast("Mapping[str, object]", nested), **extra},
    }
    return _KINDS[row.route](**common, **fields)  # type: ignore[arg-type]


def problem_of(row: BatchRow, model: Model) -> NanoGPTError | None:
    """Return what *model* does not accept about *row*; None when nothing. `count` is split, so `n` does not matter."""
    try:
        return next(find_problems(request_of(row, None), model), None)
    except NanoGPTError as error:
        return error


def warnings_of(row: BatchRow, model: Model) -> tuple[str, ...]:
    """What *row* asks for and *model* does not list; nothing for a row of which no request can be made."""
    try:
        return tuple(find_warnings(request_of(row, None), model))
    except NanoGPTError:
        return ()


def _text(name: str, value: object) -> object:
    # A scale factor such as 2 reads as a number; on the wire every token is text.
    number = isinstance(value, int | float) and not isinstance(value, bool)
    return str(value) if name in _TEXT_FIELDS and number else value
