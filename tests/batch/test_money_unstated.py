"""A budget holds where the listing does not state what the service charges by."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import nanogpt_images as ngi
from nanogpt_images.cli.manifests.manifest import Manifest, planned
from nanogpt_images.sandbox import Sandbox, SandboxModel

CAP_USD = 0.10
LISTED = {"1024x1024": 0.02, "512x512": 0.01}


def model_(model_id: str = "m", **fields: object) -> SandboxModel:
    common = {"name": "M", "owner": "sandbox", "resolutions": tuple(LISTED), "prices_usd": LISTED}
    return SandboxModel(id=model_id, **{**common, **fields})


def sandbox_(*models: SandboxModel) -> Sandbox:
    return Sandbox(requests_per_second=None, models=models)


def client_(sandbox: Sandbox, **options: object) -> ngi.AsyncClient:
    return ngi.AsyncClient(sandbox.api_key, sandbox.url, requests_per_second=None, **options)


async def by_client(sandbox: Sandbox, model: str, body: dict[str, object], **options: object) -> list[object]:
    """The outcomes of ten calls of a client with the cap."""
    async with client_(sandbox, budget_usd=CAP_USD, **options) as client:
        calls = [client.images.generate(f"fox {n}", model=model, extra=body) for n in range(10)]
        return await asyncio.gather(*calls, return_exceptions=True)


async def by_batch(sandbox: Sandbox, model: str, body: dict[str, object], **options: object) -> list[object]:
    """The outcomes of a batch of ten rows with the cap."""
    rows = [{"prompt": f"fox {n}", "model": model, "parameters": body} for n in range(10)]
    async with client_(sandbox) as client:
        async with client.batch(rows, budget_usd=CAP_USD, **options) as run:
            events = [event async for event in run]
    return [event.error or event.result for event in events]


RUNS = [pytest.param(by_client, id="client"), pytest.param(by_batch, id="batch")]

# What the service charges by, the fields of a request, and what the request costs there.
COUNTED = [
    pytest.param({"endpoint_prices_usd": {"1024x1024": 0.045}}, {}, 0.045, id="dearer at the endpoint"),
    pytest.param({"request_usd": 0.025}, {}, 0.045, id="price of the request"),
    pytest.param({"megapixel_usd": 0.0125}, {}, 0.045, id="price of the megapixel"),
    pytest.param({"options_usd": {"polish": 0.025}}, {"polish": True}, 0.045, id="bare number"),
    pytest.param({"unlisted_fields": True}, {"num_images": 2}, 0.04, id="another name of the count"),
    pytest.param(
        {"unlisted_fields": True}, {"width": 512, "height": 512}, 0.02, id="sides within what is listed"
    ),
]
REFUSED = [
    pytest.param({"scale": 4}, "scale", id="scale"),
    pytest.param({"upscale_factor": "2"}, "upscale_factor", id="factor"),
    pytest.param({"width": 4096, "height": 4096}, "size 4096x4096", id="sides"),
    pytest.param({"width": 4096}, "width", id="one side"),
    pytest.param({"num_images": "many"}, "num_images", id="no count"),
    pytest.param({"options": {"copies": 3}}, "options", id="nested"),
    pytest.param({"frames": 8}, "frames", id="unknown number"),
]


@pytest.mark.parametrize("run", RUNS)
@pytest.mark.parametrize(("charged_by", "body", "cost_usd"), COUNTED)
async def test_what_can_be_counted_is_reserved(run, charged_by: dict, body: dict, cost_usd: float) -> None:
    """Ten requests at once cost no more than the cap, and some of them are made."""
    async with sandbox_(model_(**charged_by)) as sandbox:
        outcomes = await run(sandbox, "m", body)
        paid = [outcome for outcome in outcomes if isinstance(outcome, ngi.GenerationResult)]
        assert paid
        assert paid[0].cost_usd == pytest.approx(cost_usd)
        assert 0 < sandbox.ledger.total_usd <= CAP_USD


@pytest.mark.parametrize("run", RUNS)
@pytest.mark.parametrize(("body", "named"), REFUSED)
async def test_what_cannot_be_counted_is_refused(run, body: dict[str, object], named: str) -> None:
    """Under a budget the error names the field, and nothing was sent."""
    async with sandbox_(model_(unlisted_fields=True)) as sandbox:
        outcomes = await run(sandbox, "m", body)
        assert {type(outcome) for outcome in outcomes} == {ngi.BudgetExceededError}
        text = str(outcomes[0])
        assert text.startswith("under a budget")
        assert f"{named}." in text
        assert "Nothing was sent." in text
        assert sandbox.ledger.posts == []


@pytest.mark.parametrize("run", RUNS)
async def test_what_cannot_be_counted_can_be_assumed(run) -> None:
    """With assume_price_usd the request goes out, and the assumption is reserved on top of the listed price."""
    async with sandbox_(model_(unlisted_fields=True)) as sandbox:
        outcomes = await run(sandbox, "m", {"scale": 2}, assume_price_usd=0.02)
        assert sum(isinstance(outcome, ngi.GenerationResult) for outcome in outcomes) == 2
        assert sandbox.ledger.total_usd == pytest.approx(0.08)


@pytest.mark.parametrize("body", [{"scale": 4}, {"num_images": 2}, {"frames": 8}])
async def test_without_a_budget_nothing_changes(body: dict[str, object]) -> None:
    """What the listing does not price is sent as it is, where no cap has to be kept."""
    async with sandbox_(model_()) as sandbox, client_(sandbox) as client:
        assert (await client.images.generate("a fox", model="m", extra=body)).images


def _shapes() -> st.SearchStrategy[dict[str, object]]:
    usd = st.integers(0, 50).map(lambda thousandths: thousandths / 1000)
    tokens = st.dictionaries(st.sampled_from(["1024x1024", "512*512", "2k", "auto"]), usd, max_size=3)
    names = st.sampled_from(["polish", "upscale", "hd", "lora", "frames", "num_images", "scale"])
    return st.fixed_dictionaries(
        {},
        optional={
            "resolutions": st.lists(
                st.sampled_from(["1024x1024", "512x512", "2k", "auto"]), max_size=3, unique=True
            ).map(tuple),
            "prices_usd": tokens,
            "endpoint_prices_usd": tokens,
            "add_ons_usd": st.dictionaries(names, tokens, max_size=2),
            "options_usd": st.dictionaries(names, usd, max_size=2),
            "request_usd": usd,
            "megapixel_usd": usd,
            "unlisted_fields": st.booleans(),
            "images_max": st.integers(1, 4),
            "flat": st.booleans(),
            "money_as_text": st.booleans(),
        },
    )


BODIES = st.fixed_dictionaries(
    {},
    optional={
        "polish": st.booleans(),
        "upscale": st.sampled_from([True, 2, "4"]),
        "hd": st.just("yes"),
        "lora": st.sampled_from(["x", ["x", "y"]]),
        "frames": st.integers(0, 9),
        "num_images": st.integers(0, 5),
        "scale": st.sampled_from([0.5, 1, 2, 4]),
        "width": st.sampled_from([256, 1024, 2048]),
        "height": st.sampled_from([256, 1024, 2048]),
    },
)


@given(st.lists(st.tuples(_shapes(), BODIES), min_size=1, max_size=4))
@settings(max_examples=25, deadline=None)
def test_no_catalogue_makes_a_cap_be_passed(cases: list[tuple[dict[str, object], dict[str, object]]]) -> None:
    """Whatever the service charges by, and whatever a request asks for: spent <= cap."""

    async def spend() -> None:
        models = [model_(f"m{number}", **shape) for number, (shape, _) in enumerate(cases)]
        for run in (by_client, by_batch):
            async with sandbox_(*models) as sandbox:
                for number, (_, body) in enumerate(cases):
                    before = sandbox.ledger.total_usd
                    await run(sandbox, f"m{number}", body)
                    assert sandbox.ledger.total_usd - before <= CAP_USD + 1e-9, (models[number], body)

    asyncio.run(spend())


@pytest.mark.parametrize(("under_budget", "high_usd"), [(False, 0.04), (True, 0.09)])
async def test_a_plan_under_a_budget_reads_the_endpoint(
    tmp_path: Path, under_budget: bool, high_usd: float
) -> None:
    """The plan of a batch with --budget counts the dearer price of the endpoint metadata, as the batch will."""
    path = tmp_path / "rows.jsonl"
    path.write_text('{"prompt": "a fox", "count": 2}\n', "utf-8")
    async with sandbox_(model_(endpoint_prices_usd={"1024x1024": 0.045}, images_max=2)) as sandbox:
        async with client_(sandbox) as client:
            plan = await planned(
                Manifest(path=path, model="m"),
                client.catalog,
                requests_per_second=None,
                assume_price_usd=None,
                under_budget=under_budget,
            )
    assert plan.cost_high_usd == pytest.approx(high_usd)
