"""Rows of a batch."""

import pickle
from decimal import Decimal
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nanogpt_images.batch.manifest.fields import MAX_COUNT
from nanogpt_images.batch.rows import BatchRow, refuse_one_row
from nanogpt_images.errors import ManifestError, ParameterError

JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**60), 2**60)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.text(min_size=1).filter(str.strip), inner, max_size=3)
    ),
    max_leaves=6,
)
FOX = {"prompt": "a red fox", "model": "hidream"}


def test_a_mapping_holds_parameters_beside_the_fields() -> None:
    """Keys that are no field become parameters, and None is left out."""
    row = BatchRow.of({**FOX, "count": 3, "key": "fox", "resolution": "1024x1024", "seed": None})
    assert row == BatchRow("a red fox", "hidream", count=3, key="fox", resolution="1024x1024")
    assert row.parameters == {"resolution": "1024x1024"}


def test_nested_parameters_are_merged() -> None:
    """`parameters` adds to the parameters beside it."""
    row = BatchRow.of({**FOX, "quality": "high", "parameters": {"seed": 7, "quality": "high"}})
    assert row.parameters == {"quality": "high", "seed": 7}


def test_a_row_wins_over_model_and_defaults() -> None:
    """The model and the defaults given for all rows fill only what a row lacks."""
    defaults = {"count": 2, "seed": 1, "quality": "low", "route": "openai"}
    row = BatchRow.of({"prompt": "a", "model": "own", "seed": 5}, model="other", defaults=defaults)
    assert row == BatchRow("a", "own", count=2, route="openai", seed=5, quality="low")
    assert BatchRow.of({"prompt": "a"}, model="other").model == "other"


def test_a_ready_row_takes_only_parameters_from_the_defaults() -> None:
    """A BatchRow keeps its count and route, lacks no model, and is filled with missing parameters."""
    made = BatchRow.of(
        BatchRow("a", "m", seed=5), model="other", defaults={"count": 9, "seed": 1, "quality": "low"}
    )
    assert made == BatchRow("a", "m", seed=5, quality="low")


def test_a_row_without_anything_to_fill_is_handed_on() -> None:
    """A BatchRow that needs nothing is the same object afterwards, whatever line is named."""
    row = BatchRow("a", "m")
    assert BatchRow.of(row, line=3) is row


@pytest.mark.parametrize("count", [4, "4", " 4 ", 4.0])
def test_a_count_may_be_text(count: object) -> None:
    """Digits, as a table holds them, are a count."""
    assert BatchRow.of({**FOX, "count": count}).count == 4


def test_n_means_count() -> None:
    """`n` of a row is the number of images wanted, and no parameter."""
    row = BatchRow.of({**FOX, "n": 4}, defaults={"count": 2})
    assert row.count == 4
    assert "n" not in row.parameters
    assert BatchRow("a", "m", n=4).count == 4


def test_a_number_may_be_a_key() -> None:
    """IDs are often numbers; an empty key is none."""
    assert BatchRow.of({**FOX, "key": 17}).key == "17"
    assert BatchRow.of({**FOX, "key": ""}).key is None


def test_a_path_becomes_text() -> None:
    """A path among the parameters is kept as text, a tuple as a list."""
    row = BatchRow("a", "m", input_references=(Path("in") / "fox.png",))
    assert row.parameters == {"input_references": [str(Path("in") / "fox.png")]}


@pytest.mark.parametrize(
    ("fields", "named"),
    [
        ({"model": "m"}, "no prompt"),
        ({"prompt": None, "model": "m"}, "no prompt"),
        ({"prompt": " \n", "model": "m"}, "prompt is empty"),
        ({"prompt": 5, "model": "m"}, "prompt must be text"),
        ({"prompt": "a"}, "no model"),
        ({"prompt": "a", "model": ""}, "model is empty"),
        ({**FOX, "count": 0}, "count"),
        ({**FOX, "count": -1}, "count"),
        ({**FOX, "count": True}, "count"),
        ({**FOX, "count": 1.5}, "count"),
        ({**FOX, "count": "many"}, "count"),
        ({**FOX, "count": MAX_COUNT + 1}, "count"),
        ({**FOX, "count": 3, "n": 4}, "contradict"),
        ({**FOX, "nImages": 4}, "use count"),
        ({**FOX, "route": "video"}, "route"),
        ({**FOX, "key": 1.5}, "key"),
        ({**FOX, "image": b"\x89PNG"}, "image must be a JSON value"),
        ({**FOX, "strength": float("nan")}, "strength"),
        ({**FOX, "parameters": [1]}, "parameters must be an object"),
        ({**FOX, "parameters": {"prompt": "b"}}, "prompt is a field"),
        ({**FOX, "seed": 1, "parameters": {"seed": 2}}, "seed is given twice"),
        ({**FOX, 5: 1}, "parameter's name"),
        ({**FOX, "style": "\ud800"}, "surrogate"),
        ({**FOX, "resoluton": "1024x1024"}, "did you mean 'resolution'"),
        ({**FOX, "Promt": "b"}, "did you mean 'prompt'"),
        ({**FOX, "Prompt": "b"}, "two columns 'prompt'"),
        ({**FOX, "sweep": {"seed": [1]}}, "sweep"),
        ({"prompt": "\udfff", "model": "m"}, "surrogate"),
    ],
)
def test_a_wrong_row_is_refused_by_line_and_field(fields: dict[str, object], named: str) -> None:
    """The error names the line and the field, and says that nothing was sent."""
    with pytest.raises(ManifestError, match=named) as caught:
        BatchRow.of(fields, line=12)
    assert caught.value.line == 12
    assert str(caught.value).startswith("line 12: ")
    assert str(caught.value).endswith("Nothing was sent.")


def test_a_row_without_a_line_is_shown() -> None:
    """A wrong row that comes from no file is named by what it holds."""
    with pytest.raises(ManifestError, match=r"^row \{'model': 'm7'\}: there is no prompt"):
        BatchRow.of({"model": "m7"})


def test_endless_parameters_are_refused() -> None:
    """A parameter that holds itself ends in an error, not in a crash."""
    loop: list[object] = []
    loop.append(loop)
    with pytest.raises(ManifestError, match="nested deeper"):
        BatchRow("a", "m", loop=loop)


def test_a_parameter_may_have_any_name() -> None:
    """A parameter called like an argument of Python's own does no harm."""
    parameters = {"self": 1, "cls": 2, "line": 3, "metadata": 4, "number": 5}
    row = BatchRow.of({**FOX, "parameters": parameters})
    assert (row.parameters, row.metadata) == (parameters, {})
    assert BatchRow.from_json(row.to_json()) == row


@given(
    st.dictionaries(st.sampled_from("abcde"), JSON),
    st.integers(1, 9),
    st.none() | st.text(min_size=1).filter(str.strip),
)
def test_a_row_survives_json_and_pickle(parameters: dict[str, object], count: int, key: str | None) -> None:
    """A row that went through its JSON text, or through pickle, is equal and has the same digest and hash."""
    row = BatchRow("a red fox", "m", count=count, key=key, **parameters)
    for again in (BatchRow.from_json(row.to_json()), pickle.loads(pickle.dumps(row))):
        assert again == row
        assert (again.digest, hash(again)) == (row.digest, hash(row))


@pytest.mark.parametrize("text", ["", "[]", '{"prompt": "a"}', "\x00"])
def test_what_is_no_stored_row_is_refused(text: str) -> None:
    """JSON text that `to_json` did not write raises a ManifestError."""
    with pytest.raises(ManifestError):
        BatchRow.from_json(text)


def test_the_digest_stands_for_the_content() -> None:
    """Count, line and the order of parameters do not change the digest; everything else does."""
    base = BatchRow("a", "m", seed=1, quality="low")
    same = [
        BatchRow("a", "m", count=9, quality="low", seed=1),
        BatchRow.of({"prompt": "a", "model": "m", "seed": 1, "quality": "low"}, line=3),
    ]
    others = [
        BatchRow("b", "m", seed=1, quality="low"),
        BatchRow("a", "n", seed=1, quality="low"),
        BatchRow("a", "m", key="k", seed=1, quality="low"),
        BatchRow("a", "m", route="openai", seed=1, quality="low"),
        BatchRow("a", "m", seed=2, quality="low"),
        BatchRow("a", "m", seed="1", quality="low"),
    ]
    assert {row.digest for row in same} == {base.digest}
    assert len({row.digest for row in [base, *others]}) == 7


def test_files_are_named_by_the_key_or_the_prompt() -> None:
    """The key names a row's files; without one, the prompt's words and part of the digest do."""
    row = BatchRow("A red fox", "m")
    assert BatchRow("A red fox", "m", key="fox").base_name == "fox"
    assert row.base_name == f"a-red-fox-{row.digest[:8]}"


def test_a_line_does_not_tell_rows_apart() -> None:
    """Two rows that stand in different lines are equal, and both know their line."""
    one, other = (BatchRow.of(FOX, line=line) for line in (1, 2))
    assert one == other
    assert (one.line, other.line) == (1, 2)


def test_what_is_no_parameter_is_metadata() -> None:
    """Columns of other names stay with the row, and neither tell rows apart nor are sent."""
    row = BatchRow.of({**FOX, "Category": "Animals", "Seed": 7.0, "note": float("nan")}, number=4)
    assert (row.parameters, row.metadata, row.number) == ({"seed": 7}, {"Category": "Animals"}, 4)
    assert row.digest == BatchRow.of({**FOX, "seed": 7}).digest
    again = BatchRow.from_json(row.to_json())
    assert (again, again.number) == (row, 4)


def test_metadata_may_be_given_as_such() -> None:
    """Under `metadata` any name is fine, also that of a parameter."""
    row = BatchRow.of({**FOX, "metadata": {"seed": 1, "resoluton": "x"}, "Category": "A"})
    assert row.metadata == {"seed": 1, "resoluton": "x", "Category": "A"}
    assert row.columns == ("Category",)
    assert BatchRow("a", "m", metadata={"b": 1}).metadata == {"b": 1}


@pytest.mark.parametrize("missing", [None, float("nan"), pd.NA, pd.NaT])
def test_values_of_data_frames_become_json(missing: object) -> None:
    """Numbers of numpy, dates and decimals are converted, and missing values are left out."""
    given = {"seed": np.int64(3), "n": np.float64(2), "key": 17.0, "when": pd.Timestamp("2026-01-02")}
    row = BatchRow.of({**FOX, **given, "price": Decimal("1.5"), "gone": missing})
    assert (row.parameters, row.count, row.key) == ({"seed": 3}, 2, "17")
    assert row.metadata == {"when": "2026-01-02T00:00:00", "price": 1.5}
    assert type(row.parameters["seed"]) is int


@pytest.mark.parametrize("rows", ["a prompt", b"x", FOX, BatchRow("a", "m"), 5, object()])
def test_one_row_is_no_collection_of_rows(rows: object) -> None:
    """A single row, or anything that holds none, is refused."""
    with pytest.raises(ParameterError, match="rows must be an iterable of rows"):
        refuse_one_row(rows)
