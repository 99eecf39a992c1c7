"""The words that people read: plain, idiomatic English in code, documentation and help."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import click
import pytest
from words import findings, findings_in_markdown

import nanogpt_images
from nanogpt_images.cli.app import PROGRAM, cli

ROOT = Path(__file__).parent.parent
PAGES = sorted(
    [*ROOT.glob("*.md"), ROOT / "llms.txt", *(ROOT / "docs").rglob("*.md"), *(ROOT / "examples").glob("*.md")]
)
PACKAGE = Path(nanogpt_images.__file__).parent

BAD = {
    '"""When the driver called at last."""': "at last",
    '"""Begin image 3 anew."""': "anew",
    "# mend the rows in the manifest": "mend",
    "# after the rows that failed are mended": "mended",
    '"fares the same"': "fares",
    '"""The state of now."""': "of now",
    '"""The headers that tell of it."""': "tell of",
    "# cancelled before it could be told": "be told",
    '"nope is no directory"': "is no",
    'f"{path} is no manifest by its suffix {suffix!r}"': "is no",
    '"""Bytes that are\n    no text."""': "are no",
    "# a block of comments is\n# no exception": "is no",
    'f"route {value!r} is none of {names}."': "is none of",
    '"holds characters that do not belong into a URL"': "belong into",
    '"2 requests under way"': "under way",
    "# Nobody wants to wait.": "Nobody",
    '"the catalogue cannot be had"': "cannot be had",
    '"pay once, whoever calls"': "whoever",
    '"""The dearest tier."""': "dearest",
    '"download its url while it lives"': "while it lives",
    '"""What is left out is not looked at."""': "What is left out is",
    'def read():\n    """See `Sink`."""': "See `Sink`.",
    'def read():\n    """\n    See `RowWriter`. UTF-8.\n    """': "See `RowWriter`. UTF-8.",
    'class A:\n    """See also Sink."""': "See also Sink.",
}
GOOD = [
    '"""When the driver last called."""',
    '"""Look at the last 3 rows."""',
    '"nope is not a batch directory: it has no journal.db"',
    "# There is no lock, and there was no\n# other process.",
    '"the key is no longer valid"',
    '"the file is no larger than 3 bytes"',
    '"recommend a model; amend the changelog; a warfare scene"',
    '"""Tell what it is about; the rows now follow."""',
    '"""Return what is billed per image."""',
    '"this belongs in the header"',
    'def read():\n    """Return the row. See `Sink` for the bytes."""',
    'def read():\n    """See whether the file changed since."""',
    '"""A link: see https://nano-gpt.com."""',
    "anew = mend = nobody = 1",
]


@pytest.mark.parametrize(("source", "phrase"), BAD.items())
def test_translated_wording_is_found(source: str, phrase: str) -> None:
    """A phrase to reword is found in strings, f-strings, docstrings and comments, also across lines."""
    assert [finding.phrase for finding in findings(source)] == [phrase]


@pytest.mark.parametrize("source", GOOD)
def test_plain_wording_passes(source: str) -> None:
    """Idiomatic sentences pass, and names are not looked at."""
    assert findings(source) == []


def test_the_package_uses_plain_words() -> None:
    """No string, comment or docstring of the folders that were revised contains a phrase to reword."""
    found = [
        f"{path.relative_to(PACKAGE)}:{finding.line}: {finding.phrase!r}: {finding.advice}"
        for path in sorted(PACKAGE.rglob("*.py"))
        for finding in findings(path.read_text("utf-8"))
    ]
    assert not found, "\n".join(found)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_the_documentation_uses_plain_words(page: Path) -> None:
    """No page contains a phrase to reword outside its code."""
    found = [
        f"{page.relative_to(ROOT)}:{finding.line}: {finding.phrase!r}: {finding.advice}"
        for finding in findings_in_markdown(page.read_text("utf-8"))
    ]
    assert not found, "\n".join(found)


def test_prose_is_searched_and_code_is_not() -> None:
    """A phrase is found across lines of a paragraph, with its line; blocks and spans of code are left out."""
    page = "# Title\n\n`mend` is fine.\n\n```text\nmend\n```\n\nWhen it was called at\nlast, mend it.\n"
    found = findings_in_markdown(page)
    assert {(finding.line, finding.phrase) for finding in found} == {(9, "at last"), (9, "mend")}


def test_the_help_uses_plain_words() -> None:
    """Neither the overview nor the help of a verb contains a phrase to reword."""
    ctx = click.Context(cli, info_name=PROGRAM, **cli.context_settings)
    helps = {"": cli.get_help(ctx)}
    for verb in cli.list_commands(ctx):
        command = cli.get_command(ctx, verb)
        assert command is not None
        helps[verb] = command.get_help(click.Context(command, info_name=verb, parent=ctx))
    found = {verb: findings_in_markdown(text) for verb, text in helps.items()}
    assert {verb: phrases for verb, phrases in found.items() if phrases} == {}


def test_words_are_spelt_right() -> None:
    """Documentation, examples and package pass codespell."""
    done = subprocess.run(
        [sys.executable, "-m", "codespell_lib", *SPELT],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr


SPELT = (
    "--skip=*.svg,*.png,*.jsonl,*.css,*.js,__pycache__",
    # Misspelt on purpose, and the beginnings of words in regular expressions.
    "--ignore-words-list=resoluton,ure,reserv,iif",
    *(path.name for path in ROOT.glob("*.md")),
    "llms.txt",
    "docs",
    "examples",
    "nanogpt_images",
)
