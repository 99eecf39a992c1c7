"""The journal of a batch: intent before each POST, outcome after each image, in one SQLite file."""

from .journal import Journal
from .records import (
    Admission,
    Ending,
    Holder,
    KeptImage,
    Link,
    ManifestRecord,
    ModelSpending,
    ResultRecord,
    Spending,
    StoredImage,
    Totals,
    UnitRecord,
)

__all__ = [
    "Admission",
    "Ending",
    "Holder",
    "Journal",
    "KeptImage",
    "Link",
    "ManifestRecord",
    "ModelSpending",
    "ResultRecord",
    "Spending",
    "StoredImage",
    "Totals",
    "UnitRecord",
]
