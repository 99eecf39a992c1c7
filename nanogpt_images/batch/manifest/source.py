"""The manifest that the rows of a batch come from, as its journal remembers it, and the way back to its rows."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import cast

from ...errors import ManifestError
from ..journal import ManifestRecord
from .fields import json_value
from .folder import folder_digest, holds_only_images
from .reader import ManifestRows, ReadOptions
from .tables import shards_of
from .text import reading
from .vocabulary import ROW_FIELDS


def record_of(rows: ManifestRows, defaults: Mapping[str, object]) -> ManifestRecord:
    """
    Describe a manifest. Call it in a thread: it reads the whole file once.

    Args:
        rows: The rows of the manifest.
        defaults: Parameters that the batch gives to rows that lack them.

    Raises:
        ManifestError: The file cannot be read, or an option of it is not a JSON value.
    """
    # A batch gives to rows that are made already only parameters; see `BatchRow.of`.
    given = {name: value for name, value in defaults.items() if name not in (*ROW_FIELDS, "n")}
    own = cast("Mapping[str, object]", rows.options.get("defaults", {}))
    options = {
        **rows.options,
        **({"defaults": {**given, **own}} if given or own else {}),
        # Earlier versions filled no gaps, and did not say so.
        "templates": rows.reading.templates,
    }
    if isinstance(sweep := options.get("sweep"), Mapping):
        options["sweep"] = {
            name: list(value) if isinstance(value, range) else value
            for name, value in cast("Mapping[str, object]", sweep).items()
        }
    return ManifestRecord(
        path=str(rows.path.absolute()),
        sha256=_digest(rows.path),
        rows=rows.count(),
        planned_nano=rows.planned_nano,
        options={name: json_value(value, name) for name, value in options.items()},
    )


def rows_again(record: ManifestRecord) -> ManifestRows | None:
    """Return the rows of a manifest that a journal remembers; None where its file is gone or has changed."""
    try:
        if _digest(Path(record.path)) != record.sha256:
            return None
        return ManifestRows(record.path, ReadOptions.of({"templates": False, **record.options}))
    except ManifestError:
        return None


def _digest(path: Path) -> str:
    with reading(path):
        if path.is_dir() and holds_only_images(path):
            return folder_digest(path)
        if path.is_dir():
            parts = [f"{shard.relative_to(path)} {_digest(shard)}" for shard in shards_of(path)]
            return hashlib.sha256("\n".join(parts).encode()).hexdigest()
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
