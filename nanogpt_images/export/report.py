"""The result of an export."""

from __future__ import annotations

from pathlib import Path

import attrs

from .._base.jsonable import Jsonable


@attrs.frozen(kw_only=True)
class ExportReport(Jsonable):
    """
    The result of an export.

    Attributes:
        path: The file, or the directory of shards.
        images: Number of rows or samples.
        missing: Images that should have been copied but are no longer on disk: their Parquet row has no image, and
            WebDataset has no sample of them.
        size_bytes: Size on disk.
    """

    path: Path
    images: int
    missing: int
    size_bytes: int
