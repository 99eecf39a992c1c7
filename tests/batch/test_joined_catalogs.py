"""Processes that work on one directory and see different catalogues: a row is divided once, and paid for once."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, cast

import attrs

from nanogpt_images import AsyncClient, RetryPolicy
from nanogpt_images.batch.events import BatchReport
from nanogpt_images.errors import Charge, ServerError
from nanogpt_images.sandbox import Sandbox
from nanogpt_images.wire import paths

MODEL = "tiny-and-fast"
ROWS = 60
COUNT = 4

Listing = dict[str, object]


def offer(sandbox: Sandbox, images_max: int) -> None:
    """What both listings say of the model from now on."""
    (model,) = (found for found in sandbox.models if found.id == MODEL)
    sandbox.set_models([attrs.evolve(model, images_max=images_max)])


def altered(client: AsyncClient, path: str, alter: Callable[[Listing], Listing]) -> None:
    """Have *client* see another answer of *path*."""
    fetch = client.catalog._fetch

    async def fetched(asked: str, *, params: Mapping[str, str] | None = None) -> object:
        answer = cast("Listing", await fetch(asked, params=params))
        return alter(answer) if asked == path else answer

    client.catalog._fetch = fetched


def lost(_: Listing) -> Listing:
    raise ServerError("503 Service Unavailable", status=503, charge=Charge.NOT_SENT)


def two_at_most(listing: Listing) -> Listing:
    for entry in cast("list[dict[str, dict[str, object]]]", listing["data"]):
        entry["supported_parameters"]["max_images"] = 2
    return listing


@asynccontextmanager
async def two_clients(**of_the_other: float) -> AsyncIterator[tuple[Sandbox, AsyncClient, AsyncClient]]:
    async with Sandbox(requests_per_second=None, latency_s=0.005) as sandbox:
        offer(sandbox, COUNT)
        options: dict[str, Any] = {"requests_per_second": None, "retry": RetryPolicy.none()}
        async with (
            AsyncClient(sandbox.api_key, sandbox.url, **options) as one,
            AsyncClient(sandbox.api_key, sandbox.url, **options, **of_the_other) as other,
        ):
            yield sandbox, one, other


async def see(client: AsyncClient, most: int) -> None:
    """The client has its catalogue, which lets a request make so many images."""
    assert (await client.catalog.get(MODEL)).count_rule.maximum == most


async def work(
    out: Path, sandbox: Sandbox, *clients: AsyncClient, midway: Callable[[], object] = int
) -> None:
    """The clients work on the same rows, each with a journal of its own; *midway* a third is done."""
    due = [midway]
    together = asyncio.Barrier(len(clients))

    async def rows() -> AsyncIterator[dict[str, object]]:
        # None begins alone: it could be done before the other has opened the journal.
        await together.wait()
        # Rows of an async source are admitted one by one.
        for number in range(ROWS):
            yield {"prompt": f"prompt {number}", "model": MODEL, "count": COUNT}

    async def run(client: AsyncClient) -> BatchReport:
        async with client.batch(rows(), out=out, join=True, concurrency=3) as batch:
            async for _ in batch:
                if due and len(sandbox.ledger.billed) > ROWS // 3:
                    due.pop()()
        return batch.report

    reports = await asyncio.gather(*map(run, clients))
    made = Counter[str]()
    for entry in sandbox.ledger.billed:
        made[entry.prompt] += entry.images
    assert (len(made), set(made.values())) == (ROWS, {COUNT})
    assert all(report.images for report in reports)


async def test_listings_that_differ(tmp_path: Path) -> None:
    """Edge caches that are out of step say four and two."""
    async with two_clients() as (sandbox, one, other):
        await see(one, 4)
        offer(sandbox, 2)
        await see(other, 2)
        offer(sandbox, 4)
        await work(tmp_path, sandbox, one, other)


async def test_a_rule_that_changes_while_they_work(tmp_path: Path) -> None:
    """One asks for the catalogue again for each row, the other keeps what it had."""
    changed: list[bool] = []
    async with two_clients(catalog_ttl_s=0) as (sandbox, one, other):
        altered(other, paths.IMAGE_MODELS, lambda listing: two_at_most(listing) if changed else listing)
        await see(one, 4)
        await see(other, 4)
        await work(tmp_path, sandbox, one, other, midway=lambda: changed.append(True))


async def test_half_of_the_catalogue(tmp_path: Path) -> None:
    """One of the two got only the listing that does not state the limit."""
    async with two_clients() as (sandbox, one, other):
        altered(one, paths.IMAGE_MODELS, two_at_most)
        altered(other, paths.IMAGE_MODELS, lost)
        await see(one, 2)
        await see(other, 4)
        await work(tmp_path, sandbox, one, other)


async def test_no_catalogue(tmp_path: Path) -> None:
    """One of the two got no listing at all, and sends its rows unchecked."""
    async with two_clients() as (sandbox, one, other):
        altered(other, paths.IMAGE_MODELS, lost)
        altered(other, paths.LISTED_MODELS, lost)
        await see(one, 4)
        await work(tmp_path, sandbox, one, other)
