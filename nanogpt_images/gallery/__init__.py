"""An HTML page of a batch, from its journal: thumbnails, prompts, costs and failures."""

from .ahead import thumbnails_ahead
from .writer import Gallery, require_gallery, write_gallery

__all__ = ["Gallery", "require_gallery", "thumbnails_ahead", "write_gallery"]
