"""The journal of a batch: intent before each POST, outcome after each image, in one SQLite file."""

from ..outcomes import ImageRecord, SignedUrl
from .journal import Journal
from .records import (
    Admission,
    Ending,
    Holder,
    KeptImage,
    ManifestRecord,
    ModelSpending,
    ModelTotals,
    Remainder,
    ResultRecord,
    SpendingByModel,
    Totals,
    UnitRecord,
)

__all__ = [
    "Admission",
    "Ending",
    "Holder",
    "ImageRecord",
    "Journal",
    "KeptImage",
    "ManifestRecord",
    "ModelSpending",
    "ModelTotals",
    "Remainder",
    "ResultRecord",
    "SignedUrl",
    "SpendingByModel",
    "Totals",
    "UnitRecord",
]
