"""What users' type checkers see. Checked by mypy and pyright, never run."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import assert_type

from PIL.Image import Image as PillowImage

import nanogpt_images as ngi


async def async_client() -> None:
    async with ngi.AsyncClient("key", timeout_s=30, retry=ngi.RetryPolicy.none()) as client:
        assert_type(client, ngi.AsyncClient)
        assert_type(await client.catalog.list(), tuple[ngi.Model, ...])
        assert_type(await client.catalog.get("gpt-image-2"), ngi.Model)
        assert_type(await client.catalog.models(), ngi.Listing[ngi.ListedModel])
        assert_type(await client.catalog.image_models(detailed=False), ngi.Listing[ngi.ImageModel])
        assert_type(await client.catalog.endpoints("gpt-image-2"), ngi.ModelEndpoints)
        assert_type(
            await client.catalog.quote(ngi.GenerateRequest(model="gpt-image-2", resolution="1024x1024")),
            ngi.Quote,
        )
        assert_type(await client.images.edit("a hat", image="fox.png", mask=b"mask"), ngi.GenerationResult)
        result = await client.images.generate(
            "a red fox", model="gpt-image-2", n=2, input_references=[Path("a.png"), b""]
        )
        assert_type(result, ngi.GenerationResult)
        assert_type(result.images[0].data, bytes | None)
        assert_type(await result.images[0].save("fox"), Path)
        assert_type(await result.images[0].to_pil(), PillowImage)
        assert_type(result.cost_usd, float | None)
        async with client.batch(
            [ngi.BatchRow("a red fox", "gpt-image-2", resolution="1024x1024")], out="out"
        ) as run:
            async for event in run:
                assert_type(event, ngi.BatchEvent)
        assert_type(run.report, ngi.BatchReport)
        assert_type(await client.run_batch([{"prompt": "a", "model": "b"}]), ngi.BatchReport)
        assert_type(await ngi.export_batch("out", to="parquet", embed_images=True), ngi.ExportReport)
        assert_type(client.observe(watch), Callable[[], None])


def watch(event: ngi.ClientEvent) -> None:
    if isinstance(event, ngi.GenerationEnded):
        assert_type(event.result, ngi.GenerationResult | None)


def blocking_client() -> None:
    with ngi.Client("key", base_url="https://example.com", timeout_s=30) as client:
        assert_type(client, ngi.Client)
        assert_type(client.catalog.list(), tuple[ngi.Model, ...])
        assert_type(client.catalog.get("gpt-image-2"), ngi.Model)
        result = client.images.generate("a red fox", model="gpt-image-2", n=2)
        assert_type(result, ngi.BlockingResult)
        assert_type(result.images[0].save("fox"), Path)
        assert_type(result.images[0].to_pil(), PillowImage)
        assert_type(client.images.generate_to("out", "a red fox", model="gpt-image-2"), ngi.BlockingResult)
        assert_type(client.images.edit("a hat", image=["fox.png", b"bytes"], n=2), ngi.BlockingResult)
        assert_type(client.images.edit_to("out", "a hat", image="fox.png", size="1k"), ngi.BlockingResult)
        client.images.generate("a red fox", model="gpt-image-2", nonsense=1)  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
        client.images.generate("a red fox")  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
        ngi.Client("key", nonsense=1)  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
        with client.batch([], out="out", concurrency=2) as run:
            for event in run:
                assert_type(event, ngi.BatchEvent)
        assert_type(client.run_batch([]), ngi.BatchReport)


def pure() -> None:
    assert_type(ngi.read_provenance("fox.png"), ngi.Provenance | None)
    assert_type(ngi.split_count(10, ngi.CountRule(1, 4)), list[int | None])
