"""The journal of a batch: intent before each POST, outcome after each image, in one SQLite file."""

from .journal import Journal
from .records import (
    Admission,
    Ending,
    Holder,
    Link,
    ModelSpending,
    ResultRecord,
    Spending,
    StoredImage,
    Totals,
)

__all__ = [
    "Admission",
    "Ending",
    "Holder",
    "Journal",
    "Link",
    "ModelSpending",
    "ResultRecord",
    "Spending",
    "StoredImage",
    "Totals",
]
