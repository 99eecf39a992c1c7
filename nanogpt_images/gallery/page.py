"""Render a page: template, style and script of the package, with a policy that allows no other code."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterable, Iterator, Sequence
from functools import cache
from importlib.resources import files
from typing import Final

import attrs
import jinja2
from jinja2.utils import htmlsafe_json_dumps
from markupsafe import Markup

from .head import ModelLine, Tile

GENERATOR: Final = "nanogpt_images gallery"
"""Content of the `generator` element, which identifies a page of this package."""

_SCRIPTS: Final = ("data", "words", "picks", "pieces", "cards", "table", "controls", "viewer", "start")
"""The parts of the page's script, which is one function: they share their names."""

_PACKAGE: Final = __name__.rpartition(".")[0]


@attrs.frozen(kw_only=True)
class Page:
    """
    One page of a gallery.

    Attributes:
        title: Name of the batch.
        service: The service that made the images.
        span: When the batch ran.
        tiles: The tiles of the whole batch.
        models: The models of the whole batch.
        entries: Its requests, each encoded by `to_line`.
        number: Page number, from 1.
        names: File names of all pages, in order.
    """

    title: str
    service: str
    span: str
    tiles: Sequence[Tile]
    models: Sequence[ModelLine]
    entries: Iterable[Markup]
    number: int
    names: Sequence[str]


def to_line(entry: object) -> Markup:
    """Encode *entry* as JSON that is safe inside a script element: ASCII without `<`, `>`, `&` and `'`."""
    return htmlsafe_json_dumps(entry, sort_keys=True, separators=(",", ":"))


def render(page: Page) -> Iterator[str]:
    """Render *page* in pieces, one entry at a time."""
    style, theme, script = _asset("gallery.css"), _asset("theme.js"), _script()
    return _template().generate(
        page=page,
        generator=GENERATOR,
        policy=_policy(styles=[style], scripts=[theme, script]),
        style=style,
        theme=theme,
        script=script,
    )


def _policy(*, styles: Sequence[str], scripts: Sequence[str]) -> str:
    # A page opened from disk has no origin for 'self' to match; `file:` allows its images.
    return "; ".join(
        [
            "default-src 'none'",
            "img-src 'self' file:",
            f"style-src {' '.join(map(_hash, styles))}",
            f"script-src {' '.join(map(_hash, scripts))}",
            "base-uri 'none'",
            "form-action 'none'",
            "require-trusted-types-for 'script'",
            "trusted-types 'none'",
        ]
    )


def _hash(text: str) -> str:
    digest = base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
    return f"'sha256-{digest}'"


@cache
def _asset(name: str) -> Markup:
    return Markup(files(_PACKAGE).joinpath("assets", name).read_text(encoding="utf-8"))  # noqa: S704 - our own file


@cache
def _script() -> Markup:
    parts = Markup("\n").join(_asset(f"{name}.js") for name in _SCRIPTS)
    return Markup('"use strict";\n(() => {\n') + parts + Markup("})();\n")


@cache
def _template() -> jinja2.Template:
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader(_PACKAGE, "assets"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    return environment.get_template("gallery.html")
