"""Faults that alter a listing of the catalogue."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from itertools import count
from typing import cast

import attrs

from ..http.responses import JsonObject, Response, json_answer
from .alterations import truncated

HUGE = 10_000


def altered_listing(kind: str, listing: JsonObject) -> Response:
    """Return the answer with *listing*, altered by a fault of the stage LISTING or PAYLOAD."""
    data = cast("list[JsonObject]", listing["data"])
    if kind in _ALTERATIONS:
        listing = {**listing, "data": _ALTERATIONS[kind](data), "next": None}
    elif kind == "missing_data":
        listing = {name: value for name, value in listing.items() if name != "data"}
    answer = json_answer(listing)
    if kind == "wrong_content_type":
        answer = attrs.evolve(answer, content_type="text/plain")
    return truncated(answer) if kind == "truncated_json" else answer


def _grown(data: list[JsonObject]) -> list[object]:
    odd_shape = {"id": "odd/shape", "supported_parameters": ["n"], "pricing": None}
    return [*data, None, "a string", 7, [], {}, {"id": None}, odd_shape]


def _renamed(data: list[JsonObject]) -> list[object]:
    return [
        {**entry, "id": f"renamed/{entry['id']}"} if number % 2 else entry
        for number, entry in enumerate(data)
    ]


def _of_unknown_kinds(data: list[JsonObject]) -> list[object]:
    unknown = {"type": "spectrum", "bands": [[1, 2], {"three": 4}]}
    names = ("n", "resolution", "resolutions", "seed", "input_references", "new")
    parameters = dict.fromkeys(names, unknown)
    pricing = {"per_parsec": {"far": "1e-3"}, "currency": "STARDUST"}
    return [
        {
            **entry,
            "supported_parameters": {**cast("JsonObject", entry["supported_parameters"]), **parameters},
            "pricing": pricing,
        }
        for entry in data
    ]


def _huge(data: list[JsonObject]) -> list[object]:
    more = ({**entry, "id": f"{entry['id']}/{copy}"} for copy in count(2) for entry in data)
    return [*data, *(next(more) for _ in range(HUGE - len(data)))]


_ALTERATIONS: Mapping[str, Callable[[list[JsonObject]], list[object]]] = {
    "catalog_shrinks": lambda data: list(data[::2]),
    "catalog_grows": _grown,
    "catalog_renames": _renamed,
    "catalog_unknown_kinds": _of_unknown_kinds,
    "catalog_huge": _huge,
    "zero_images": lambda _: [],
    "null_entries": lambda data: [None, *data, None],
}
