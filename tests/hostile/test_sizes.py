"""Limits of size through the whole flow: a typed error that names the limit, and whether money moved."""

from __future__ import annotations

import base64
import struct
import tracemalloc
import zlib
from pathlib import Path

import PIL.Image
import pytest
from fakes import QUICK, Reply, ScriptedTransport, connected

from nanogpt_images import (
    AsyncClient,
    Charge,
    DownloadError,
    ParameterError,
    ReferenceImageError,
    ResponseDecodeError,
)
from nanogpt_images.sandbox import Fault

MODEL = "tiny-and-fast"
MIB = 2**20


def scripted(*script: Reply) -> AsyncClient:
    return AsyncClient(
        "sk-nano",
        "http://127.0.0.1:9",
        transport=ScriptedTransport(*script),
        requests_per_second=None,
        retry=QUICK,
    )


def huge_png(width: int = 100_000, height: int = 100_000) -> bytes:
    """A PNG of some bytes that claims to be of many pixels."""
    header = b"IHDR" + struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    data = b"IDAT" + zlib.compress(b"\0" * 1000)
    chunks = (
        struct.pack(">I", len(chunk) - 4) + chunk + struct.pack(">I", zlib.crc32(chunk))
        for chunk in (header, data, b"IEND")
    )
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunks)


@pytest.fixture
def no_decoding(monkeypatch: pytest.MonkeyPatch) -> None:
    """Opening an image fails the test."""

    def refuse(*args: object, **options: object) -> None:
        raise AssertionError("an image was opened")

    monkeypatch.setattr(PIL.Image, "open", refuse)


@pytest.mark.parametrize("to_disk", [False, True])
async def test_an_image_without_end_is_refused(to_disk: bool, tmp_path: Path) -> None:
    """An image above `max_image_bytes` ends its answer: it was charged, and no file is left."""
    async with connected(Fault("endless_body"), max_image_bytes=MIB) as (client, sandbox):
        images = client.images
        call = (
            images.generate_to(tmp_path, "p", model=MODEL) if to_disk else images.generate("p", model=MODEL)
        )
        with pytest.raises(
            ResponseDecodeError, match=r"larger than 1048576 bytes\. It was charged"
        ) as caught:
            await call
        assert len(sandbox.ledger.posts) == 1
    assert caught.value.charge is Charge.CHARGED
    assert not list(tmp_path.iterdir())


async def test_a_body_without_images_is_bounded() -> None:
    """What is no image in an answer of success may fill 8 MiB; memory stays near that, and it was charged."""
    filling = [b'{"created":1,"note":"', *[b"x" * MIB] * 64]
    async with scripted(Reply(200, filling)) as client:
        tracemalloc.start()
        try:
            with pytest.raises(ResponseDecodeError, match=r"longer than 8388608 bytes\. It was charged"):
                await client.images.generate("a fox", model="m", validate=False)
            _, peak = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
    assert peak < 24 * MIB


async def test_a_download_above_the_limit_is_refused(tmp_path: Path) -> None:
    """A file behind a signed URL obeys `max_image_bytes` too; downloading again costs nothing."""
    async with connected(sandbox={"image_bytes": 2 * MIB}, max_image_bytes=MIB) as (client, sandbox):
        result = await client.images.generate_openai("a fox", model=MODEL, response_format="url")
        with pytest.raises(DownloadError, match=r"larger than 1,048,576 bytes\. It was charged") as caught:
            await result.images[0].save(tmp_path / "fox")
        assert len(sandbox.ledger.posts) == 1
    assert caught.value.charge is Charge.CHARGED
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("images", [0, 1])
async def test_a_request_that_the_service_would_cut_off_is_not_sent(images: int) -> None:
    """Prompt and input images above 4,400,000 bytes together are refused before anything leaves."""
    image = huge_png(64, 64) + b"\0" * 2_000_000
    prompt = "fox " * (500_000 if images else 1_200_000)
    async with connected() as (client, sandbox):
        with pytest.raises(ParameterError, match=r"the service takes 4,400,000.*Nothing was sent") as caught:
            await client.images.generate(
                prompt, model=MODEL, input_references=[image] * images, validate=False
            )
        assert not sandbox.ledger.posts
    assert caught.value.charge is Charge.NOT_SENT


async def test_a_batch_fails_the_row_that_is_too_large_alone(tmp_path: Path) -> None:
    """A row whose request the service would cut off fails uncharged; the others go on."""
    rows = [{"prompt": "fox " * 1_200_000, "model": MODEL}, {"prompt": "a hare", "model": MODEL}]
    async with connected() as (client, sandbox):
        report = await client.run_batch(rows, out=tmp_path, validate=False)
        assert len(sandbox.ledger.posts) == 1
    assert (report.images, report.failed, report.unknown) == (1, 1, 0)


@pytest.mark.usefixtures("no_decoding")
async def test_a_claim_of_many_pixels_is_never_decoded(tmp_path: Path) -> None:
    """An answer's image of 100,000 x 100,000 pixels is reported as what it claims, and its pixels are not looked at."""
    async with connected(Fault("huge_dimensions")) as (client, _):
        result = await client.images.generate("a fox", model=MODEL)
        await result.images[0].save(tmp_path / "fox")
        kept = await client.images.generate_to(tmp_path, "a hare", model=MODEL)
        report = await client.run_batch([{"prompt": "p", "model": MODEL}], out=tmp_path / "out")
    assert (result.images[0].width, result.images[0].height) == (100_000, 100_000)
    assert kept.images[0].width == 100_000
    assert report.images == 1


@pytest.mark.usefixtures("no_decoding")
async def test_an_input_image_of_many_pixels_is_sent_without_being_decoded() -> None:
    """An input image is passed on by its bytes; what it claims is for the service to judge."""
    transport = ScriptedTransport(Reply(200, b'{"data":[{"b64_json":"QUJD"}]}'))
    async with AsyncClient(
        "sk-nano", "http://127.0.0.1:9", transport=transport, requests_per_second=None
    ) as client:
        await client.images.generate("a fox", model="m", validate=False, input_references=huge_png())
    assert base64.b64encode(huge_png()) in (transport.requests[0].body or b"")


@pytest.mark.parametrize(
    "source", [b"\x89PNG", b"BM", b"", b"<svg", b"\xff\xd8\xff" * 9, b"RIFF\0\0\0\0WEBP"]
)
async def test_a_damaged_input_image_is_sent_or_refused(source: bytes) -> None:
    """A head of an image and nothing behind it raises nothing but errors of ours."""
    transport = ScriptedTransport(Reply(200, b'{"data":[{"b64_json":"QUJD"}]}'))
    async with AsyncClient(
        "sk-nano", "http://127.0.0.1:9", transport=transport, requests_per_second=None
    ) as client:
        try:
            await client.images.generate("a fox", model="m", validate=False, input_references=source)
        except ReferenceImageError as error:
            assert error.charge is Charge.NOT_SENT  # noqa: PT017 - either end is right
            assert not transport.requests
