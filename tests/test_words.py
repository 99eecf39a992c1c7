"""The words in the code: plain, idiomatic English in every docstring, comment, log line and error text."""

from __future__ import annotations

from pathlib import Path

import pytest
from words import findings

import nanogpt_images

PACKAGE = Path(nanogpt_images.__file__).parent
NOT_READ = {
    "_base",
    "batch",
    "cli",
    "client.py",
    "distributed",
    "errors.py",
    "events.py",
    "integrations/ray",
    "money",
    "resources",
    "sync",
    "transport",
    "types",
    "wire",
}
"""Folders and modules whose words have not been revised yet."""

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
        if not any(path.is_relative_to(PACKAGE / name) for name in NOT_READ)
        for finding in findings(path.read_text("utf-8"))
    ]
    assert not found, "\n".join(found)
