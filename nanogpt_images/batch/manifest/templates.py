"""
Prompts with gaps: `{column}` takes a cell of the row, `{a|b|c}` one of its parts, `__file__` a line of a file.

What stands in doubled braces is text, and so is anything in braces that is neither.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Collection, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Final

import attrs

from ...errors import ManifestError

_NAME: Final = re.compile(r"\w[\w-]*")
_FILE: Final = re.compile(r"(?<!\w)__([\w./\\-]+?)__(?!\w)")
_MOST_BYTES: Final = 10_000_000


@attrs.frozen(kw_only=True)
class Templates:
    """
    Fills the gaps of prompts.

    Attributes:
        directory: Holds the files of wildcards, `__animals__` is a line of `animals.txt`.
        seed: Decides, with a row's number, what wildcards become; the same seed makes the same prompts.
        columns_only: Fill only the gaps that name a column of the row; everything else is text.
    """

    directory: Path
    seed: int = 0
    columns_only: bool = False
    _files: dict[str, tuple[str, ...]] = attrs.field(factory=dict[str, tuple[str, ...]], eq=False, repr=False)

    def fill(
        self, prompt: str, columns: Mapping[str, object], *, number: int, later: Collection[str] = ()
    ) -> str:
        """
        Fill the gaps of *prompt*.

        Args:
            prompt: The template.
            columns: What the row came with, by name in lower case.
            number: The row's place in the manifest.
            later: Columns whose gaps stay.

        Raises:
            ManifestError: It names a column that the row does not have, or a file that is not there.
        """
        if "{" not in prompt and "__" not in prompt:
            return prompt
        return _Filling(self, columns, number, later).text(prompt)

    def lines(self, name: str) -> Sequence[str]:
        """
        Read the lines of a wildcard's file that are neither blank nor comments.

        Raises:
            ManifestError: It is not there, empty, too large, or outside the directory.
        """
        if name not in self._files:
            self._files[name] = self._read(name)
        return self._files[name]

    @cached_property
    def _root(self) -> Path:
        return self.directory.resolve()

    def _read(self, name: str) -> tuple[str, ...]:
        def fault(what: str) -> ManifestError:
            return ManifestError(f"wildcard __{name}__: {what}.")

        path = (self.directory / f"{name}.txt").resolve()
        if not path.is_relative_to(self._root):
            raise fault("its file is outside the directory of the manifest")
        try:
            if path.stat().st_size > _MOST_BYTES:
                raise fault(f"{path} is larger than {_MOST_BYTES:,} bytes")
            text = path.read_text("utf-8-sig")
        except FileNotFoundError:
            raise fault(
                f"there is no file {path}; make it, or pass --no-templates (templates=False) to send such text as it is"
            ) from None
        except (OSError, UnicodeDecodeError) as error:
            raise fault(f"{path} cannot be read ({error})") from None
        lines = tuple(line.strip() for line in text.splitlines())
        found = tuple(line for line in lines if line and not line.startswith("#"))
        if not found:
            raise fault(f"{path} holds no lines")
        return found


class _Filling:
    """One prompt; the order of its choices distinguishes them."""

    def __init__(
        self, templates: Templates, columns: Mapping[str, object], number: int, later: Collection[str]
    ) -> None:
        self._templates = templates
        self._columns = columns
        self._number = number
        self._later = later
        self._choices = 0

    def text(self, text: str) -> str:
        """Fill all gaps of *text*."""
        parts: list[str] = []
        place = 0
        while (start := text.find("{", place)) >= 0:
            parts.append(self._wild(text[place:start]))
            end = _closing(text, start)
            if end is None:
                parts.append("{")
                place = start + 1
            elif text.startswith("{{", start) and text[end - 1] == "}":
                parts.append(text[start : end + 1])
                place = end + 1
            else:
                parts.append(self._gap(text[start + 1 : end]))
                place = end + 1
        return "".join(parts) + self._wild(text[place:])

    def _gap(self, inside: str) -> str:
        name = inside.strip().lower()
        choices = _alternatives(inside)
        if len(choices) > 1 and not self._templates.columns_only:
            return self.text(self._choose(choices))
        if name in self._later:
            return f"{{{inside}}}"
        if name in self._columns:
            return str(self._columns[name])
        if _NAME.fullmatch(inside.strip()) and not self._templates.columns_only:
            there = ", ".join(sorted(self._columns)) or "none"
            raise ManifestError(
                f"the prompt names a column {inside.strip()!r}, and the row's columns are {there}. Correct it, or pass "
                "--no-templates (templates=False) to send prompts as they are."
            )
        return f"{{{self.text(inside)}}}"

    def _wild(self, text: str) -> str:
        if "__" not in text or self._templates.columns_only:
            return text
        return _FILE.sub(lambda found: self._choose(self._templates.lines(found[1])), text)

    def _choose(self, choices: Sequence[str]) -> str:
        self._choices += 1
        what = f"{self._templates.seed}/{self._number}/{self._choices}"
        return choices[int(hashlib.sha256(what.encode()).hexdigest()[:12], 16) % len(choices)]


def _closing(text: str, start: int) -> int | None:
    """Find the brace that closes the one at *start*."""
    depth = 0
    for found in re.compile(r"[{}]").finditer(text, start):
        depth += 1 if found[0] == "{" else -1
        if depth == 0:
            return found.start()
    return None


def _alternatives(inside: str) -> list[str]:
    """Split at the bars that are in no braces of their own."""
    parts, depth = [""], 0
    for character in inside:
        depth += (character == "{") - (character == "}")
        if character == "|" and depth == 0:
            parts.append("")
        else:
            parts[-1] += character
    return parts
