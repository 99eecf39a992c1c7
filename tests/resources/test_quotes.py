"""The service's own price of a request, beside the catalogue's, and where a budget leans on it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from fakes import connected

import nanogpt_images as ngi
from nanogpt_images.sandbox import Fault, Sandbox
from nanogpt_images.types.prices import Cost
from nanogpt_images.wire.quotes import decode_quote, quote_body

UNPRICED = "odd/no-price"


@pytest.mark.parametrize(
    ("answer", "cost"),
    [
        ({"cost": 0.05}, Cost(0.05)),
        ({"cost": "0.05"}, Cost(0.05)),
        ({"data": {"estimatedCost": 0.05, "currency": "usd"}}, Cost(0.05)),
        ({"payment": {"amountUsd": "0.0714"}}, Cost(0.0714)),
        ({"cost": 1, "currency": "XNO"}, Cost(1.0, "XNO")),
        ({"cost": 1, "paymentSource": "XNO"}, Cost(1.0, "XNO")),
        ({"cost": -1}, None),
        ({"cost": None, "error": "x"}, None),
        ([], None),
        ("0.05", None),
    ],
)
def test_answers(answer: object, cost: Cost | None) -> None:
    """Whatever shape an answer has, an amount is found with its currency, or none is made up."""
    assert decode_quote(answer) == cost


def test_a_question_has_no_prompt_and_no_image() -> None:
    """What a price does not depend on stays here, so requests that cost the same ask the same."""
    one = ngi.EditRequest(
        prompt="a", model="m", size="1k", image=b"x", mask=b"y", seed=1, n=2, extra={"quality": "high"}
    )
    two = ngi.GenerateRequest(
        prompt="b", model="m", resolution="1k", extra={"quality": "high", "imageDataUrl": "data:"}
    )
    assert json.loads(quote_body(one)) == {"model": "m", "size": "1k", "quality": "high"}
    assert quote_body(one) == quote_body(two)


@pytest.mark.parametrize(
    ("fields", "service", "catalogue", "source"),
    [
        ({"model": UNPRICED, "n": 3}, 0.15, None, "service"),
        ({"model": "tiers/speed", "n": 2, "extra": {"rendering_speed": "QUALITY"}}, 0.18, 0.18, "service"),
        ({"model": "fixed-four-flat"}, 0.08, 0.08, "service"),
        (
            {"model": "metered/inputs", "input_references": ["https://example.com/a.png"] * 2},
            0.08,
            0.08,
            "service",
        ),
    ],
)
async def test_a_quote(fields: dict, service: float, catalogue: float | None, source: str) -> None:
    """Both prices are of all images of the request, input images included."""
    async with connected() as (client, sandbox):
        quote = await client.catalog.quote(ngi.GenerateRequest(prompt="a", **fields))
        assert (quote.service_usd, quote.catalog_usd, quote.source) == (service, catalogue, source)
        assert quote.problem is None
        assert sandbox.ledger.posts == []


async def test_a_set_of_parameters_is_asked_for_once() -> None:
    """Prompts, counts and seeds share a question."""
    asked: list[str] = []

    def count(event: ngi.ClientEvent) -> None:
        if isinstance(event, ngi.AttemptEnded) and "estimate" in event.url:
            asked.append(event.url)

    async with connected(on_event=count) as (client, _):
        for number in range(6):
            request = ngi.GenerateRequest(
                prompt=str(number),
                model="hidream",
                n=1 + number % 3,
                resolution=("1024x1024", "1376x768")[number % 2],
            )
            await client.catalog.quote(request)
    assert len(asked) == 2


@pytest.mark.parametrize(
    ("kind", "said"),
    [("other_currency", "in 'EUR', not in USD"), ("500", "does not estimate"), ("404", "answered 404")],
)
async def test_without_an_answer_the_catalogue_stands(kind: str, said: str) -> None:
    """One clear line says why; the price is the catalogue's, and a budget without either sends nothing."""
    retry = ngi.RetryPolicy.none()
    async with connected(Fault(kind, route="estimate"), retry=retry, budget_usd=1) as (client, sandbox):
        quote = await client.catalog.quote(ngi.GenerateRequest(prompt="a", model="gpt-image-2"))
        assert (quote.cost_usd, quote.source, quote.service_usd) == (0.06551, "catalogue", None)
        assert said in (quote.problem or "")
        assert "\n" not in (quote.problem or "")
        with pytest.raises(ngi.BudgetExceededError, match="no price is known"):
            await client.images.generate("a", model=UNPRICED)
        assert sandbox.ledger.posts == []


async def test_bad_questions() -> None:
    """An unknown model and no model at all are one clear line each."""
    async with connected() as (client, _):
        with pytest.raises(ngi.NotFoundError, match=r"near matches: odd/no-price\. Nothing was sent"):
            await client.catalog.quote(ngi.GenerateRequest(model="odd/no-pric"))
        with pytest.raises(ngi.ParameterError, match=r"name one\. Nothing was sent"):
            await client.catalog.quote(ngi.EditRequest(prompt="a", image=b"x"))


async def test_a_budget_holds_by_a_quote(tmp_path: Path) -> None:
    """A client and a batch keep a budget for a model without a price, and reserve what the service quotes."""
    async with connected(budget_usd=0.11) as (client, sandbox):
        await client.images.generate("a", model=UNPRICED, n=2)
        with pytest.raises(ngi.BudgetExceededError):
            await client.images.generate("a", model=UNPRICED)
        assert sandbox.ledger.total_usd == 0.1
    async with connected() as (client, sandbox):
        rows = [{"prompt": str(number), "model": UNPRICED, "count": 3} for number in range(9)]
        report = await client.run_batch(rows, out=tmp_path, budget_usd=0.5)
        assert report.cost_usd == pytest.approx(sandbox.ledger.total_usd)
        assert sandbox.ledger.total_usd == pytest.approx(0.45)


def test_the_blocking_catalogue() -> None:
    """The same name, blocking."""
    with Sandbox.in_thread() as sandbox, ngi.Client(sandbox.api_key, sandbox.url) as client:
        assert client.catalog.quote(ngi.OpenAIRequest(model="hidream", n=2)).cost_usd == 0.028
