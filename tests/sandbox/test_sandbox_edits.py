"""The route of edits, as the documents describe it: forms, JSON, errors, and masks that are honoured."""

from __future__ import annotations

import base64
import io

import aiohttp
import documented
import jsonschema
import pytest
from pictures import changed_outside, clear_mask, mask, plain

PATHS = ["/api/v1/images/edits", "/api/v1/images/edit", "/v1/images/edits", "/v1/images/edit"]
INPAINTING = "flux-lora/inpainting"


def data_url(data: bytes) -> str:
    return f"data:image/png;base64,{base64.b64encode(data).decode()}"


def form(*images: bytes | str | io.BytesIO, **fields: object) -> aiohttp.FormData:
    """A form with these images; text is a link or a data URL."""
    made = aiohttp.FormData(default_to_multipart=True)
    for name, value in {"prompt": "a hat", "model": INPAINTING, **fields}.items():
        if isinstance(value, bytes):
            made.add_field(name, value, filename=f"{name}.png", content_type="image/png")
        elif value is not None:
            made.add_field(name, str(value))
    for image in images:
        name = "image" if len(images) == 1 else "image[]"
        made.add_field(name, image, **({} if isinstance(image, str) else {"filename": "in.png"}))
    return made


def image_of(reply) -> bytes:
    jsonschema.Draft202012Validator(documented.GENERATION).validate(reply.json)
    return base64.b64decode(reply.json["data"][0]["b64_json"])


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("make_mask", [mask, clear_mask])
async def test_a_mask_is_honoured(open_api, path, make_mask):
    """As a form and as JSON, on every path, pixels outside the mask come back as they were."""
    async with open_api() as api:
        replies = [
            await api.post(path, data=form(plain(), mask=make_mask())),
            await api.post(path, data=form(data_url(plain()), mask=data_url(make_mask()))),
            await api.post(
                path,
                json={
                    "prompt": "a hat",
                    "model": INPAINTING,
                    "imageDataUrl": data_url(plain()),
                    "maskDataUrl": data_url(make_mask()),
                },
            ),
        ]
        files = [image_of(reply) for reply in replies]
        assert [changed_outside(file) for file in files] == [0, 0, 0]
        assert len(set(files)) == 1
        assert [entry.route for entry in api.sandbox.ledger.billed] == ["edit"] * 3


async def test_several_images_and_no_model(open_api):
    """Repeated `image[]` and `imageDataUrls` are several inputs; without a model an edit-capable one is taken."""
    async with open_api() as api:
        replies = [
            await api.post(PATHS[0], data=form(plain(), plain(), model=None, n="1")),
            await api.post(PATHS[0], json={"prompt": "a hat", "imageDataUrls": [data_url(plain())] * 3}),
            await api.post(PATHS[0], data=form("https://example.com/in.png", model=None)),
        ]
        assert [reply.status for reply in replies] == [200] * 3
        assert {entry.model for entry in api.sandbox.ledger.billed} == {"qwen-image-edit"}


@pytest.mark.parametrize(
    ("request_of", "status", "code"),
    [
        (lambda: {"data": form()}, 400, "missing_image_input"),
        (lambda: {"json": {"prompt": "a hat"}}, 400, "missing_image_input"),
        (lambda: {"data": form(plain(), prompt=None)}, 400, "prompt is required."),
        (lambda: {"data": form(plain(), plain())}, 400, "IMAGE_INPUT_TOO_MANY"),
        (lambda: {"data": form(io.BytesIO(b"\x89PNG" + b"\0" * 31_457_280))}, 413, "image_input_too_large"),
        (lambda: {"data": form(plain(), mask=mask((3, 3)))}, 400, "invalid_mask"),
        (lambda: {"data": form(b"no image")}, 400, "invalid_image_input"),
        (lambda: {"json": {"prompt": "a hat", "imageDataUrl": "in.png"}}, 400, "invalid_image_input"),
        (lambda: {"data": form(plain(), model="nope")}, 404, "model_not_found"),
        (lambda: {"data": form(plain(), n="two")}, 400, 400),
        (lambda: {"data": form(plain(), size="7x7")}, 400, "invalid_resolution"),
        (lambda: {"data": b"a=b", "type": "multipart/form-data"}, 400, "invalid_multipart_body"),
        (lambda: {"data": b"x", "type": "multipart/form-data; boundary=b"}, 400, "invalid_multipart_body"),
        (
            lambda: {"data": b"--b\r\n\r\nx\r\n--b--", "type": "multipart/form-data; boundary=b"},
            400,
            "invalid_multipart_body",
        ),
        (
            lambda: {
                "data": b'--b\r\nContent-Disposition: form-data; name="prompt"\r\n\r\nx',
                "type": "multipart/form-data; boundary=b",
            },
            400,
            "invalid_multipart_body",
        ),
        (lambda: {"data": b"x", "type": "text/plain"}, 400, "invalid_content_type"),
    ],
)
async def test_refusals(open_api, request_of, status, code):
    """What is refused costs nothing, and says why with the documented code where there is one."""
    wanted = request_of()
    async with open_api() as api:
        headers = {"Authorization": f"Bearer {api.sandbox.api_key}"}
        if kind := wanted.pop("type", None):
            headers["Content-Type"] = kind
        reply = await api.post(PATHS[0], headers=headers, **wanted)
        assert (reply.status, reply.code) == (status, code)
        assert api.sandbox.ledger.total_usd == 0


async def test_edit_uploads_count_against_the_limit(open_api):
    """The per-second limit holds for edits too."""
    async with open_api(requests_per_second=1) as api:
        assert (await api.post(PATHS[0], data=form(plain()))).status == 200
        assert (await api.post(PATHS[0], data=form(plain()))).code == "rate_limit_exceeded"
