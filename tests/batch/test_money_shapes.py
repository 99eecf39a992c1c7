"""A budget and an estimate know every shape of price that the service charges by."""

from __future__ import annotations

import asyncio
import base64
import io
from pathlib import Path

import PIL.Image
import pytest

import nanogpt_images as ngi
from nanogpt_images.sandbox import Fault, Sandbox, SandboxModel, built_in_models


def _png() -> bytes:
    buffer = io.BytesIO()
    PIL.Image.new("RGB", (8, 8)).save(buffer, "PNG")
    return buffer.getvalue()


PNG = "data:image/png;base64," + base64.b64encode(_png()).decode()

DEAR_BY_DEFAULT = SandboxModel(
    id="dear/first",
    name="Dear First",
    owner="sandbox",
    resolutions=("2k", "1k"),
    images_max=4,
    prices_usd={"2k": 0.04, "1k": 0.01},
    flat=True,
)
# Parameters of a row, its model, and what an image of it costs at the sandbox.
SHAPES = [
    pytest.param("tiers/speed", {"rendering_speed": "QUALITY"}, 0.09, id="tier"),
    pytest.param("tiers/speed", {}, 0.03, id="tier not named"),
    pytest.param("add-ons/lora", {"lora": "x", "resolution": "1024x1024"}, 0.045, id="add-on"),
    pytest.param("metered/inputs", {"input_references": [PNG, PNG]}, 0.08, id="input images"),
    pytest.param("only/images-models", {}, 0.004, id="priced by the endpoint metadata alone"),
    pytest.param("dear/first", {"size": "1k"}, 0.04, id="the other route's field"),
    pytest.param("dear/first", {"size": "1k", "resolution": "2k"}, 0.04, id="both fields"),
    pytest.param(
        "dear/first", {"route": "openai", "size": "2k", "resolution": "1k"}, 0.04, id="both, openai"
    ),
    pytest.param("dear/first", {"route": "openai", "resolution": "2k"}, 0.04, id="the other's, openai"),
]


def sandbox_() -> Sandbox:
    return Sandbox(requests_per_second=None, models=[*built_in_models(), DEAR_BY_DEFAULT])


def client_(sandbox: Sandbox, **options: object) -> ngi.AsyncClient:
    return ngi.AsyncClient(sandbox.api_key, sandbox.url, requests_per_second=None, **options)


@pytest.mark.parametrize("concurrency", [1, 20])
@pytest.mark.parametrize(("model", "parameters", "cost_usd"), SHAPES)
async def test_a_batch_stays_within_its_budget(
    model: str, parameters: dict[str, object], cost_usd: float, concurrency: int, tmp_path: Path
) -> None:
    """Whatever decides the price of a row, twenty rows never cost more than a budget for three of them."""
    budget_usd = round(3.3 * cost_usd, 9)
    rows = [{"prompt": f"fox {number}", "model": model, **parameters} for number in range(20)]
    async with sandbox_() as sandbox, client_(sandbox) as client:
        report = await client.run_batch(rows, out=tmp_path, budget_usd=budget_usd, concurrency=concurrency)
        assert isinstance(report.stopped, ngi.BudgetExceededError)
        assert 0 < sandbox.ledger.total_usd <= budget_usd
        assert report.cost_usd == pytest.approx(sandbox.ledger.total_usd)


@pytest.mark.parametrize(("model", "parameters", "cost_usd"), SHAPES)
async def test_a_client_stays_within_its_budget(
    model: str, parameters: dict[str, object], cost_usd: float
) -> None:
    """The same holds for twenty calls at once."""
    budget_usd = round(3.3 * cost_usd, 9)
    fields = dict(parameters)
    route = fields.pop("route", "images")
    named = {
        name: fields.pop(name)
        for name in ("input_references", "size" if route == "openai" else "resolution")
        if name in fields
    }
    async with sandbox_() as sandbox, client_(sandbox, budget_usd=budget_usd) as client:
        call = client.images.generate_openai if route == "openai" else client.images.generate
        calls = [call(f"fox {number}", model=model, extra=fields, **named) for number in range(20)]
        outcomes = await asyncio.gather(*calls, return_exceptions=True)
        assert {type(outcome) for outcome in outcomes} == {ngi.GenerationResult, ngi.BudgetExceededError}
        assert 0 < sandbox.ledger.total_usd <= budget_usd


async def test_twenty_images_of_the_dearest_tier(tmp_path: Path) -> None:
    """The estimate is what the service charges: 20 times 0.09."""
    rows = [
        {"prompt": f"fox {number}", "model": "tiers/speed", "rendering_speed": "QUALITY"}
        for number in range(20)
    ]
    async with sandbox_() as sandbox, client_(sandbox) as client:
        numbers = ngi.estimate(rows, await client.catalog.list())
        assert (numbers.cost_low_usd, numbers.cost_usd, numbers.cost_high_usd) == (1.8, 1.8, 1.8)
        report = await client.run_batch(rows, out=tmp_path, budget_usd=0.30)
        assert (report.images, sandbox.ledger.total_usd) == (3, pytest.approx(0.27))


async def test_an_estimate_with_the_prices_of_input_images() -> None:
    """`catalog.priced` gives `estimate` what only the endpoint metadata states."""
    rows = [{"prompt": "fox", "model": "metered/inputs", "input_references": [PNG, PNG], "count": 8}]
    async with sandbox_() as sandbox, client_(sandbox) as client:
        model = await client.catalog.priced("metered/inputs")
        assert ngi.estimate(rows, [model]).cost_usd == pytest.approx(8 * 0.02 + 2 * 2 * 0.03)
        assert await client.catalog.priced("metered/inputs") is model


@pytest.mark.parametrize("assumed", [None, 0.03])
async def test_without_endpoint_metadata_input_images_have_no_price(assumed: float | None) -> None:
    """Where the metadata cannot be fetched, the call is refused, or each input image counts as was assumed."""
    policy = ngi.RetryPolicy(initial_delay_s=0, max_attempts=2)
    async with Sandbox(requests_per_second=None, faults=[Fault("500", route="endpoints")]) as sandbox:
        options = {"budget_usd": 0.25, "assume_price_usd": assumed, "retry": policy}
        async with client_(sandbox, **options) as client:
            calls = [
                client.images.generate(f"fox {number}", model="metered/inputs", input_references=[PNG, PNG])
                for number in range(10)
            ]
            outcomes = await asyncio.gather(*calls, return_exceptions=True)
            paid = sum(isinstance(outcome, ngi.GenerationResult) for outcome in outcomes)
            assert paid == (0 if assumed is None else 3)
            assert {type(outcome) for outcome in outcomes} - {ngi.GenerationResult} == {
                ngi.BudgetExceededError
            }
            assert sandbox.ledger.total_usd <= 0.25
            assert (await client.images.generate("fox", model="tiny-and-fast")).images


async def test_a_failure_of_the_endpoint_metadata_is_said_once(caplog: pytest.LogCaptureFixture) -> None:
    """Rows at the same time and after each other share one attempt and one warning."""
    rows = [{"prompt": f"fox {n}", "model": "metered/inputs", "input_references": [PNG]} for n in range(10)]
    async with Sandbox(requests_per_second=None, faults=[Fault("403", route="endpoints")]) as sandbox:
        async with client_(sandbox) as client:
            report = await client.run_batch(rows, budget_usd=1.0)
            assert report.failed == 10
    assert len([record for record in caplog.records if "prices of input images" in record.getMessage()]) == 1


async def test_a_batch_paid_in_another_currency(tmp_path: Path) -> None:
    """What came in XNO is counted at the catalogue's price, kept as it came, and said in the report."""
    rows = [{"prompt": f"fox {number}", "model": "hidream", "resolution": "1024x1024"} for number in range(5)]
    async with Sandbox(requests_per_second=None, faults=[Fault("other_currency", times=3)]) as sandbox:
        async with client_(sandbox) as client, client.batch(rows, out=tmp_path, budget_usd=0.08) as run:
            events = [event async for event in run]
    report = run.report
    assert (report.images, report.failed, report.stopped) == (5, 0, None)
    assert report.cost_usd == pytest.approx(5 * 0.014)
    assert report.other_currency == 3
    assert report.other_costs == {"XNO": pytest.approx(3 * 0.014 * 40)}
    assert report.to_json()["other_costs"] == report.other_costs
    foreign = [event.result for event in events if event.result is not None and event.result.cost_usd is None]
    assert [result.cost for result in foreign] == [ngi.Cost(0.56, "XNO")] * 3


async def test_a_client_paid_in_another_currency() -> None:
    """The budget of a client keeps what was reserved, and the result names the amount and its currency."""
    async with Sandbox(requests_per_second=None, faults=[Fault("other_currency")]) as sandbox:
        async with client_(sandbox, budget_usd=0.03) as client:
            for _ in range(2):
                result = await client.images.generate("fox", model="hidream", resolution="1024x1024")
                assert (result.cost_usd, result.cost) == (None, ngi.Cost(0.56, "XNO"))
            with pytest.raises(ngi.BudgetExceededError):
                await client.images.generate("fox", model="hidream", resolution="1024x1024")
