"""Input images: convert what a caller passes into a checked data URL or a link."""

from ..types.reference import AllowPrivate, ReferenceInput
from .loader import ReferenceLoader

__all__ = ["AllowPrivate", "ReferenceInput", "ReferenceLoader"]
