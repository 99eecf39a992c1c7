"""Columns that the row's model lists."""

import pytest

from nanogpt_images import estimate
from nanogpt_images.batch.planning.listed import with_listed
from nanogpt_images.batch.rows import BatchRow
from nanogpt_images.errors import ManifestError
from nanogpt_images.types.model import Model
from nanogpt_images.types.parameters import BooleanSpec, EnumSpec, RangeSpec

MODEL = Model(
    id="m",
    parameters={"style": EnumSpec(("oil", "ink")), "cfg_scale": RangeSpec(0, 9), "upscale": BooleanSpec()},
)


def test_a_listed_column_is_a_parameter() -> None:
    """Whatever the case of its name, and read as what the parameter is; the rest stays metadata."""
    columns = {"prompt": "a", "Style": "oil", "CFG_Scale": "7.5", "upscale": "yes", "Category": "x"}
    row = with_listed(BatchRow.of(columns, model="m"), MODEL)
    assert row.parameters == {"style": "oil", "cfg_scale": 7.5, "upscale": True}
    assert (row.metadata, row.columns) == ({"Category": "x"}, ())
    assert with_listed(row, MODEL) is row


def test_metadata_by_name_stays_metadata() -> None:
    """What the caller called metadata is not looked at."""
    row = BatchRow.of({"prompt": "a", "metadata": {"style": "oil", "stile": "x"}}, model="m")
    assert with_listed(row, MODEL) == row


def test_a_slip_of_a_listed_name_is_a_problem() -> None:
    """In the plan as well, with its line; the same holds for names under `parameters`."""
    row = BatchRow.of({"prompt": "a", "cfg_scal": 7}, model="m", line=3)
    with pytest.raises(ManifestError, match="m has a parameter 'cfg_scale'") as caught:
        with_listed(row, MODEL)
    assert caught.value.line == 3
    nested = {"prompt": "a", "parameters": {"cfg_scal": 7}}
    plan = estimate(
        [row, nested, {"prompt": "a", "resoluton": "1k"}, {"prompt": "a", "style": "wood"}],
        [MODEL],
        model="m",
    )
    assert plan.problem_count == 4
    texts = ("'cfg_scale'", "'cfg_scale'", "'resolution'", "it offers oil, ink")
    assert all(text in problem.message for text, problem in zip(texts, plan.problems, strict=True))
