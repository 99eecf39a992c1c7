"""What a batch will do and cost."""

import json
import tracemalloc
from functools import reduce
from operator import add
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nanogpt_images.batch.manifest.reader import scan_manifest
from nanogpt_images.batch.planning.estimate import MAX_PROBLEMS, estimate
from nanogpt_images.batch.planning.totals import Estimate
from nanogpt_images.batch.rows import BatchRow
from nanogpt_images.errors import ManifestError, ParameterError
from nanogpt_images.types.model import Model
from nanogpt_images.types.parameters import CountRule, EnumSpec, split_count
from nanogpt_images.types.prices import PriceTable

RANGED = Model(id="ranged", count_rule=CountRule(1, 4), prices=PriceTable({"1024x1024": 0.02, "2k": 0.1}))
FIXED = Model(id="fixed", count_rule=CountRule(fixed=4), prices=PriceTable(flat_usd=0.01))
UNPRICED = Model(id="unpriced")
MODELS = (RANGED, FIXED, UNPRICED)


def test_rows_become_requests_images_and_money() -> None:
    """Ten images of a ranged model are three requests; of a model that always makes four, three with two to spare."""
    plan = estimate(
        [
            BatchRow("a", "ranged", count=10, resolution="1024x1024"),
            {"prompt": "b", "model": "fixed", "count": 10},
        ],
        MODELS,
    )
    assert (plan.rows, plan.requests, plan.images, plan.surplus_images) == (2, 6, 22, 2)
    assert plan.cost_usd == plan.cost_low_usd == plan.cost_high_usd == pytest.approx(0.32)
    assert (plan.unpriced_requests, plan.problem_count) == (0, 0)
    ranged, fixed = plan.per_model["ranged"], plan.per_model["fixed"]
    assert (ranged.rows, ranged.requests, ranged.images, ranged.surplus_images) == (1, 3, 10, 0)
    assert (fixed.rows, fixed.requests, fixed.images, fixed.surplus_images) == (1, 3, 12, 2)
    assert (ranged.cost_usd, fixed.cost_usd) == (0.2, 0.12)


def test_money_adds_up_exactly() -> None:
    """A hundred thousand small prices make the exact sum, which floats would not."""
    model = Model(id="m", prices=PriceTable(flat_usd=0.00001))
    plan = estimate((BatchRow("a", "m") for _ in range(10_000)), [model])
    assert plan.cost_usd == 0.1
    assert reduce(add, [0.00001] * 10_000) != 0.1  # sum() is compensated from Python 3.12 on


def test_an_open_resolution_gives_a_range() -> None:
    """Without a stated resolution the cost runs from the cheapest to the dearest."""
    plan = estimate([BatchRow("a", "ranged", count=2)], MODELS)
    assert (plan.cost_low_usd, plan.cost_usd, plan.cost_high_usd) == (0.04, 0.2, 0.2)


def test_requests_without_a_price_are_counted() -> None:
    """They are in no cost, unless a price is assumed."""
    rows = [BatchRow("a", "unpriced", count=3)]
    plan = estimate(rows, MODELS)
    assert (plan.requests, plan.unpriced_requests, plan.cost_high_usd) == (3, 3, 0)
    assumed = estimate(rows, MODELS, assume_price_usd=0.5)
    assert (assumed.unpriced_requests, assumed.cost_usd) == (0, 1.5)


def test_an_unknown_model_is_a_problem_that_names_near_ones() -> None:
    """The row counts, makes no request, and its problem says which models come near."""
    plan = estimate(
        [BatchRow("a", "rangd", key="fox"), BatchRow("b", "qqq")], {model.id: model for model in MODELS}
    )
    assert (plan.rows, plan.requests, plan.problem_count) == (2, 0, 2)
    near, far = plan.problems
    assert (near.row, near.line, near.key, near.model) == (1, None, "fox", "rangd")
    assert "did you mean ranged?" in near.message
    assert far.message == "model 'qqq' is not in the catalogue."


def test_parameters_are_checked_by_the_caller() -> None:
    """What the given check says of a row and its model is that row's problem."""

    def check(row: BatchRow, model: Model) -> str | None:
        return f"seed is not offered by {model.id}" if "seed" in row.parameters else None

    plan = estimate([BatchRow("a", "fixed", seed=1), BatchRow("a", "fixed")], MODELS, check=check)
    assert (plan.rows, plan.requests) == (2, 1)
    assert plan.per_model["fixed"].rows == 2
    assert [problem.message for problem in plan.problems] == ["seed is not offered by fixed"]


def test_parameters_are_checked_against_the_catalogue() -> None:
    """Without a check of one's own, a resolution that the model does not offer is a problem; with none, it is not."""
    model = Model(id="m", parameters={"resolution": EnumSpec(("1k", "2k"))})
    rows = [BatchRow("a", "m", resolution="3k"), BatchRow("a", "m", resolution="2k")]
    plan = estimate(rows, [model])
    assert (plan.requests, plan.problem_count) == (1, 1)
    assert "it offers 1k, 2k" in plan.problems[0].message
    assert estimate(rows, [model], check=None).problem_count == 0


@given(
    st.sampled_from(["images", "openai"]),
    st.sampled_from(
        [
            "resolution",
            "size",
            "seed",
            "strength",
            "input_references",
            "image_data_url",
            "image_data_urls",
            "extra",
            "other",
        ]
    ),
    st.none()
    | st.booleans()
    | st.integers()
    | st.text()
    | st.lists(st.integers() | st.text())
    | st.dictionaries(st.just("a"), st.text()),
)
def test_no_value_of_a_parameter_breaks_the_plan(route: str, name: str, value: object) -> None:
    """Whatever JSON a row holds, it is planned or it is a problem."""
    plan = estimate([{"prompt": "a", "model": "ranged", "route": route, name: value}], MODELS)
    assert plan.rows == 1
    assert plan.requests + plan.problem_count == 1


def test_faults_of_a_manifest_are_problems_by_line(tmp_path: Path) -> None:
    """Wrong rows of a file are counted and named by line, the others are planned."""
    path = tmp_path / "m.csv"
    path.write_text("prompt,model,count\na,fixed,1\n,fixed,1\nb,fixed,none\nc,nowhere,1\n")
    plan = estimate(scan_manifest(path), MODELS)
    assert (plan.rows, plan.requests, plan.problem_count) == (4, 1, 3)
    assert [(problem.row, problem.line) for problem in plan.problems] == [(2, 3), (3, 4), (4, 5)]


def test_a_wrong_mapping_is_a_problem() -> None:
    """A mapping that is no row is reported with the rest, in its place."""
    plan = estimate([{"model": "fixed"}, {"prompt": "a", "model": "fixed"}], MODELS)
    assert (plan.rows, plan.requests) == (2, 1)
    assert [problem.row for problem in plan.problems] == [1]


def test_a_manifest_that_cannot_be_read_stops_the_plan(tmp_path: Path) -> None:
    """A fault of the file as a whole is raised."""
    path = tmp_path / "m.csv"
    path.write_text("text\na\n")
    with pytest.raises(ManifestError, match="no prompt column"):
        estimate(scan_manifest(path), MODELS)


def test_duration_is_the_greater_of_pacing_and_latency() -> None:
    """Requests take the time that pacing needs, or the time that the slots need at a known latency."""
    rows = [BatchRow("a", "unpriced", count=100)]
    assert estimate(rows, MODELS).duration_s == 4
    assert estimate(rows, MODELS, requests_per_second=None).duration_s == 0
    assert estimate(rows, MODELS, concurrency=10, latency_s=20).duration_s == 200


@pytest.mark.parametrize(
    "options",
    [
        {"requests_per_second": 0},
        {"requests_per_second": float("nan")},
        {"concurrency": 0},
        {"assume_price_usd": -1},
    ],
)
def test_impossible_limits_are_refused(options: dict[str, float]) -> None:
    """A limit of zero and a negative price raise a ParameterError, rows or not."""
    with pytest.raises(ParameterError):
        estimate([], MODELS, **options)  # type: ignore[arg-type]


def test_an_empty_plan_is_all_zeros() -> None:
    """No rows, no requests, no time."""
    plan = estimate([], MODELS)
    assert (plan.rows, plan.requests, plan.cost_usd, plan.duration_s, plan.problems) == (0, 0, 0, 0, ())


def test_the_plan_as_json_has_the_same_names() -> None:
    """`to_json` holds every attribute under its name, in values that JSON knows."""
    plan = estimate([BatchRow("a", "fixed"), BatchRow("a", "x")], MODELS)
    again = json.loads(json.dumps(plan.to_json()))
    assert again.keys() == {field.name for field in Estimate.__attrs_attrs__}
    assert again["per_model"]["fixed"]["images"] == 4
    assert again["problems"][0]["model"] == "x"


@given(st.lists(st.tuples(st.sampled_from(MODELS), st.integers(1, 30)), max_size=20))
def test_the_plan_is_what_split_count_does(wanted: list[tuple[Model, int]]) -> None:
    """Requests and images are those of `split_count`, and the parts add up to the whole."""
    plan = estimate([BatchRow("a", model.id, count=count) for model, count in wanted], MODELS)
    splits = [(model.count_rule, split_count(count, model.count_rule)) for model, count in wanted]
    assert plan.requests == sum(len(counts) for _, counts in splits)
    assert plan.images == sum(rule.images(n) for rule, counts in splits for n in counts)
    assert plan.surplus_images == plan.images - sum(count for _, count in wanted)
    assert plan.cost_low_usd <= plan.cost_usd <= plan.cost_high_usd
    for name in ("rows", "requests", "images", "surplus_images", "unpriced_requests"):
        assert getattr(plan, name) == sum(getattr(part, name) for part in plan.per_model.values())


def test_memory_does_not_grow_with_rows() -> None:
    """Twenty thousand rows, all of them problems of different models, keep a bounded list."""
    tracemalloc.start()
    try:
        plan = estimate((BatchRow("a", f"{i}" * 9) for i in range(20_000)), [RANGED])
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert plan.problem_count == 20_000
    assert len(plan.problems) == MAX_PROBLEMS
    assert peak < 2_000_000


def test_quality_levels_do_not_change_the_catalogues_price() -> None:
    """The catalogue prices resolutions; a quality leaves the estimate as it is."""
    model = Model(id="m", prices=PriceTable({"1k": 0.02}), parameters={"quality": EnumSpec(("low", "high"))})
    rows = [BatchRow("a", "m", resolution="1k", quality=quality) for quality in model.qualities]
    assert estimate(rows, [model]).cost_usd == 0.04


VALUES = st.sampled_from([None, "1024x1024", "2048x2048", "9x9", 1, True, 1.0])


@given(
    st.lists(
        st.tuples(
            st.sampled_from(["a fox", "", " ", "x" * 5_000]),
            st.sampled_from([model.id for model in MODELS] + ["nope"]),
            st.integers(1, 9),
            VALUES,
            VALUES,
        ),
        max_size=30,
    )
)
def test_rows_that_differ_in_their_prompt_alone_are_counted_as_if_each_were_alone(
    drawn: list[tuple[str, str, int, object, object]],
) -> None:
    """What is remembered of one row's kind changes no number, and no fault of another."""
    rows = [
        {
            "prompt": prompt,
            "model": model,
            "count": count,
            "resolution": resolution,
            "parameters": {"seed": seed},
        }
        for prompt, model, count, resolution, seed in drawn
    ]
    together = estimate(rows, MODELS)
    alone = [estimate([row], MODELS) for row in rows]
    for name in ("requests", "images", "surplus_images", "problem_count", "unpriced_requests"):
        assert getattr(together, name) == sum(getattr(one, name) for one in alone)
    for name in ("cost_usd", "cost_low_usd", "cost_high_usd"):
        assert getattr(together, name) == pytest.approx(sum(getattr(one, name) for one in alone))
    assert [problem.message for problem in together.problems] == [
        problem.message for one in alone for problem in one.problems
    ]
