"""CSV: one row per image, with parameters as JSON."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from ..batch.journal import ResultRecord
from .columns import NAMES, cells

# A spreadsheet reads a cell that begins with one of these as a formula, even in quotes.
_FORMULA: Final = ("=", "+", "-", "@", "\t", "\r")


class CsvWriter:
    """
    Writes CSV in UTF-8, quoted as in RFC 4180.

    Args:
        path: The file.
        raw: Write texts unchanged; otherwise put an apostrophe before a text that a spreadsheet reads as a formula.
    """

    def __init__(self, path: Path, *, raw: bool = False) -> None:
        self._raw = raw
        self.images = 0
        self.missing = 0
        self._file = path.open("w", encoding="utf-8", newline="")
        self._csv = csv.writer(self._file)
        self._csv.writerow(NAMES)

    def write(self, images: Sequence[ResultRecord]) -> None:
        """Add one row per image."""
        self._csv.writerows([self._shown(cell) for cell in cells(image)] for image in images)
        self.images += len(images)

    def _shown(self, cell: object) -> object:
        is_formula = isinstance(cell, str) and cell.startswith(_FORMULA)
        return f"'{cell}" if is_formula and not self._raw else cell

    def close(self) -> None:
        """Close the file."""
        self._file.close()
