"""CSV: a row per image, parameters as JSON."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from pathlib import Path

from ..batch.journal import ResultRecord
from .columns import NAMES, cells


class CsvWriter:
    """See `Writer`. UTF-8, quoted as in RFC 4180."""

    def __init__(self, path: Path) -> None:
        self.images = 0
        self.missing = 0
        self._file = path.open("w", encoding="utf-8", newline="")
        self._csv = csv.writer(self._file)
        self._csv.writerow(NAMES)

    def write(self, images: Sequence[ResultRecord]) -> None:
        """See `Writer`."""
        self._csv.writerows(map(cells, images))
        self.images += len(images)

    def close(self) -> None:
        """See `Writer`."""
        self._file.close()
