"""Some rows of a manifest."""

from pathlib import Path

import pytest

from nanogpt_images import read_manifest
from nanogpt_images.batch.manifest.reader import ManifestRows, ReadOptions
from nanogpt_images.errors import ManifestError


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "m.csv"
    lines = [
        f"prompt {number},{'Animals' if number % 3 else 'Food'},{number % 2}" for number in range(1, 101)
    ]
    path.write_text("\n".join(["prompt,Category,seed", *lines]))
    return path


def numbers(path: Path, **options) -> list[int | None]:
    return [row.number for row in read_manifest(path, model="m", **options)]


def test_the_first_rows(path: Path) -> None:
    """A limit takes rows from the beginning."""
    assert numbers(path, limit=3) == [1, 2, 3]
    assert numbers(path, limit=1_000) == list(range(1, 101))


def test_a_sample(path: Path) -> None:
    """A sample is decided by its seed, spread over the file, in order, and keeps the numbers of the manifest."""
    one = numbers(path, sample=10, seed=1)
    assert one == numbers(path, sample=10, seed=1) == sorted(one)
    assert one != numbers(path, sample=10, seed=2)
    assert len(set(one)) == 10
    seen = {number for seed in range(60) for number in numbers(path, sample=10, seed=seed)}
    assert len(seen) > 95
    assert numbers(path, sample=500) == list(range(1, 101))


def test_conditions(path: Path) -> None:
    """All conditions must hold; columns match in any case, values as text."""
    assert numbers(path, where=["category=Food"]) == list(range(3, 100, 3))
    assert numbers(path, where=["Category=Food", "seed=1"], limit=2) == [3, 9]
    assert numbers(path, where=["prompt=prompt 7"]) == [7]


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"where": ["Category"]}, "not COLUMN=VALUE"),
        ({"where": ["Categorie=Food"]}, "no row of .* has a column 'Categorie'; .* Category"),
        ({"where": ["Category=Cars"]}, "holds no rows where Category=Cars"),
        ({"limit": 0}, "limit must be at least 1"),
        ({"sample": 0}, "sample must be at least 1"),
        ({"sample": 2_000_000}, "at most 1,000,000"),
        ({"sample": 2, "limit": 2}, "exclude each other"),
    ],
)
def test_what_cannot_be_taken_is_refused(path: Path, options: dict[str, object], text: str) -> None:
    """The reason is named."""
    with pytest.raises(ManifestError, match=text):
        numbers(path, **options)


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"limit": 7},
        {"sample": 7},
        {"where": ["Category=Food"]},
        {"sweep": {"seed": [1, 2]}},
        {"sweep": {"quality": ["a", "b"]}, "limit": 7},
    ],
)
def test_rows_are_counted_as_they_are_read(path: Path, options: dict[str, object]) -> None:
    """The journal's number of rows is that of the rows that will come, also with a sweep and with conditions."""
    rows = ManifestRows(path, ReadOptions(model="m", **options))
    assert rows.count() == len(list(rows))


def test_a_sweep_of_a_whole_manifest_is_limited(path: Path) -> None:
    """More rows than any job has are refused with their number."""
    with pytest.raises(ManifestError, match="100,000,000 rows"):
        numbers(path, sweep={"n": "1..1000000"})
