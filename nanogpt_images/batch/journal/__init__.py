"""The journal of a batch: intent before each POST, outcome after each image, in one SQLite file."""

from .journal import Journal
from .records import (
    Admission,
    Ending,
    Holder,
    ImageRecord,
    KeptImage,
    ManifestRecord,
    ModelSpending,
    ModelTotals,
    ResultRecord,
    SignedUrl,
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
    "ResultRecord",
    "SignedUrl",
    "SpendingByModel",
    "Totals",
    "UnitRecord",
]
