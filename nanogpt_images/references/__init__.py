"""Input images: convert what a caller passes into a checked data URL or a link."""

from ..types.reference import (
    MAX_BODY_BYTES,
    MAX_FETCH_BYTES,
    MAX_OPENAI_ENCODED_BYTES,
    AllowPrivate,
    FetchBytes,
    HasImageData,
    Reference,
    ReferenceInput,
    Remote,
    SupportsPillowSave,
)
from .loader import (
    HasReferences,
    LoadedReferences,
    ReferenceLoader,
    check_total,
    load_reference,
    load_references,
)

__all__ = [
    "MAX_BODY_BYTES",
    "MAX_FETCH_BYTES",
    "MAX_OPENAI_ENCODED_BYTES",
    "AllowPrivate",
    "FetchBytes",
    "HasImageData",
    "HasReferences",
    "LoadedReferences",
    "Reference",
    "ReferenceInput",
    "ReferenceLoader",
    "Remote",
    "SupportsPillowSave",
    "check_total",
    "load_reference",
    "load_references",
]
