"""The public contract of the design, line by line, against the sandbox."""

from __future__ import annotations

import inspect
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from fakes import unmarked

import nanogpt_images as ngi
from nanogpt_images.sandbox import Sandbox


@pytest.fixture
async def sandbox() -> AsyncIterator[Sandbox]:
    async with Sandbox(requests_per_second=None) as running:
        yield running


@pytest.fixture
async def client(sandbox: Sandbox) -> AsyncIterator[ngi.AsyncClient]:
    async with ngi.AsyncClient(api_key=sandbox.api_key, base_url=sandbox.url) as made:
        yield made


def test_client_takes_the_arguments_of_the_contract() -> None:
    """The client's options have the names and the defaults of the contract."""
    parameters = inspect.signature(ngi.AsyncClient).parameters
    expected = {
        "api_key",
        "base_url",
        "timeout_s",
        "retry",
        "requests_per_second",
        "catalog_ttl_s",
        "session",
    }
    assert expected <= parameters.keys()
    assert parameters["requests_per_second"].default == 25
    assert parameters["catalog_ttl_s"].default == 300
    assert ngi.AsyncClient().base_url == "https://nano-gpt.com"


async def test_catalogue(client: ngi.AsyncClient) -> None:
    """All views of the catalogue answer and agree on a model."""
    models = await client.catalog.list()
    model = await client.catalog.get("gpt-image-2")
    legacy = await client.catalog.image_models(detailed=True)
    listing = await client.catalog.models()
    offer = await client.catalog.endpoints("gpt-image-2")
    assert model in models
    assert {record.id for record in legacy} | {record.id for record in listing} == {
        each.id for each in models
    }
    assert offer.endpoints[0].pricing[0].cost_usd == 0.06551
    assert model.resolutions == ("1024x1024", "1024x768")
    with pytest.raises(ngi.NotFoundError, match="gpt-image-2"):
        await client.catalog.get("gpt-image-3")


async def test_generation(client: ngi.AsyncClient, tmp_path: Path) -> None:
    """Both routes and the streamed form give images, money and a request ID."""
    result = await client.images.generate("a red fox", model="gpt-image-2", resolution="1024x1024", n=2)
    image = result.images[0]
    assert (len(result.images), image.media_type, image.width, image.height) == (2, "image/png", 1024, 1024)
    assert image.data is not None
    assert image.path is None
    assert await image.save(tmp_path / "fox") == tmp_path / "fox.png"
    assert (tmp_path / "fox.png").stat().st_size == len(image.data)
    assert result.cost_usd == pytest.approx(2 * 0.06551)
    assert result.remaining_balance is not None
    assert result.request_id
    linked = await client.images.generate_openai(
        "a red fox", model="hidream", size="1024x1024", response_format="url"
    )
    assert (linked.images[0].data, linked.images[0].url is not None) == (None, True)
    assert (await linked.images[0].save(tmp_path / "linked")).stat().st_size > 0
    one = await client.images.generate_to(
        tmp_path / "out", "a red fox", model="gpt-image-2", name="fox", overwrite=False
    )
    assert one.images[0].path == tmp_path / "out" / "fox.png"
    with pytest.raises(ngi.OutputError, match="exists"):
        await client.images.generate_to(tmp_path / "out", "a red fox", model="gpt-image-2", name="fox")
    two = await client.images.generate_to(tmp_path / "two", "a red fox", model="gpt-image-2", name="fox", n=2)
    assert [image.path for image in two.images] == [tmp_path / "two" / f"fox-{index}.png" for index in (0, 1)]


async def test_validate_and_extra(client: ngi.AsyncClient, sandbox: Sandbox) -> None:
    """All three calls check by default, send what they are told to with validate=False, and take extra fields."""
    calls = (
        client.images.generate,
        client.images.generate_openai,
        lambda prompt, **more: client.images.generate_to("unused", prompt, **more),
    )
    for call in calls:
        with pytest.raises(ngi.ParameterError, match="Nothing was sent"):
            await call("a red fox", model="gpt-image-2", n=9, extra={"rendering_speed": "fast"})
    assert sandbox.ledger.posts == []
    with pytest.raises(ngi.BadRequestError):
        await client.images.generate("a red fox", model="gpt-image-2", n=9, validate=False)


async def test_batch(client: ngi.AsyncClient, tmp_path: Path) -> None:
    """A batch yields events and ends with a report of the contract's numbers."""
    rows = [
        ngi.BatchRow("a red fox", "gpt-image-2", count=5, key="fox", resolution="1024x768"),
        {
            "prompt": "a hare",
            "model": "hidream",
            "route": "openai",
            "size": "1024x1024",
            "response_format": "url",
        },
    ]
    estimate = ngi.estimate(rows, await client.catalog.list())
    assert (estimate.rows, estimate.requests, estimate.images, estimate.problems) == (2, 3, 6, ())
    async with client.batch(rows, out=tmp_path / "out", concurrency=64, budget_usd=5) as run:
        events = [event async for event in run]
    assert {event.key for event in events} >= {"fox"}
    report = run.report
    assert (report.rows, report.requests, report.images, report.failed, report.unknown) == (2, 3, 6, 0, 0)
    assert report.cost_usd == pytest.approx(estimate.cost_usd)
    assert (await client.run_batch(rows, out=tmp_path / "out")).requests == 0
    names = sorted(path.name for path in (tmp_path / "out" / "images").iterdir())
    assert [unmarked(name) for name in names[-5:]] == [f"fox-{index}.png" for index in range(5)]


def test_blocking(tmp_path: Path) -> None:
    """The blocking client has the same names, and its images save without await."""
    with Sandbox.in_thread(requests_per_second=None) as sandbox:
        with ngi.Client(sandbox.api_key, sandbox.url) as client:
            path = client.images.generate("a red fox", model="gpt-image-2").images[0].save(tmp_path / "fox")
            assert (
                client.run_batch([{"prompt": "a", "model": "tiny-and-fast"}], out=tmp_path / "out").images
                == 1
            )
        assert path.read_bytes().startswith(b"\x89PNG")


def test_split_count() -> None:
    """The three examples of the contract."""
    assert ngi.split_count(10, ngi.CountRule(1, 4)) == [4, 4, 2]
    assert ngi.split_count(10, ngi.CountRule(fixed=4)) == [None, None, None]
    assert ngi.split_count(5, ngi.CountRule(2, 4)) == [3, 2]


async def test_environment(sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch) -> None:
    """`NANOGPT_API_KEY` and `NANOGPT_BASE_URL` are used where nothing is passed."""
    monkeypatch.setenv("NANOGPT_API_KEY", sandbox.api_key)
    monkeypatch.setenv("NANOGPT_BASE_URL", sandbox.url)
    async with ngi.AsyncClient() as client:
        assert (await client.images.generate("a red fox", model="tiny-and-fast")).images[0].data
