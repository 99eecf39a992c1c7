"""
The sandbox, and the bodies that the client sends, held against the documents of the service.

The sandbox stands in for the service, and most tests hold the client against it: a mistake that both share would show in
none of them. These schemas are written from the documents alone.
"""

from __future__ import annotations

import json

import documented
import jsonschema
import pytest

from nanogpt_images import GenerateRequest, OpenAIRequest
from nanogpt_images.sandbox import Fault
from nanogpt_images.wire.requests import encode_body

PNG = "data:image/png;base64,iVBORw0KGgoAAAANSUhEUgAA"


def check(body: object, schema: documented.Schema) -> None:
    """Fail with the place where *body* is not as documented."""
    jsonschema.Draft202012Validator(schema).validate(body)


def documented_models(body: dict) -> dict:
    """*body* without the models that are there to be of no documented shape."""
    return {**body, "data": [entry for entry in body["data"] if not entry["id"].startswith("odd/")]}


@pytest.mark.parametrize(
    ("path", "schema"),
    [
        ("/api/v1/image-models", documented.IMAGE_MODELS),
        ("/api/v1/image-models?detailed=true", documented.IMAGE_MODELS),
        ("/api/v1/image-models?detailed=false", documented.BASIC_IMAGE_MODELS),
        ("/api/v1/images/models", documented.LISTED_MODELS),
    ],
)
async def test_listings(open_api, path, schema):
    """Both listings, in full and in brief."""
    async with open_api() as api:
        check(documented_models((await api.get(path)).json), schema)


async def test_endpoints_of_every_model(open_api):
    """The endpoint metadata of each model, at the path that its listing gives."""
    async with open_api() as api:
        for entry in documented_models((await api.get("/api/v1/images/models")).json)["data"]:
            check((await api.get(entry["endpoints"])).json, documented.ENDPOINTS)


@pytest.mark.parametrize("path", ["/api/v1/images", "/v1/images/generations", "/api/v1/images/generations"])
@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"n": 2, "seed": 3},
        {"response_format": "url"},
        {"model": "fixed-one", "n": 1},
        {"model": "fixed-four-flat"},
    ],
)
async def test_successes(open_api, path, fields):
    """A success on every path of a generation, with bytes and with URLs."""
    async with open_api() as api:
        reply = await api.post(path, json={"model": "tiny-and-fast", "prompt": "a red fox", **fields})
        assert reply.status == 200
        check(reply.json, documented.GENERATION)
        assert ("url" in reply.json["data"][0]) == ("response_format" in fields and path != "/api/v1/images")


REFUSALS = [
    ("images", {"model": None}, 400, "missing_model", documented.IMAGE_API_ERROR),
    ("images", {"input_references": 5}, 400, "invalid_input_references", documented.IMAGE_API_ERROR),
    (
        "images",
        {"model": "restyle", "input_references": [PNG], "imageDataUrl": PNG},
        400,
        "conflicting_image_inputs",
        documented.IMAGE_API_ERROR,
    ),
    ("images", {"stream": True}, 400, "unsupported_stream", documented.IMAGE_API_ERROR),
    (
        "images",
        {"provider": {"only": ["x"]}},
        400,
        "unsupported_provider_options",
        documented.IMAGE_API_ERROR,
    ),
    ("openai", {"provider": {"only": ["x"]}}, 400, "unsupported_provider_options", documented.OPENAI_ERROR),
    ("images", {"model": "nope"}, 404, "model_not_found", documented.OPENAI_ERROR),
    ("openai", {"model": "nope"}, 404, "model_not_found", documented.OPENAI_ERROR),
    (
        "images",
        {"model": "short-prompts", "prompt": "x" * 201},
        400,
        "prompt_too_long",
        documented.TEXT_ERRORS,
    ),
    ("images", {"input_references": [PNG]}, 400, "IMAGE_INPUT_TOO_MANY", documented.TEXT_ERRORS),
    ("images", {"prompt": None}, 400, "prompt is required.", documented.TEXT_ERRORS),
]


@pytest.mark.parametrize(("route", "fields", "status", "code", "schema"), REFUSALS)
async def test_refusals(open_api, route, fields, status, code, schema):
    """A request that the documents exclude gets the documented status, code and body, and is not billed."""
    async with open_api() as api:
        reply = await getattr(api, route)(**fields)
        assert (reply.status, reply.code) == (status, code)
        check(reply.json, schema)
        assert not api.sandbox.ledger.billed


@pytest.mark.parametrize(
    ("kind", "status", "schema"),
    [
        ("400", 400, documented.IMAGE_API_ERROR),
        ("content_policy", 400, documented.IMAGE_API_ERROR),
        ("401", 401, documented.OPENAI_ERROR),
        ("402", 402, documented.BALANCE_ERROR),
        ("402_quote", 402, documented.QUOTE_ERROR),
        ("403", 403, documented.IMAGE_API_ERROR),
        ("404", 404, documented.OPENAI_ERROR),
        ("409", 409, documented.IMAGE_API_ERROR),
        ("429", 429, documented.OPENAI_ERROR),
        ("429_daily", 429, documented.OPENAI_ERROR),
        ("429_daily_usd", 429, documented.OPENAI_ERROR),
        ("500", 500, documented.OPENAI_ERROR),
        ("503", 503, documented.IMAGE_API_ERROR),
        ("503_limiter", 503, documented.IMAGE_API_ERROR),
    ],
)
async def test_errors_on_demand(open_api, kind, status, schema):
    """Every error that a fault answers with, where the documents have one."""
    async with open_api(faults=[Fault(kind)]) as api:
        reply = await api.images()
        assert reply.status == status
        check(reply.json, schema)


async def test_no_key_and_no_json(open_api):
    """401 without a key, 400 for another content type."""
    async with open_api() as api:
        reply = await api.send("POST", "/api/v1/images", json={"model": "tiny-and-fast", "prompt": "x"})
        assert (reply.status, reply.code) == (401, "missing_api_key")
        check(reply.json, documented.OPENAI_ERROR)
        reply = await api.post("/api/v1/images", data=b"prompt=x")
        assert (reply.status, reply.code) == (400, "invalid_content_type")
        check(reply.json, documented.IMAGE_API_ERROR)


async def test_a_single_input_is_read_from_its_own_field(open_api):
    """A model with one input image takes `imageDataUrl` and does not look at `imageDataUrls`."""
    async with open_api() as api:
        fields = {"model": "flux-lora/inpainting", "maskDataUrl": PNG}
        assert (await api.openai(**fields, imageDataUrl=PNG)).status == 200
        assert (await api.openai(**fields, imageDataUrls=[PNG])).status == 400


async def test_a_stream_on_the_compatible_route(open_api):
    """`stream: true` there is answered with events, the last of which holds a documented body."""
    async with open_api() as api:
        reply = await api.openai(stream=True)
        assert reply.headers["Content-Type"] == "text/event-stream"
        last = reply.body.decode().strip().splitlines()[-1]
        check(json.loads(last.removeprefix("data: ")), documented.GENERATION)


# Strict once the sandbox answers with all that the pages of the account show.


async def test_balance(open_api):
    """The balance of a key."""
    async with open_api() as api:
        headers = {"x-api-key": api.sandbox.api_key}
        check((await api.send("POST", "/api/check-balance", headers=headers)).json, documented.BALANCE)


@pytest.mark.parametrize("query", ["", "?group_by=model", "?group_by=day", "?group_by=day,model"])
async def test_usage(open_api, query):
    """The usage of a key, in every grouping."""
    async with open_api() as api:
        await api.images()
        headers = {"Authorization": f"Bearer {api.sandbox.api_key}"}
        check((await api.get(f"/api/v1/usage{query}", headers=headers)).json, documented.USAGE)


REQUESTS = [
    (GenerateRequest(model="m", prompt="p"), [], None),
    (GenerateRequest(model="m", input_references=["a"]), [PNG], None),
    (
        GenerateRequest(
            model="m",
            prompt="p",
            n=2,
            resolution="1k",
            aspect_ratio="1:1",
            quality="low",
            output_format="png",
            seed=1,
        ),
        ["https://example.org/a.png", PNG],
        None,
    ),
    (OpenAIRequest(prompt="p"), [], None),
    (OpenAIRequest(prompt="p", image_data_url="a"), [PNG], None),
    (OpenAIRequest(prompt="p", image_data_urls=["a"]), [PNG], PNG),
    (OpenAIRequest(image_data_urls=["a", "b"]), [PNG, PNG], None),
    (
        OpenAIRequest(
            prompt="p",
            n=1,
            size="auto",
            response_format="url",
            user="u",
            strength=1,
            guidance_scale=7.5,
            num_inference_steps=30,
            seed=2,
            kontext_max_mode=True,
        ),
        [],
        None,
    ),
]


@pytest.mark.parametrize(("request_", "references", "mask"), REQUESTS)
def test_bodies_that_the_client_sends(request_, references, mask):
    """Every field of a request goes out under its documented name and in its documented form."""
    schema = documented.IMAGES_REQUEST if request_.route == "images" else documented.OPENAI_REQUEST
    check(json.loads(encode_body(request_, references, mask)), schema)
