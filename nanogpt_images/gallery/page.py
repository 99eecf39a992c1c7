"""A page: template, style and script from the package, and a policy that lets nothing else run."""

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

from .head import Tile

GENERATOR: Final = "nanogpt_images gallery"
"""Content of the `generator` element, by which a page of this package is known."""

_PACKAGE: Final = __name__.rpartition(".")[0]


@attrs.frozen(kw_only=True)
class Page:
    """
    One page of a gallery.

    Attributes:
        title: Name of the job.
        service: What it was made with.
        tiles: The numbers of the whole job.
        entries: Its requests, each as `to_line` makes it.
        number: Which page it is, from 1.
        names: File names of all pages, in order.
    """

    title: str
    service: str
    tiles: Sequence[Tile]
    entries: Iterable[Markup]
    number: int
    names: Sequence[str]


def to_line(entry: object) -> Markup:
    """*entry* as JSON that is safe inside a script element: no `<`, `>`, `&` or `'`, and ASCII only."""
    return htmlsafe_json_dumps(entry, sort_keys=True, separators=(",", ":"))


def render(page: Page) -> Iterator[str]:
    """The text of *page* in pieces; the entries are taken one by one."""
    style, theme, script = (_asset(name) for name in ("gallery.css", "theme.js", "gallery.js"))
    return _template().generate(
        page=page,
        generator=GENERATOR,
        policy=_policy(styles=[style], scripts=[theme, script]),
        style=style,
        theme=theme,
        script=script,
    )


def _policy(*, styles: Sequence[str], scripts: Sequence[str]) -> str:
    # Opened from disk the page has no origin that 'self' could mean; the scheme stands for it.
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
