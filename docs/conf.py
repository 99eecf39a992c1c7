"""Sphinx, with pages in Markdown: `sphinx-build -W -n -b html docs site`."""

from __future__ import annotations

from nanogpt_images import __version__

project = "nanogpt_images"
author = "The nanogpt_images authors"
copyright = "2026, the nanogpt_images authors"  # noqa: A001 - Sphinx's name
release = __version__
extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon", "sphinx.ext.intersphinx"]
# The catalogue of another project would have to be fetched; names outside this package are not linked.
intersphinx_mapping: dict[str, tuple[str, None]] = {}
exclude_patterns = ["examples"]
default_role = "code"
html_theme = "furo"
html_title = f"nanogpt_images {release}"
autodoc_typehints = "description"
autodoc_typehints_description_target = "documented_params"
autodoc_member_order = "bysource"
autodoc_class_signature = "separated"
napoleon_use_ivar = True
myst_heading_anchors = 3
