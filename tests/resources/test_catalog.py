"""The catalogue over a scripted fetch: caching, the joined view, outages."""

from __future__ import annotations

import asyncio
import json
import logging
import threading
from collections.abc import Mapping
from pathlib import Path

import pytest

from nanogpt_images.errors import (
    Charge,
    ConnectError,
    NotFoundError,
    ParameterError,
    ResponseDecodeError,
    StatusError,
    TransportError,
)
from nanogpt_images.resources.catalog import Catalog
from nanogpt_images.types.model import ListedModel
from nanogpt_images.wire.catalog.listings import Records

SAMPLES = Path(__file__).parents[1] / "samples"
IMAGE_MODELS = "/api/v1/image-models"
MODELS = "/api/v1/images/models"


def sample(name: str) -> object:
    return json.loads((SAMPLES / f"{name}.json").read_text())


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


class Service:
    """Answers GETs from a table, an exception being raised, and keeps what was asked for."""

    def __init__(self) -> None:
        self.bodies: dict[str, object] = {
            IMAGE_MODELS: sample("image-models"),
            MODELS: sample("images-models.live"),
            f"{MODELS}/gpt-image-2/endpoints": sample("endpoints.documented"),
            f"{MODELS}/krea-v2/turbo/endpoints": sample("endpoints.live"),
        }
        self.asked: list[str] = []
        self.params: list[Mapping[str, str] | None] = []
        self.gate: asyncio.Event | None = None

    async def __call__(self, path: str, *, params: Mapping[str, str] | None = None) -> object:
        self.asked.append(path)
        self.params.append(params)
        if self.gate is not None:
            await self.gate.wait()
        body = self.bodies[path]
        if isinstance(body, Exception):
            raise body
        return body


@pytest.fixture
def service() -> Service:
    return Service()


async def test_listings_are_decoded_off_the_loop(service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    """However long a listing is, the loop serves others while it is decoded."""
    here = threading.get_ident()
    decoded_in: list[int] = []

    def decode(records: Records[ListedModel], number: int) -> ListedModel | None:
        decoded_in.append(threading.get_ident())
        return at(records, number)

    at = Records.decode
    monkeypatch.setattr(Records, "decode", decode)
    assert len(await Catalog(service).models()) == 2
    assert len(decoded_in) >= 2
    assert here not in decoded_in


async def test_listings_are_cached_apart(service: Service) -> None:
    """Each listing is fetched once in its lifetime, detailed and brief records apart."""
    clock = Clock()
    catalog = Catalog(service, ttl_s=60, clock=clock)
    for _ in range(2):
        assert len(await catalog.image_models()) == 3
        assert len(await catalog.image_models(detailed=False)) == 3
        assert len(await catalog.models()) == 2
    assert service.asked == [IMAGE_MODELS, IMAGE_MODELS, MODELS]
    assert service.params == [{"detailed": "true"}, {"detailed": "false"}, None]
    clock.now = 60
    await catalog.models()
    await catalog.image_models(refresh=True)
    assert service.asked[3:] == [MODELS, IMAGE_MODELS]


async def test_a_cold_catalogue_asks_once_per_listing(service: Service) -> None:
    """1,000 concurrent callers of a cold catalogue cause one request per listing."""
    service.gate = asyncio.Event()
    catalog = Catalog(service)
    callers = [asyncio.create_task(catalog.get("gpt-image-2")) for _ in range(1000)]
    for _ in range(10):
        await asyncio.sleep(0)
    service.gate.set()
    models = await asyncio.gather(*callers)
    assert sorted(service.asked) == [IMAGE_MODELS, MODELS]
    assert len({id(model) for model in models}) == 1


async def test_both_listings_are_fetched_at_the_same_time(service: Service) -> None:
    """`list` does not wait for one listing before it asks for the other."""
    service.gate = asyncio.Event()
    caller = asyncio.create_task(Catalog(service).list())
    for _ in range(10):
        await asyncio.sleep(0)
    assert sorted(service.asked) == [IMAGE_MODELS, MODELS]
    service.gate.set()
    assert len(await caller) == 4


async def test_a_warm_get_does_no_work(service: Service) -> None:
    """The joined view is made once; `get` and `cached` hand out the same model until it expires."""
    clock = Clock()
    catalog = Catalog(service, ttl_s=60, clock=clock)
    assert catalog.cached("gpt-image-2") is None
    model = await catalog.get("gpt-image-2")
    assert await catalog.get("gpt-image-2") is model
    assert catalog.cached("gpt-image-2") is model
    assert (await catalog.list())[0] is model
    assert len(service.asked) == 2
    clock.now = 60
    assert catalog.cached("gpt-image-2") is None


async def test_refresh_shows_new_models(service: Service) -> None:
    """`refresh=True` fetches both listings and joins them anew."""
    catalog = Catalog(service)
    await catalog.list()
    service.bodies[MODELS] = [{"id": "new-model"}]
    assert (await catalog.get("new-model", refresh=True)).listed_in == ("images/models",)
    assert catalog.cached("new-model") is not None
    assert len(service.asked) == 4


@pytest.mark.parametrize(
    ("wrong", "near"),
    [("gpt-imag-2", "gpt-image-2"), ("GPT-Image-2", "gpt-image-2"), ("turbo", "krea-v2/turbo")],
)
async def test_an_unknown_model_names_near_matches(service: Service, wrong: str, near: str) -> None:
    """The error names what may have been meant and that nothing was sent."""
    with pytest.raises(NotFoundError) as caught:
        await Catalog(service).get(wrong)
    error = caught.value
    assert (error.status, error.code, error.charge) == (404, "model_not_found", Charge.NOT_SENT)
    assert f"near matches: {near}" in str(error)
    assert str(error).endswith("Nothing was sent.")


async def test_an_unknown_model_without_near_matches(service: Service) -> None:
    """Where nothing is spelt alike the error says how to find the models."""
    with pytest.raises(NotFoundError, match=r"catalog\.list\(\)"):
        await Catalog(service).get("zzz")


@pytest.mark.parametrize("down", [IMAGE_MODELS, MODELS])
async def test_one_listing_is_enough(service: Service, caplog: pytest.LogCaptureFixture, down: str) -> None:
    """Where one listing was never had, the other alone is used and marked; a while later it is asked for again."""
    clock = Clock()
    whole, service.bodies[down] = service.bodies[down], ConnectError("refused")
    catalog = Catalog(service, clock=clock)
    with caplog.at_level(logging.WARNING, "nanogpt_images.catalog"):
        models = await catalog.list()
    assert 0 < len(models) < 4
    assert all(model.partial for model in models)
    assert caplog.text.count("refused") == 1
    for model in models * 20:
        assert catalog.cached(model.id) is await catalog.get(model.id) is model
        with pytest.raises(ConnectError):
            await catalog.get("in the other listing, perhaps")
    assert caplog.text.count("refused") == 1
    assert len(service.asked) == 2
    service.bodies[down] = whole
    clock.now = 30
    models = await catalog.list()
    assert len(models) == 4
    assert not any(model.partial for model in models)
    assert service.asked.count(down) == 2
    assert len(service.asked) == 3


@pytest.mark.parametrize("down", [IMAGE_MODELS, MODELS])
async def test_a_model_may_be_in_the_listing_that_is_missing(service: Service, down: str) -> None:
    """With one listing alone nothing can be said of a model that it does not hold: the other's failure is raised."""
    service.bodies[down] = ConnectError("refused")
    with pytest.raises(ConnectError, match="refused"):
        await Catalog(service).get("no such model")


async def test_a_listing_that_is_not_found_is_no_missing_model(service: Service) -> None:
    """A 404 for the listings themselves is not told as one of the model that was asked for."""
    missing = NotFoundError("the service answered 404", status=404)
    service.bodies = {IMAGE_MODELS: missing, MODELS: missing}
    with pytest.raises(
        StatusError, match="the catalogue is not available: the service answered 404"
    ) as caught:
        await Catalog(service).get("gpt-image-2")
    assert not isinstance(caught.value, NotFoundError)


async def test_both_listings_down(service: Service) -> None:
    """Without any listing the error of the request is raised."""
    service.bodies = {IMAGE_MODELS: ConnectError("refused"), MODELS: ConnectError("refused")}
    catalog = Catalog(service)
    for _ in range(20):
        with pytest.raises(ConnectError):
            await catalog.get("gpt-image-2")
    assert sorted(service.asked) == [IMAGE_MODELS, MODELS]


@pytest.mark.parametrize("failure", [ConnectError("refused"), "<html>", {"error": "maintenance"}])
async def test_a_failed_refresh_serves_stale_models(service: Service, failure: object) -> None:
    """In an outage the last known state goes on, marked as stale, until a refresh succeeds."""
    clock = Clock()
    catalog = Catalog(service, ttl_s=60, clock=clock)
    await catalog.list()
    good, service.bodies[MODELS] = service.bodies[MODELS], failure
    clock.now = 1000
    assert [model.stale for model in await catalog.list()] == [True, True, False, False]
    assert (await catalog.models()).stale
    assert (await catalog.get("krea-v2/turbo")).stale
    assert catalog.cached("krea-v2/turbo") is await catalog.get("krea-v2/turbo")
    assert service.asked.count(MODELS) == 2
    service.bodies[MODELS] = good
    clock.now = 1030
    assert not any(model.stale for model in await catalog.list())


async def test_a_garbled_listing_is_an_error(service: Service) -> None:
    """A cold catalogue does not pretend that a body without models is an empty listing."""
    service.bodies[MODELS] = "<html>"
    with pytest.raises(ResponseDecodeError):
        await Catalog(service).models()


async def test_endpoints_are_cached_by_model(service: Service) -> None:
    """The endpoint metadata of a model is fetched once; an ID without slashes needs no listing."""
    catalog = Catalog(service)
    for _ in range(2):
        assert (await catalog.endpoints("gpt-image-2")).endpoints[0].provider_slug == "openai"
    assert service.asked == [f"{MODELS}/gpt-image-2/endpoints"]
    service.bodies[service.asked[0]] = ConnectError("refused")
    assert (await catalog.endpoints("gpt-image-2", refresh=True)).stale


async def test_the_returned_endpoints_path_is_followed(service: Service) -> None:
    """An ID with slashes is looked up in images/models for the path that the service returns."""
    service.bodies[MODELS] = [{"id": "a/b", "endpoints": "/api/v1/elsewhere/a%2Fb"}]
    service.bodies["/api/v1/elsewhere/a%2Fb"] = {"endpoints": []}
    assert (await Catalog(service).endpoints("a/b")).id == "a/b"
    assert service.asked == [MODELS, "/api/v1/elsewhere/a%2Fb"]


@pytest.mark.parametrize(
    "returned",
    [
        "https://elsewhere.example/api/v1/images/models/a/b/endpoints",
        "//elsewhere.example/endpoints",
        "/\\elsewhere.example/endpoints",
        "/api/../../secrets",
        "endpoints",
        "/api/v1/\nHost: x",
        "",
        None,
    ],
)
async def test_an_endpoints_url_elsewhere_is_not_followed(service: Service, returned: str | None) -> None:
    """Only a plain path is followed; the key never goes to another origin."""
    service.bodies[MODELS] = [{"id": "a/b", "endpoints": returned}]
    service.bodies[f"{MODELS}/a/b/endpoints"] = {"endpoints": []}
    await Catalog(service).endpoints("a/b")
    assert service.asked == [MODELS, f"{MODELS}/a/b/endpoints"]


@pytest.mark.parametrize(
    ("model_id", "path"),
    [
        ("runware:106@1", f"{MODELS}/runware:106@1/endpoints"),
        ("sd3_base_medium.safetensors", f"{MODELS}/sd3_base_medium.safetensors/endpoints"),
        ("what?#%", f"{MODELS}/what%3F%23%25/endpoints"),
        ("a/b c", f"{MODELS}/a/b%20c/endpoints"),
    ],
)
async def test_a_path_is_made_of_the_id(service: Service, model_id: str, path: str) -> None:
    """Where no path is known, slashes, colons and at signs stay and the rest is escaped."""
    service.bodies = {MODELS: ConnectError("refused"), path: {"endpoints": []}}
    await Catalog(service).endpoints(model_id)
    assert service.asked[-1] == path


@pytest.mark.parametrize("model_id", ["", "..", "../../check-balance", "a/./b"])
async def test_an_id_cannot_name_another_path(service: Service, model_id: str) -> None:
    """An ID with dot segments is refused before anything is sent."""
    with pytest.raises(ParameterError, match="Nothing was sent"):
        await Catalog(service).endpoints(model_id)
    assert service.asked == []


async def test_closing_ends_what_is_under_way(service: Service) -> None:
    """No request outlives the catalogue."""
    service.gate = asyncio.Event()
    catalog = Catalog(service)
    before = asyncio.all_tasks()
    caller = asyncio.create_task(catalog.list())
    for _ in range(10):
        await asyncio.sleep(0)
    await catalog.aclose()
    with pytest.raises(TransportError, match="closed"):
        await caller
    assert asyncio.all_tasks() == before


async def test_a_cancelled_call_leaves_nothing_behind(service: Service) -> None:
    """Cancelling the only caller of `list` cancels both requests."""
    service.gate = asyncio.Event()
    catalog = Catalog(service)
    before = asyncio.all_tasks()
    caller = asyncio.create_task(catalog.list())
    for _ in range(10):
        await asyncio.sleep(0)
    caller.cancel()
    with pytest.raises(asyncio.CancelledError):
        await caller
    assert asyncio.all_tasks() == before


def test_one_catalogue_serves_event_loops_one_after_another(service: Service) -> None:
    """What was cached under one loop is served under the next."""
    catalog = Catalog(service)
    assert asyncio.run(catalog.get("gpt-image-2")) is asyncio.run(catalog.get("gpt-image-2"))
    assert len(service.asked) == 2
