"""Fault rules from a JSON file."""

from __future__ import annotations

import json
from pathlib import Path
from typing import cast

from .rules import Fault


def load_faults(path: str | Path) -> list[Fault]:
    """
    Load faults from a JSON file: an array of objects, or `{"faults": [...]}`, with the fields of Fault as keys.

    Raises:
        ValueError: The file is not JSON, has another shape, or an unknown key or kind; the text names the entry.
        OSError: The file cannot be read.
    """
    try:
        document: object = json.loads(Path(path).read_text("utf-8"))
    except ValueError as error:
        raise ValueError(f"{path} is not JSON: {error}") from None
    if isinstance(document, dict):
        document = cast("dict[str, object]", document).get("faults")
    if not isinstance(document, list):
        raise ValueError(
            f'{path} must contain an array of faults, or an object with such an array in "faults".'
        )
    return [
        _fault(entry, f"{path}, entry {number}")
        for number, entry in enumerate(cast("list[object]", document), 1)
    ]


_FIELD_TYPES: dict[str, tuple[type, ...]] = {
    "kind": (str,),
    "every": (int,),
    "prompt_contains": (str,),
    "model": (str,),
    "rate": (int, float),
    "times": (int,),
    "skip": (int,),
    "route": (str,),
    "after_s": (int, float),
    "billed": (bool,),
}


def _fault(entry: object, where: str) -> Fault:
    if isinstance(entry, str):
        entry = {"kind": entry}
    if not isinstance(entry, dict):
        raise ValueError(f"{where}: a fault must be an object with a kind.")
    fields = {name: value for name, value in cast("dict[str, object]", entry).items() if value is not None}
    for name, value in fields.items():
        if name not in _FIELD_TYPES:
            raise ValueError(f"{where}: unknown key {name!r}; the keys are {', '.join(_FIELD_TYPES)}.")
        # bool is a subclass of int, but true is not a number in the file.
        if not isinstance(value, _FIELD_TYPES[name]) or (isinstance(value, bool) and name != "billed"):
            raise ValueError(f"{where}: {name} cannot be {value!r}.")
    try:
        # All types were checked against the table above.
        return Fault(**fields)  # type: ignore[arg-type]
    except (TypeError, ValueError) as error:
        raise ValueError(f"{where}: {error}") from None
