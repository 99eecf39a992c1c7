"""Find wording in source code that reads as translated: in string literals, docstrings and comments."""

from __future__ import annotations

import ast
import io
import re
import tokenize
from collections.abc import Iterator
from typing import Final

import attrs

# Pattern → what to write instead.
PHRASES: Final = {
    r"at last(?! \d)": "last, or finally",
    r"anew": "again",
    r"whoever": "the process, caller or program that",
    r"mend(s|ed|ing)?": "fix",
    r"fares?": "behaves, or will fail again",
    r"of now": "current",
    r"(tell|tells|told) of": "report, describe",
    r"(be|is|are|was|were) told": "receive, are notified",
    r"such as it is": "unchanged",
    r"(?<!there )(is|are|was|were) no (?!longer\b|more\b|less\b|later\b|earlier\b|larger\b|smaller\b|fewer\b)": "is not a",
    r"is none of": "unknown …; the … are",
    r"belongs? into": "is allowed in, belongs in",
    r"under way": "in progress",
    r"nobody": "no one, or name the caller",
    r"(can|could)(not| not)? be had": "is not available",
    r"dearest": "most expensive",
    r"while it lives": "before it expires",
    r"wants? to know": "needs",
    r"what (is|was|are|were) (\w+ ){1,3}(is|was|are|were|stays?|goes|counts)": "name the subject",
    r"shown small": "as a thumbnail",
    r"(is|are|was|were) at work on": "processes",
}
_PATTERNS: Final = {
    re.compile(rf"\b{phrase}" + ("" if phrase.endswith(")") else r"\b"), re.IGNORECASE): advice
    for phrase, advice in PHRASES.items()
}
_REFERENCE: Final = re.compile(r"See (also )?`?[\w.]+`?(\.|$)")


@attrs.frozen
class Finding:
    """A phrase to reword: its line, the phrase, and what to write instead."""

    line: int
    phrase: str
    advice: str


def findings(source: str) -> list[Finding]:
    """Return the phrases to reword in Python *source*, in the order of their lines."""
    found = [
        Finding(line, match.group().strip(), advice)
        for line, text in _texts(source)
        for pattern, advice in _PATTERNS.items()
        for match in pattern.finditer(text)
    ]
    found += [
        Finding(line, text.splitlines()[0], "what the function does, verb first")
        for line, text in _docstrings(source)
        if _REFERENCE.match(text)
    ]
    return sorted(found, key=lambda finding: finding.line)


def findings_in_markdown(page: str) -> list[Finding]:
    """Return the phrases to reword in the prose of a Markdown *page*; blocks and spans of code are left out."""
    prose = re.sub(r"^```.*?^```|`[^`\n]+`", _lines_alone, page, flags=re.MULTILINE | re.DOTALL)
    found: list[Finding] = []
    for paragraph in re.finditer(r"\S.*?(?=\n\s*\n|\Z)", prose, re.DOTALL):
        text = " ".join(paragraph.group().split())
        line = 1 + prose.count("\n", 0, paragraph.start())
        for pattern, advice in _PATTERNS.items():
            found += [Finding(line, match.group().strip(), advice) for match in pattern.finditer(text)]
    return found


def _lines_alone(code: re.Match[str]) -> str:
    return "\n" * code[0].count("\n") or "code"


def _texts(source: str) -> Iterator[tuple[int, str]]:
    """Yield the line and the text of each string and of each block of comments, on one line."""
    tree = ast.parse(source)
    inner = {id(part) for node in ast.walk(tree) if isinstance(node, ast.JoinedStr) for part in node.values}
    for node in ast.walk(tree):
        if isinstance(node, ast.JoinedStr):
            parts = [part.value if isinstance(part, ast.Constant) else "{}" for part in node.values]
            yield node.lineno, " ".join("".join(map(str, parts)).split())
        elif isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in inner:
            yield node.lineno, " ".join(node.value.split())
    yield from _comments(source)


def _comments(source: str) -> Iterator[tuple[int, str]]:
    """Yield each block of comments; comments on consecutive lines form one block."""
    first, last, words = 0, 0, list[str]()
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type != tokenize.COMMENT:
            continue
        line = token.start[0]
        if words and line != last + 1:
            yield first, " ".join(words)
            words = []
        first, last = (first if words else line), line
        words += token.string.lstrip("#").split()
    if words:
        yield first, " ".join(words)


def _docstrings(source: str) -> Iterator[tuple[int, str]]:
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            text = ast.get_docstring(node)
            if text is not None:
                yield node.body[0].lineno, text
