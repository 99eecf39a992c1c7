"""A batch as a page for people: thumbnails, prompts, costs and failures, from its journal alone."""

from .writer import Gallery, require_gallery, write_gallery

__all__ = ["Gallery", "require_gallery", "write_gallery"]
