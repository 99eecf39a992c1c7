"""Numbers that no service should send: absurd costs, prices and counts, through the whole flow."""

from __future__ import annotations

import base64
import json
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path

import attrs
import pytest
from fakes import PNG, QUICK, Reply

from nanogpt_images import AsyncClient, HttpRequest, HttpResponse, estimate

ABSURD = [1e300, 2e9, 10**400, -1, "1e99", "NaN", True, [], {}]


@attrs.frozen
class Service:
    """Answers each GET with the catalogue of one model, each POST with one image."""

    model: Mapping[str, object] = attrs.field(factory=dict)
    answer: Mapping[str, object] = attrs.field(factory=dict)
    headers: Mapping[str, str] = attrs.field(factory=dict)

    @asynccontextmanager
    async def send(self, request: HttpRequest) -> AsyncIterator[HttpResponse]:
        if request.body is None:
            yield Reply(body=json.dumps({"data": [{"id": "m", **self.model}]}).encode())
            return
        request.begin_body()
        image = {"b64_json": base64.b64encode(PNG).decode()}
        body = json.dumps({"data": [image], **self.answer}).encode()
        yield Reply(body=body, headers=self.headers)

    async def aclose(self) -> None:
        """Nothing is open."""

    def client(self, **options: object) -> AsyncClient:
        options = {"requests_per_second": None, "retry": QUICK, "assume_price_usd": 1, **options}
        return AsyncClient("sk-nano", "http://127.0.0.1:9", transport=self, **options)


@pytest.mark.parametrize("cost", ABSURD, ids=lambda cost: str(cost)[:8])
@pytest.mark.parametrize("name", ["cost", "remainingBalance", "created"])
async def test_a_paid_image_is_kept_whatever_it_is_said_to_cost(
    name: str, cost: object, tmp_path: Path
) -> None:
    """No amount in an answer loses its image, with or without a budget, alone or in a batch."""
    service = Service(answer={name: cost})
    async with service.client(budget_usd=5) as client:
        assert (await client.images.generate("p", model="m")).images[0].data == PNG
        report = await client.run_batch(
            [{"prompt": "p", "model": "m"}], out=tmp_path, budget_usd=5, assume_price_usd=1
        )
    assert (report.images, report.failed, report.unknown) == (1, 0, 0)


async def test_an_absurd_cost_in_a_header_counts_as_none() -> None:
    """A header's amount is read as a body's is."""
    async with Service(headers={"x-cost": "9e99"}).client() as client:
        assert (await client.images.generate("p", model="m")).cost_usd is None


@pytest.mark.parametrize("number", ABSURD, ids=lambda number: str(number)[:8])
@pytest.mark.parametrize(
    "name", ["fixed_image_count", "max_images", "max_prompt_characters", "max_input_images"]
)
async def test_an_absurd_limit_breaks_no_batch(name: str, number: object, tmp_path: Path) -> None:
    """Whatever limit a catalogue states, a row is sent or refused with an error of ours, and a plan can be made."""
    service = Service(model={"supported_parameters": {name: number}})
    async with service.client() as client:
        rows = [{"prompt": "p", "model": "m", "count": 3}]
        assert estimate(rows, await client.catalog.list()).rows == 1
        report = await client.run_batch(rows, out=tmp_path)
    assert report.requests + report.failed > 0
    assert report.unknown == 0


@pytest.mark.parametrize("price", [*ABSURD, 999_999_999], ids=lambda price: str(price)[:8])
async def test_an_absurd_price_breaks_no_batch(price: object, tmp_path: Path) -> None:
    """A row whose price is beyond all measure fails by itself, before it is sent; any other price is unknown."""
    service = Service(
        model={
            "supported_parameters": {"fixed_image_count": 4},
            "pricing": {"per_image": {"auto": price}, "currency": "USD"},
        }
    )
    async with service.client() as client:
        report = await client.run_batch([{"prompt": "p", "model": "m"}], out=tmp_path)
    assert report.unknown == 0
    assert report.failed == (price == 999_999_999)
