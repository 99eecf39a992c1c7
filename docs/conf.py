"""Sphinx, with pages in Markdown: `sphinx-build -W -n -b html docs site`."""

from __future__ import annotations

import re
from typing import Any

from docutils import nodes
from sphinx.domains.python import PyObject
from sphinx.util.inspect import TypeAliasForwardRef

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
html_static_path = ["_static"]
html_css_files = ["site.css"]
html_copy_source = False
autodoc_typehints = "description"
autodoc_typehints_description_target = "documented_params"
autodoc_member_order = "bysource"
autodoc_class_signature = "mixed"
autodoc_type_aliases = {
    name: name for name in ("AllowPrivate", "OnEvent", "ReferenceInput", "ResponseFormat", "Rows")
}
python_use_unqualified_type_names = True
add_module_names = False
napoleon_use_ivar = True
myst_heading_anchors = 3

# Made by a client, a batch or a sandbox, or protocols: their constructors are not for users.
NOT_CONSTRUCTED = {
    "Account",
    "Batch",
    "BlockingBatch",
    "BlockingSandbox",
    "Catalog",
    "DistributedBatch",
    "HttpResponse",
    "Images",
    "Ledger",
    "Transport",
}
FACTS = "charge=None, request_id=None, advice='', partial=None, says_charge=None"
INTERNAL = re.compile(
    r"\b(?:nanogpt_images\.(?!sandbox|testing|integrations|errors)|collections\.abc\.|ssl_module\.)(?:\w+\.)*(?=[A-Z])"
)

# The attributes of a class are what its users read, not "Variables".
for field in PyObject.doc_field_types:
    if field.name == "variable":
        field.label = "Attributes"

# Sphinx shows an alias by the repr of what stands for it; a reader wants the name.
TypeAliasForwardRef.__repr__ = lambda alias: alias.name  # type: ignore[method-assign]


def plain_signature(  # noqa: PLR0917 - Sphinx calls it by position
    app: Any, what: str, name: str, obj: Any, options: Any, signature: str | None, returns: str | None
) -> tuple[str | None, str | None]:
    """Show what a caller can write: keywords by name, and no objects that stand for a default."""
    del app, obj, options
    if what == "class" and name.rpartition(".")[2] in NOT_CONSTRUCTED:
        return "", returns
    if signature is not None:
        signature = signature.replace("**facts", FACTS).replace("NOTHING", "\u2026")
        signature = re.sub(
            r"=<(?:function|built-in function|bound method|object|class)[^>]*>", "=\u2026", signature
        )
    return signature, returns


def without_construction(  # noqa: PLR0917 - Sphinx calls it by position
    app: Any, what: str, name: str, obj: Any, options: Any, lines: list[str]
) -> None:
    """Leave out the arguments of a class that users do not construct."""
    del app, obj, options
    if what == "class" and name.rpartition(".")[2] in NOT_CONSTRUCTED and "Args:" in lines:
        start = lines.index("Args:")
        end = next((n for n in range(start + 1, len(lines)) if lines[n] and lines[n][0] != " "), len(lines))
        del lines[start:end]


def short_names(app: Any, doctree: nodes.document, page: str) -> None:
    """Leave out the modules that only the package itself imports from."""
    del app, page
    for text in list(doctree.findall(nodes.Text)):
        if INTERNAL.search(text):
            text.parent.replace(text, nodes.Text(INTERNAL.sub("", text)))


def unbroken(app: Any, doctree: nodes.document, page: str) -> None:
    """Mark short code, such as `--budget`, in which no line may break, and the wide tables of failures."""
    del app
    if page == "what-happens":
        for table in doctree.findall(nodes.table):
            table["classes"].append("failures")
    for literal in doctree.findall(nodes.literal):
        if len(literal.astext()) <= 24:
            literal["classes"].append("short")


def setup(app: Any) -> None:
    """Connect the hooks."""
    app.connect("autodoc-process-signature", plain_signature)
    app.connect("autodoc-process-docstring", without_construction, priority=400)  # before napoleon reads it
    app.connect("doctree-resolved", short_names)
    app.connect("doctree-resolved", unbroken)
