"""The document: what is escaped, and what may run in it."""

from __future__ import annotations

import base64
import hashlib
import json
import re
from collections.abc import Sequence
from html import unescape
from html.parser import HTMLParser

import pytest
from markupsafe import Markup

from nanogpt_images.gallery.head import Tile
from nanogpt_images.gallery.page import Page, render, to_line

from .conftest import HOSTILE

EVIL = '"><script>alert(1)</script>'


def document(entries: Sequence[Markup] = (), **changes: object) -> str:
    fields: dict[str, object] = {
        "title": "job",
        "service": "https://nano-gpt.com",
        "span": "21 Nov 2026, 19:40 UTC",
        "models": [],
        "tiles": [Tile(label="Images", value="3", notes=["of 4 planned"], share=0.75)],
        "number": 1,
        "names": ["index.html"],
    }
    return "".join(render(Page(entries=iter(entries), **{**fields, **changes})))  # type: ignore[arg-type]


class Elements(HTMLParser):
    """The elements of a document, with the text of scripts and styles."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None], list[str]]] = []
        self._open = False
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs), []))
        self._open = True

    def handle_endtag(self, tag: str) -> None:
        self._open = False

    def handle_data(self, data: str) -> None:
        if self._open:
            self.found[-1][2].append(data)

    def texts(self, tag: str, **wanted: str) -> list[str]:
        """The contents of the elements *tag* that have just the attributes *wanted*."""
        return ["".join(text) for name, attrs, text in self.found if name == tag and attrs == wanted]


@pytest.mark.parametrize("prompt", HOSTILE.values(), ids=HOSTILE)
def test_data_survives_and_stays_data(prompt: str) -> None:
    """Whatever a prompt holds, the data element ends where it should and gives the prompt back unchanged."""
    found = Elements(document([to_line({"prompt": prompt}), to_line({"prompt": "b"})]))
    (data,) = found.texts("script", type="application/json", id="data")
    assert json.loads(data) == [{"prompt": prompt}, {"prompt": "b"}]
    assert len([element for element in found.found if element[0] == "script"]) == 3


def test_line_holds_nothing_that_html_reads() -> None:
    """A line of data is ASCII without the characters that could end or open anything."""
    for prompt in HOSTILE.values():
        line = to_line({prompt: prompt})
        assert line.isascii()
        assert not set("<>&'\n") & set(line)


def test_texts_of_the_page_are_escaped() -> None:
    """Name, service and notes of a job are text, never markup."""
    tile = Tile(label=EVIL, value=EVIL, notes=[EVIL])
    text = document(title=EVIL, service=EVIL, tiles=[tile])
    assert "alert(1)</script>" not in text
    assert unescape(text).count("alert(1)</script>") == 6


def test_policy_names_each_script_and_style_and_nothing_else() -> None:
    """The policy's hashes are those of the script and style elements; all else is refused but local images."""
    found = Elements(document())
    (policy,) = [attrs["content"] or "" for _, attrs, _ in found.found if attrs.get("http-equiv") is not None]
    directives = dict(directive.split(" ", 1) for directive in policy.split("; "))
    for kind, texts in (("script-src", found.texts("script")), ("style-src", found.texts("style"))):
        digests = [base64.b64encode(hashlib.sha256(text.encode()).digest()).decode() for text in texts]
        assert directives[kind] == " ".join(f"'sha256-{digest}'" for digest in digests)
    assert directives["default-src"] == "'none'"
    assert directives["img-src"] == "'self' file:"
    assert directives["base-uri"] == directives["form-action"] == "'none'"


def test_nothing_comes_from_elsewhere() -> None:
    """The document names no address but the service's, has no inline style or handler, and loads nothing."""
    found = Elements(document())
    names = {name for _, attrs, _ in found.found for name in attrs}
    assert not {name for name in names if name.startswith("on")} | names & {"style", "src", "srcset"}
    assert not [element for element in found.found if element[0] in ("link", "iframe", "object", "base")]
    assert set(re.findall(r"https?://[^\s<\"']+", document())) == {"https://nano-gpt.com"}


def test_pages_name_each_other() -> None:
    """Of several pages each links to all, and says which one it is."""
    names = ["index.html", "gallery-2.html"]
    found = Elements(document(names=names, number=2))
    links = [attrs for tag, attrs, _ in found.found if tag == "a" and attrs.get("href") in names]
    assert [link.get("aria-current") for link in links] == [None, "page"]
    assert "gallery-2.html" not in document()
