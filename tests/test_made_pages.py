"""Pages of the documentation that are made from the code say what the code says."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import ModuleType

import click
import pytest

import nanogpt_images as ngi
from nanogpt_images import errors, sandbox, testing
from nanogpt_images.cli.app import PROGRAM, cli
from nanogpt_images.cli.verbs.guide.meanings import SECTIONS

DOCS = Path(__file__).parent.parent / "docs"


def load() -> ModuleType:
    spec = importlib.util.spec_from_file_location("made", DOCS / "made.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("name", ["commands.md", "what-happens.md"])
def test_the_page_is_up_to_date(name: str) -> None:
    """`python docs/made.py` would change nothing."""
    wanted = load().pages()[DOCS / name]
    assert (DOCS / name).read_text("utf-8") == wanted, "run: python docs/made.py"


def test_every_failure_is_on_the_page() -> None:
    """Each section of the table of `explain` has a place on the page."""
    page = (DOCS / "what-happens.md").read_text("utf-8")
    for section, meanings in SECTIONS.items():
        assert f"<!-- made: {section} -->" in page
        assert all(f"| {meaning.what} |" in page for meaning in meanings)


def test_every_option_is_on_the_page() -> None:
    """Each verb has a heading, and each of its options a line."""
    page = (DOCS / "commands.md").read_text("utf-8")
    ctx = click.Context(cli, info_name=PROGRAM, **cli.context_settings)
    for verb in cli.list_commands(ctx):
        command = cli.get_command(ctx, verb)
        assert command is not None
        assert f"\n## {verb}\n" in page
        for option in load().own_options(command):
            assert all(name in page for name in option.opts), option


@pytest.mark.parametrize("module", [ngi, sandbox, testing], ids=lambda module: module.__name__)
def test_every_public_name_is_in_the_reference(module: ModuleType) -> None:
    """A name that can be imported has an entry on a page of docs/reference; the errors are listed by their module."""
    pages = "\n".join(page.read_text("utf-8") for page in (DOCS / "reference").glob("*.md"))
    entries = {line.split("::")[1].strip() for line in pages.splitlines() if line.startswith(".. auto")}
    listed = {*entries, *vars(errors), "__version__"}
    assert sorted(set(module.__all__) - listed) == []
