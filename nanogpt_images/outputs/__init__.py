"""Where the bytes of images go: into memory, or through a temporary file to a name that tells the truth."""

from .directory import NO_PROVENANCE, DirectoryStore
from .names import existing_images, make_directory
from .owner import PART_SUFFIX, abandoned
from .part import write_image
from .stores import ImageStore, MemoryStore, StoredImage, finished

__all__ = [
    "NO_PROVENANCE",
    "PART_SUFFIX",
    "DirectoryStore",
    "ImageStore",
    "MemoryStore",
    "StoredImage",
    "abandoned",
    "existing_images",
    "finished",
    "make_directory",
    "write_image",
]
