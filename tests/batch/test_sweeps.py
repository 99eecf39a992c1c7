"""One row for every combination of values."""

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nanogpt_images import estimate, read_manifest, sweep
from nanogpt_images.batch.rows import BatchRow
from nanogpt_images.batch.sweeps import Sweep, rows_of
from nanogpt_images.errors import ManifestError
from nanogpt_images.types.model import Model

AXES: dict[str, object] = {
    "model": ["hidream", "acme/pixel-9"],
    "resolution": ["1024x1024", "1536*1024", "512x512"],
    "seed": "1..8",
}
MODELS = [Model(id=name) for name in ("hidream", "acme/pixel-9")]


def test_the_three_ways_make_the_same_rows(tmp_path: Path) -> None:
    """48 combinations by an option, by a row of a manifest and in Python: the same keys, requests and plan."""
    (tmp_path / "own.jsonl").write_text(json.dumps({"prompt": "a red fox", "sweep": AXES}))
    (tmp_path / "plain.txt").write_text("a red fox\n")
    by_row = list(read_manifest(tmp_path / "own.jsonl"))
    by_option = list(read_manifest(tmp_path / "plain.txt", sweep=AXES))
    in_python = [BatchRow.of(row) for row in sweep("a red fox", **AXES)]
    assert by_row == by_option == in_python
    assert len({row.key for row in by_row}) == len({row.digest for row in by_row}) == 48
    assert {row.number for row in by_row} == {1}
    assert by_row[0].key == "a-red-fox-e6d732df_model-hidream_resolution-1024x1024_seed-1"
    plans = [estimate(rows, MODELS, assume_price_usd=0.01) for rows in (by_row, by_option, in_python)]
    assert [(plan.rows, plan.requests, plan.cost_usd) for plan in plans] == [(48, 48, 0.48)] * 3
    assert estimate([{"prompt": "a red fox", "sweep": AXES}], MODELS, assume_price_usd=0.01) == plans[0]


def test_keys_do_not_depend_on_the_order_of_axes() -> None:
    """The same combinations have the same keys, however they are written down."""
    turned = dict(reversed(AXES.items()))
    assert {row["key"] for row in sweep("a", **AXES)} == {row["key"] for row in sweep("a", **turned)}


def test_pairs() -> None:
    """With `zip` the first values go together, the second ones, and so on; a single value goes with all."""
    rows = sweep("a", zip=True, resolution=["1k", "2k"], seed=range(1, 3), quality=["low"])
    assert [(row["resolution"], row["seed"], row["quality"]) for row in rows] == [
        ("1k", 1, "low"),
        ("2k", 2, "low"),
    ]
    (row,) = rows_of({"prompt": "a", "sweep": {"seed": [5], "quality": ["low"], "zip": True}}, model="m")
    assert row.parameters == {"seed": 5, "quality": "low"}


def test_gaps_of_a_prompt_are_swept_too() -> None:
    """A column that the prompt names is filled in and kept as metadata; any other is a parameter for the service."""
    rows = [BatchRow.of(row, model="m") for row in sweep("a {Animal}", animal=["fox", "owl"], style=["oil"])]
    assert [(row.prompt, row.metadata, row.parameters) for row in rows] == [
        ("a fox", {"animal": "fox"}, {"style": "oil"}),
        ("a owl", {"animal": "owl"}, {"style": "oil"}),
    ]


def test_rows_keep_what_they_have(tmp_path: Path) -> None:
    """A sweep of the whole manifest fills gaps, as all options do; keys of the rows begin those of combinations."""
    path = tmp_path / "m.jsonl"
    path.write_text(
        '{"prompt": "a", "key": "k", "seed": 9}\n{"prompt": "b", "Note": "x", "parameters": {"style": 1}}\n'
    )
    rows = list(read_manifest(path, model="m", sweep={"seed": [1, 2], "quality": ["low"]}))
    assert [(row.key, row.parameters["seed"], row.number) for row in rows] == [
        ("k_quality-low", 9, 1),
        (rows[1].key, 1, 2),
        (rows[2].key, 2, 2),
    ]
    assert rows[1].metadata == {"Note": "x"}
    assert rows[1].parameters["style"] == 1
    assert rows[1].combination == "seed=1, quality=low"


def test_fixed_values_and_several_rows() -> None:
    """A value that is no list is the same for all; rows may be prompts, mappings and `BatchRow`s."""
    rows = sweep(["a", {"prompt": "b", "Note": "x"}, BatchRow("c", "own", key="k")], count=2, seed=[1, 2])
    assert len(rows) == 6
    made = [BatchRow.of(row, model="m") for row in rows]
    assert {row.count for row in made} == {2}
    assert (made[3].metadata, made[5].key, made[5].model) == ({"Note": "x"}, "k_seed-2", "own")
    assert [row["prompt"] for row in sweep(prompt=["a", "b"])] == ["a", "b"]


@pytest.mark.parametrize(
    ("values", "text"),
    [
        ({}, "sweep is empty"),
        ({"seed": []}, "no values for 'seed'"),
        ({"seed": ["", 1]}, "no values for 'seed'"),
        ({"seed": [1, 2, 1]}, "1 twice for 'seed'"),
        ({"seed": "1..100000", "n": "1..10000"}, "1,000,000,000 combinations"),
        ({"seed": "1..999999999999999"}, "999,999,999,999,999 combinations"),
        ({"parameters": [{}]}, "parameters cannot be swept"),
        ({"resoluton": ["1k"]}, "did you mean 'resolution'"),
        ({"": [1]}, "named parameter"),
    ],
)
def test_a_sweep_that_makes_no_sense_is_refused(values: dict[str, object], text: str) -> None:
    """The reason is named, with the number where there are too many."""
    with pytest.raises(ManifestError, match=text):
        Sweep.of(values)


@pytest.mark.parametrize(
    ("row", "text"),
    [
        ({"prompt": "a", "seed": 1, "sweep": {"Seed": [1, 2]}}, "its sweep too"),
        ({"prompt": "a", "sweep": "seed"}, "must be an object"),
        (
            {"prompt": "a", "sweep": {"seed": [1, 2, 3], "quality": ["low", "high"], "zip": True}},
            "of one length",
        ),
    ],
)
def test_a_row_with_a_wrong_sweep_is_refused(row: dict[str, object], text: str) -> None:
    """The error names the line."""
    with pytest.raises(ManifestError, match=f"^line 3: .*{text}"):
        list(rows_of(row, model="m", line=3))


@given(st.lists(st.text(min_size=1, max_size=60).filter(str.strip), min_size=1, max_size=6, unique=True))
def test_labels_tell_values_apart(values: list[str]) -> None:
    """However strange the values, each combination has a key of its own."""
    values = [value for value in values if value.isprintable()] or ["a"]
    keys = {str(row["key"]) for row in sweep("a", user=values)}
    assert len(keys) == len({value.replace("*", "x").replace(":", "x") for value in values})
