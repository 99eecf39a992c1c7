"""Gaps of prompts."""

from pathlib import Path

import pytest

from nanogpt_images.batch.manifest.templates import Templates
from nanogpt_images.errors import ManifestError

COLUMNS = {"animal": "fox", "count": 3, "art style": "oil"}


@pytest.mark.parametrize(
    ("prompt", "filled"),
    [
        ("a {animal}", "a fox"),
        ("{ Animal }s, {count} of them, in {Art Style}", "foxs, 3 of them, in oil"),
        ("{{masterpiece}}, {{a|b}}", "{{masterpiece}}, {{a|b}}"),
        ('{"subject": "fox", "size": {"w": 1}}', '{"subject": "fox", "size": {"w": 1}}'),
        ("a { and a }", "a { and a }"),
        ("snake__case__name and {}", "snake__case__name and {}"),
        ("{{animal} x|y}", None),
        ("{a|a}", "a"),
        ("{the {animal}|the {animal}}", "the fox"),
    ],
)
def test_gaps_are_filled_and_text_is_left(tmp_path: Path, prompt: str, filled: str | None) -> None:
    """Columns match in any case; what is in doubled braces, or no gap at all, is text."""
    found = Templates(directory=tmp_path).fill(prompt, COLUMNS, number=1)
    assert found in ((filled,) if filled is not None else ("fox x", "y"))


def test_the_seed_and_the_row_decide(tmp_path: Path) -> None:
    """Wildcards are the same for the same seed and row, and differ between rows and between places of one prompt."""
    (tmp_path / "animals.txt").write_text("\ufeff# comment\nfox\n\nowl\nhare\n", "utf-8")
    (tmp_path / "art").mkdir()
    (tmp_path / "art" / "styles.txt").write_text("oil\nink\n")
    prompt = "{big|small|old} __animals__ in __art/styles__, {big|small|old}"

    def made(seed: int) -> list[str]:
        templates = Templates(directory=tmp_path, seed=seed)
        return [templates.fill(prompt, {}, number=number) for number in range(1, 40)]

    assert made(1) == made(1) != made(2)
    assert len(set(made(1))) > 20
    assert {word for text in made(1) for word in ("fox", "owl", "hare") if word in text} == {
        "fox",
        "owl",
        "hare",
    }
    assert any(text.split()[0] != text.split()[-1] for text in made(1))


@pytest.mark.parametrize(
    ("prompt", "text"),
    [
        ("a {colour}", "names a column 'colour', and the row's columns are animal, art style, count"),
        ("a __none__", "there is no file"),
        ("a __../secret__", "outside the directory"),
        ("a __link__", "outside the directory"),
        ("a __empty__", "holds no lines"),
        ("a __folder__", "cannot be read"),
        ("a __binary__", "cannot be read"),
    ],
)
def test_a_gap_that_nothing_fills_is_refused(tmp_path: Path, prompt: str, text: str) -> None:
    """An unknown column, or a file that is not there or not beside the manifest, is an error and not a prompt."""
    directory = tmp_path / "job"
    directory.mkdir()
    (tmp_path / "secret.txt").write_text("key\n")
    (directory / "link.txt").symlink_to(tmp_path / "secret.txt")
    (directory / "empty.txt").write_text("# nothing\n")
    (directory / "folder.txt").mkdir()
    (directory / "binary.txt").write_bytes(b"\xff")
    with pytest.raises(ManifestError, match=text):
        Templates(directory=directory).fill(prompt, COLUMNS, number=1)


def test_values_are_not_templates_themselves(tmp_path: Path) -> None:
    """What a cell holds goes in as it is."""
    columns = {"animal": "{a|b} __x__ {animal}"}
    assert Templates(directory=tmp_path).fill("{animal}", columns, number=1) == columns["animal"]


def test_columns_only(tmp_path: Path) -> None:
    """Where only columns are wanted, everything else is text."""
    templates = Templates(directory=tmp_path, columns_only=True)
    assert templates.fill("{animal} {x} {a|b} __x__", COLUMNS, number=1) == "fox {x} {a|b} __x__"
