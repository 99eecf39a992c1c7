"""Store the bytes of images: in memory, or through a temporary file under a name with the correct suffix."""

from .._base.disk import existing_images, make_directory
from .._base.owner import abandoned
from .._base.part_file import write_image
from ..types.result import ReceivedImage
from .directory import NO_PROVENANCE, DirectoryStore
from .stores import ImageStore, MemoryStore, finished

__all__ = [
    "NO_PROVENANCE",
    "DirectoryStore",
    "ImageStore",
    "MemoryStore",
    "ReceivedImage",
    "abandoned",
    "existing_images",
    "finished",
    "make_directory",
    "write_image",
]
