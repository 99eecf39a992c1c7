"""Requests are checked as the documents say, and each refusal has its documented body."""

from __future__ import annotations

import base64
import io
import json

import pytest

PNG = "data:image/png;base64," + base64.b64encode(b"\x89PNG\r\n\x1a\n" + b"\0" * 40).decode()
LIES = PNG.replace("image/png", "image/jpeg")
LINK = "https://example.com/reference.png"


@pytest.mark.parametrize(
    ("fields", "status", "code"),
    [
        ({"model": None}, 400, "missing_model"),
        ({"model": "no-such-model"}, 404, "model_not_found"),
        ({"prompt": None}, 400, "prompt is required."),
        ({"prompt": "  "}, 400, "prompt is required."),
        ({"stream": True}, 400, "unsupported_stream"),
        ({"provider": {"order": ["x"]}}, 400, "unsupported_provider_options"),
        ({"input_references": "text"}, 400, "invalid_input_references"),
        ({"input_references": [7]}, 400, "invalid_input_references"),
        ({"input_references": [{"type": "image_url"}]}, 400, "invalid_input_references"),
        ({"model": "restyle", "input_references": [LINK], "imageDataUrl": PNG}, 400, "conflicting_image_inputs"),
        ({"model": "restyle", "input_references": [LINK], "images": [PNG]}, 400, "conflicting_image_inputs"),
        ({"model": "restyle", "input_references": [LINK] * 5}, 400, "IMAGE_INPUT_TOO_MANY"),
        ({"input_references": [LINK]}, 400, "IMAGE_INPUT_TOO_MANY"),
        ({"model": "qwen-image-edit"}, 400, "invalid_input_references"),
        ({"model": "short-prompts", "prompt": "x" * 201}, 400, "prompt_too_long"),
        ({"model": "short-prompts", "prompt": "🦊" * 101}, 400, "prompt_too_long"),
        ({"resolution": "1000x1000"}, 400, "invalid_resolution"),
        ({"model": "tiers/quality", "quality": "ultra"}, 400, "invalid_quality"),
        ({"model": "krea-v2/turbo", "aspect_ratio": "7:1"}, 400, "invalid_aspect_ratio"),
        ({"model": "tiers/quality", "output_format": "gif"}, 400, "invalid_output_format"),
        ({"n": 5}, 400, 400),
        ({"n": 0}, 400, 400),
        ({"n": "2"}, 400, 400),
        ({"n": True}, 400, 400),
        ({"model": "pairs-and-more", "n": 1}, 400, 400),
        ({"model": "midjourney-like/grid", "n": 4}, 400, 400),
        ({"model": "restyle", "input_references": [LIES]}, 413, "The image claims image/jpeg but its bytes are image/png."),
    ],
)  # fmt: skip
async def test_refusals_of_the_image_api(open_api, fields, status, code):
    """A request that the service would refuse is refused with its status and code, and nothing is billed."""
    async with open_api() as api:
        reply = await api.images(**fields)
        assert (reply.status, reply.code) == (status, code)
        assert reply.headers["X-Request-ID"]
        assert api.sandbox.ledger.entries == []


@pytest.mark.parametrize(
    ("fields", "code"),
    [
        ({"model": "restyle", "imageDataUrl": LINK}, "invalid_image_input"),
        ({"size": "9x9"}, "invalid_resolution"),
        ({"strength": 1.5}, "invalid_strength"),
        ({"guidance_scale": -1}, "invalid_guidance_scale"),
        ({"num_inference_steps": 0}, "invalid_num_inference_steps"),
    ],
)
async def test_refusals_of_the_openai_route(open_api, fields, code):
    """The OpenAI-compatible route refuses with the OpenAI body: `param`, and no outer `code`."""
    async with open_api() as api:
        reply = await api.openai(**fields)
        assert (reply.status, reply.code) == (400, code)
        assert "param" in reply.json["error"]
        assert "code" not in reply.json


async def test_image_api_body_shape(open_api):
    """A documented Image API refusal carries its code twice and names the parameter."""
    async with open_api() as api:
        reply = await api.images(model=None)
        assert reply.json["code"] == "missing_model"
        assert reply.json["error"]["parameter"] == "model"
        assert set(reply.json["error"]) == {"message", "type", "code", "parameter"}


async def test_request_id_in_body(open_api):
    """The shape that repeats the request ID repeats the one of its header."""
    async with open_api() as api:
        reply = await api.images(input_references=[LINK])
        assert reply.json["requestId"] == reply.headers["X-Request-ID"]


async def test_content_type(open_api):
    """Anything but application/json is `invalid_content_type`."""
    async with open_api() as api:
        headers = {"x-api-key": api.sandbox.api_key, "Content-Type": "text/plain"}
        reply = await api.post("/api/v1/images", data=b"{}", headers=headers)
        assert (reply.status, reply.code) == (400, "invalid_content_type")


@pytest.mark.parametrize("raw", [b"{", b"[]", b"", b"\xff\xfe"])
async def test_not_a_json_object(open_api, raw):
    """A body that is not a JSON object is refused, not a crash."""
    async with open_api() as api:
        headers = {"x-api-key": api.sandbox.api_key, "Content-Type": "application/json"}
        reply = await api.post("/api/v1/images", data=raw, headers=headers)
        assert (reply.status, reply.code) == (400, "invalid_json")


@pytest.mark.parametrize(
    ("headers", "code"),
    [
        ({}, "missing_api_key"),
        ({"Authorization": "Bearer "}, "missing_api_key"),
        ({"Authorization": "Bearer hello"}, "invalid_api_key"),
        ({"x-api-key": "sk-nano-"}, "invalid_api_key"),
    ],
)
async def test_keys_are_required(open_api, headers, code):
    """Generation without a well-formed key is 401; the code says whether it was missing."""
    async with open_api() as api:
        reply = await api.post("/api/v1/images", json={"model": "hidream", "prompt": "x"}, headers=headers)
        assert (reply.status, reply.code) == (401, code)


@pytest.mark.parametrize(
    "headers",
    [
        {"Authorization": "Bearer sk-nano-1b4e28ba-2fa1-11d2-883f-0016d3cca427"},
        {"authorization": "bearer 1b4e28ba-2fa1-11d2-883f-0016d3cca427"},
        {"x-api-key": "sk-nano-anything-goes"},
    ],
)
async def test_well_formed_keys_pass(open_api, headers):
    """Both headers and both forms of key are accepted."""
    async with open_api() as api:
        reply = await api.post(
            "/api/v1/images", json={"model": "tiny-and-fast", "prompt": "x"}, headers=headers
        )
        assert reply.status == 200


async def test_one_key_only(open_api):
    """With `key` set, another well-formed key is refused."""
    async with open_api(key="sk-nano-mine") as api:
        assert (await api.images()).status == 200
        reply = await api.post("/api/v1/images", json={}, headers={"x-api-key": "sk-nano-yours"})
        assert (reply.status, reply.code) == (401, "invalid_api_key")


async def test_balance(open_api):
    """A request dearer than the balance is 402 with the price that was required, and the balance stays."""
    async with open_api(balance_usd=0.1) as api:
        reply = await api.images(model="gpt-image-2", n=2)
        assert reply.status == 402
        assert reply.json == {"error": "Insufficient balance", "requiredBalance": 0.13102, "status": 402}
        assert (await api.images(model="gpt-image-2", n=1)).status == 200
        assert (await api.images(model="gpt-image-2", n=1)).status == 402


@pytest.mark.parametrize("chunked", [False, True])
async def test_body_limit(open_api, chunked):
    """A body above 4.4 MB gets the plain-text 413 of the edge, whether or not it announces its length."""
    body = json.dumps({"model": "hidream", "prompt": "x" * 4_500_000}).encode()

    async def pieces():
        for start in range(0, len(body), 65_536):
            yield body[start : start + 65_536]

    async with open_api() as api:
        headers = {"x-api-key": api.sandbox.api_key, "Content-Type": "application/json"}
        reply = await api.post(
            "/api/v1/images", data=pieces() if chunked else io.BytesIO(body), headers=headers
        )
        assert reply.status == 413
        assert reply.headers["Content-Type"].startswith("text/plain")
        assert reply.body == b"Request Entity Too Large\nFUNCTION_PAYLOAD_TOO_LARGE"


async def test_openai_upload_limit(open_api):
    """On the OpenAI-compatible route uploads above 4 MB after encoding are 413 as JSON."""
    async with open_api() as api:
        body = json.dumps({"model": "restyle", "prompt": "x", "imageDataUrl": PNG + "A" * 4_250_000}).encode()
        headers = {"x-api-key": api.sandbox.api_key, "Content-Type": "application/json"}
        reply = await api.post("/v1/images/generations", data=io.BytesIO(body), headers=headers)
        assert (reply.status, reply.code) == (413, "IMAGE_INPUT_TOO_LARGE")
        assert reply.json.keys() == {"error", "type", "code", "requestId"}


@pytest.mark.parametrize(
    ("fields", "count"),
    [
        ({}, 1),
        ({"n": 3}, 3),
        ({"n": 1, "nImages": 2}, 2),
        ({"n": 99, "nImages": 2}, 2),
        ({"model": "pairs-and-more"}, 2),
        ({"model": "midjourney-like/grid"}, 4),
    ],
)
async def test_image_counts(open_api, fields, count):
    """`nImages` beats `n`; without either a model draws its default, and a fixed-count model its fixed number."""
    async with open_api() as api:
        reply = await api.images(**fields)
        assert len(reply.json["data"]) == count
        assert api.sandbox.ledger.entries[0].images == count


async def test_success_body(open_api):
    """A success has the documented fields, and images that decode."""
    async with open_api(clock=lambda: 1_760_000_000.5) as api:
        reply = await api.images(model="gpt-image-2", quality="medium", resolution="1024x1024", n=1)
        assert reply.json["created"] == 1_760_000_000
        assert reply.json["cost"] == 0.06551
        assert reply.json["paymentSource"] == "USD"
        assert reply.json["remainingBalance"] == 99.93449  # 100 less the cost
        assert base64.b64decode(reply.json["data"][0]["b64_json"]).startswith(b"\x89PNG")


async def test_default_model_of_the_openai_route(open_api):
    """Without a model the OpenAI-compatible route draws with hidream."""
    async with open_api() as api:
        assert (await api.openai(model=None)).status == 200
        assert api.sandbox.ledger.entries[0].model == "hidream"


async def test_references_are_accepted(open_api):
    """All documented forms of `input_references` pass, and the legacy alias does."""
    forms = [LINK, PNG, {"type": "image_url", "image_url": {"url": LINK}}]
    async with open_api() as api:
        assert (await api.images(model="gpt-image-2", input_references=forms)).status == 200
        assert (await api.images(model="restyle", imageDataUrls=[PNG, PNG])).status == 200


async def test_openai_package(open_api):
    """The official openai package reads both deliveries."""
    openai = pytest.importorskip("openai")
    async with open_api() as api:
        client = openai.AsyncOpenAI(
            api_key=api.sandbox.api_key, base_url=api.sandbox.url + "/v1", max_retries=0
        )
        async with client:
            inline = await client.images.generate(model="hidream", prompt="a red fox", size="1024x1024")
            linked = await client.images.generate(model="hidream", prompt="a red fox", response_format="url")
        assert base64.b64decode(inline.data[0].b64_json) == (await api.get(linked.data[0].url)).body
