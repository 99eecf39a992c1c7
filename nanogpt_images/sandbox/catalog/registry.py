"""The built-in catalogue: about forty models that cover every known field of a listing."""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path
from typing import cast

import attrs

from ..http.responses import JsonObject
from .definitions import BOTH, SandboxModel

_FIELDS = frozenset(field.name for field in attrs.fields(SandboxModel))
_TUPLES = ("resolutions", "aspect_ratios", "qualities", "output_formats")


@cache
def built_in_models() -> tuple[SandboxModel, ...]:
    """Load the built-in catalogue from `models.json`, once per process."""
    return tuple(_models(Path(__file__).with_name("models.json").read_text("utf-8"), "models.json"))


def load_models(path: str | Path) -> list[SandboxModel]:
    """
    Load models from a JSON file: an array of objects whose keys are the fields of SandboxModel.

    Raises:
        ValueError: The file is not JSON, has another shape, or an unknown or missing key; the text names the entry.
        OSError: The file cannot be read.
    """
    return _models(Path(path).read_text("utf-8"), str(path))


def catalog_of(size: int) -> list[SandboxModel]:
    """Return *size* models: built-in models first, then synthetic ones."""
    return [*built_in_models()[:size], *(_synthetic(index) for index in range(len(built_in_models()), size))]


def _synthetic(index: int) -> SandboxModel:
    return SandboxModel(
        id=f"synthetic/family-{index % 37}/model-{index}",
        name=f"Synthetic {index}",
        owner=f"owner-{index % 11}",
        created=1_700_000_000 + index,
        resolutions=("1024x1024", "1376x768", "auto"),
        images_max=1 + index % 4,
        prices_usd={"1024*1024": round(0.001 * (1 + index % 50), 6)},
        flat=index % 2 == 0,
        references_max=index % 5,
        default_format="jpeg" if index % 3 else "png",
    )


def _models(text: str, where: str) -> list[SandboxModel]:
    try:
        document: object = json.loads(text)
    except ValueError as error:
        raise ValueError(f"{where} is not JSON: {error}") from None
    if not isinstance(document, list):
        raise ValueError(f"{where} must contain an array of models.")
    return [
        _model(entry, f"{where}, entry {number}")
        for number, entry in enumerate(cast("list[object]", document), 1)
    ]


def _model(entry: object, where: str) -> SandboxModel:
    if not isinstance(entry, dict):
        raise ValueError(f"{where}: a model must be an object.")
    fields = dict(cast("JsonObject", entry))
    if unknown := fields.keys() - _FIELDS:
        raise ValueError(f"{where}: unknown key {min(unknown)!r}; the keys are {', '.join(sorted(_FIELDS))}.")
    for name in _TUPLES:
        fields[name] = tuple(cast("list[str]", fields.get(name, ())))
    if "resolutions" not in entry:
        del fields["resolutions"]
    fields["listed_in"] = frozenset(cast("list[str]", fields.get("listed_in", BOTH)))
    try:
        # Every key is a field; a value of another type fails where it is used.
        return SandboxModel(**fields)  # type: ignore[arg-type]
    except TypeError as error:
        raise ValueError(f"{where}: {error}") from None
