"""The manifest that the rows of a batch come from, as its journal remembers it, and the way back to its rows."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

from ...errors import ManifestError
from ..journal import ManifestRecord
from ..rows import ROW_FIELDS
from .fields import json_value
from .reader import ManifestRows


def record_of(rows: ManifestRows, defaults: Mapping[str, object]) -> ManifestRecord:
    """
    Describe a manifest. It reads the whole file once, so it belongs into a thread.

    Args:
        rows: The rows of the manifest.
        defaults: Parameters that the batch gives to rows that lack them.

    Raises:
        ManifestError: The file cannot be read, or an option of it is not a JSON value.
    """
    # A batch gives to rows that are made already only parameters; see `BatchRow.of`.
    given = {name: value for name, value in defaults.items() if name not in (*ROW_FIELDS, "n")}
    own = cast("Mapping[str, object]", rows.options.get("defaults", {}))
    options = {**rows.options, **({"defaults": {**given, **own}} if given or own else {})}
    return ManifestRecord(
        path=str(rows.path.absolute()),
        sha256=_digest(rows.path),
        rows=rows.count(),
        options={name: json_value(value, name) for name, value in options.items()},
    )


def rows_again(record: ManifestRecord) -> ManifestRows | None:
    """The rows of a manifest that a journal remembers; None where its file is gone or has changed."""
    try:
        if _digest(Path(record.path)) != record.sha256:
            return None
        return ManifestRows(record.path, **cast("dict[str, Any]", record.options))
    except ManifestError:
        return None


def _digest(path: Path) -> str:
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise ManifestError(f"{path} cannot be read: {error.strerror}.") from error
