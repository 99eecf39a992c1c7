"""Edits by the client, against the sandbox: money, retry, files and provenance as for generations."""

from __future__ import annotations

import asyncio
import hashlib
import io
import os
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from fakes import connected
from pictures import changed_outside, large, mask, plain

import nanogpt_images as ngi
from nanogpt_images.sandbox import Fault, Sandbox

INPAINTING = "flux-lora/inpainting"


@pytest.fixture
def picture(tmp_path: Path) -> Path:
    (tmp_path / "in.png").write_bytes(plain())
    (tmp_path / "mask.png").write_bytes(mask())
    return tmp_path / "in.png"


async def test_an_edit_with_a_mask(picture: Path) -> None:
    """The result differs only where the mask allows, costs what the ledger says, and names its request."""
    async with connected() as (client, sandbox):
        result = await client.images.edit(
            "a hat", image=picture, mask=picture.with_name("mask.png"), model=INPAINTING
        )
        assert changed_outside(result.images[0].data or b"") == 0
        (entry,) = sandbox.ledger.billed
        assert (entry.route, result.cost_usd, result.request_id) == ("edit", entry.cost_usd, entry.request_id)


async def test_without_a_model_the_service_chooses(picture: Path) -> None:
    """No model is sent, nothing is looked up, and several images and further fields go along."""
    async with connected() as (client, sandbox):
        result = await client.images.edit("a hat", image=[picture, plain()], n=1, extra={"quality": "high"})
        assert (result.model, sandbox.ledger.billed[0].model) == ("", "qwen-image-edit")


async def test_an_edit_to_files_tells_its_parents(picture: Path, tmp_path: Path) -> None:
    """The file has the digest of the image that was edited, also where it came by a URL."""
    async with connected() as (client, _):
        for delivery in ("b64_json", "url"):
            result = await client.images.edit_to(
                tmp_path / "out",
                "a hat",
                image=picture,
                model=INPAINTING,
                provenance=True,
                response_format=delivery,
            )
            record = await asyncio.to_thread(ngi.read_provenance, result.images[0].path or "")
            assert record is not None
            assert (record.route, record.left_out) == ("edit", ("image",))
            assert record.parents == (hashlib.sha256(plain()).hexdigest(),)
        with pytest.raises(ngi.OutputError, match="exists"):
            await client.images.edit_to(tmp_path / "out", "a hat", image=picture, name="a-hat")


def test_the_blocking_client(picture: Path) -> None:
    """The same names, blocking."""
    with (
        Sandbox.in_thread(requests_per_second=None) as sandbox,
        ngi.Client(sandbox.api_key, sandbox.url) as client,
    ):
        result = client.images.edit("a hat", image=picture, model=INPAINTING)
        assert result.images[0].save(picture.with_name("out")).suffix == ".png"
        assert client.images.edit_to(picture.parent, "a hat", image=picture).images[0].path


async def test_a_refusal_for_load_is_repeated_from_the_disk(tmp_path: Path) -> None:
    """Every attempt streams the file again, and one edit is paid for."""
    file = large(tmp_path / "in.png", 3_000_000)
    async with connected(Fault("429", times=1), Fault("503", times=1)) as (client, sandbox):
        await client.images.edit("a hat", image=file, size="auto")
        assert len(sandbox.ledger.posts) == 3
        assert len(sandbox.ledger.billed) == 1


async def test_a_lost_answer_is_not_repeated(picture: Path) -> None:
    """What may have been charged is not sent again."""
    async with connected(Fault("reset_after_body")) as (client, sandbox):
        with pytest.raises(ngi.OutcomeUnknownError) as caught:
            await client.images.edit("a hat", image=picture)
        assert caught.value.charge is ngi.Charge.UNKNOWN
        assert len(sandbox.ledger.posts) == 1


def open_files(path: Path) -> int:
    """How many descriptors of this process are of the file at *path*."""
    links = [Path("/proc/self/fd") / name for name in os.listdir("/proc/self/fd")]
    return sum(os.path.realpath(link) == str(path) for link in links)


@pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="descriptors are listed on Linux alone")
@pytest.mark.parametrize("ending", ["reset", "cancelled"])
async def test_an_upload_that_breaks_off_leaves_no_file_open(tmp_path: Path, ending: str) -> None:
    """A connection that breaks within the body, and a caller who goes, close the file at once; nothing is billed."""
    file = await asyncio.to_thread(large, tmp_path / "in.png", 12_000_000)
    kind = "reset_in_body" if ending == "reset" else "stall_before_body"
    async with connected(Fault(kind)) as (client, sandbox):
        edit = asyncio.ensure_future(client.images.edit("a hat", image=file, size="auto"))
        if ending == "cancelled":
            while not sandbox.ledger.posts:
                await asyncio.sleep(0)
            edit.cancel()
        with pytest.raises((ngi.OutcomeUnknownError, asyncio.CancelledError)):
            await edit
        for _ in range(100):  # the writer is called off in a task of its own
            await asyncio.sleep(0)
        assert await asyncio.to_thread(open_files, file) == 0
        assert sandbox.ledger.billed == []


async def test_nobody_there(picture: Path) -> None:
    """Where no connection can be made, no byte of the file left, and nothing was charged."""
    async with ngi.AsyncClient("sk-nano-x-y-z", "http://127.0.0.1:9", retry=ngi.RetryPolicy.none()) as client:
        with pytest.raises(ngi.ConnectError) as caught:
            await client.images.edit("a hat", image=picture)
        assert caught.value.charge is ngi.Charge.NOT_SENT


class Meddling(ngi.AiohttpTransport):
    """Lets somebody else work on a file after each answer."""

    def __init__(self, meddle: Callable[[], object]) -> None:
        super().__init__()
        self._meddle = meddle

    @asynccontextmanager
    async def send(self, request: ngi.HttpRequest) -> AsyncGenerator[ngi.HttpResponse]:
        async with super().send(request) as response:
            if request.paid:
                await asyncio.to_thread(self._meddle)
            yield response


@pytest.mark.parametrize("hide_times", [False, True])
async def test_a_file_that_changes_between_attempts_is_not_sent(picture: Path, hide_times: bool) -> None:
    """The second attempt finds another file: it is not sent silently, and nothing was paid."""
    times = picture.stat()

    def change() -> None:
        with picture.open("r+b") as file:
            file.write(b"\0")
        if hide_times:
            os.utime(picture, ns=(times.st_atime_ns, times.st_mtime_ns))

    transport = Meddling(change)
    async with connected(Fault("429", times=1), transport=transport) as (client, sandbox):
        with pytest.raises(ngi.ReferenceImageError, match="has changed since it was checked") as caught:
            await client.images.edit("a hat", image=picture, model=INPAINTING)
        assert caught.value.charge is (ngi.Charge.UNKNOWN if hide_times else ngi.Charge.NOT_SENT)
        assert sandbox.ledger.total_usd == 0
    await transport.aclose()


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"model": "qwen-image-edit", "image": [plain()] * 16}, "16 input images are too many"),
        ({"model": "hidream"}, "takes no input images"),
        ({"model": "gpt-image-3"}, "near matches: gpt-image-2"),
        ({"prompt": " ", "model": INPAINTING}, "an edit needs one"),
        ({"mask": mask((3, 3))}, "they must be of the same size"),
        ({"image": b"text"}, "is not a PNG"),
        ({"image": []}, "there is no image to edit"),
        ({"model": INPAINTING, "strength": 3}, "strength=3 is not from 0 to 1"),
        ({"extra": {"imageDataUrl": "x"}}, "stands in extra"),
        ({"extra": {"stream": True}}, "stream is not supported"),
        ({"model": INPAINTING, "size": "7x7"}, "size '7x7' is not offered"),
        ({"model": 5}, "model must be the ID"),
    ],
)
async def test_bad_input_is_one_line_and_nothing_is_sent(fields: dict, said: str) -> None:
    """What the catalogue, or the image itself, rules out never leaves."""
    async with connected() as (client, sandbox):
        with pytest.raises(ngi.NanoGPTError, match=said) as caught:
            await client.images.edit(**{"prompt": "a hat", "image": plain(), **fields})
        assert "\n" not in str(caught.value)
        assert "Nothing was sent" in str(caught.value)
        assert sandbox.ledger.posts == []


async def test_a_budget_holds(picture: Path) -> None:
    """The worst case of an edit is reserved; without a known price nothing is sent."""
    async with connected(budget_usd=0.04) as (client, sandbox):
        await client.images.edit("a hat", image=picture, model=INPAINTING)
        with pytest.raises(ngi.BudgetExceededError):
            await client.images.edit("a hat", image=picture, model=INPAINTING)
        assert len(sandbox.ledger.posts) == 1


async def test_a_mask_for_a_model_that_does_not_list_it(picture: Path) -> None:
    """The request goes out, and the result says that the mask may have been ignored."""
    async with connected() as (client, _):
        result = await client.images.edit("a hat", image=picture, mask=mask(), model="qwen-image-edit")
        assert any("does not list inpainting" in problem for problem in result.problems)


async def test_what_a_scripted_pillow_image_sends(picture: Path) -> None:
    """Open files of Pillow, bytes and memory views are taken as for references."""
    from PIL import Image

    async with connected() as (client, sandbox):
        with Image.open(io.BytesIO(plain())) as opened:
            await client.images.edit("a hat", image=opened)
        await client.images.edit("a hat", image=memoryview(plain()))
        earlier = await client.images.edit("a hat", image=bytearray(plain()))
        await client.images.edit("a scarf", image=earlier.images[0])
        assert len(sandbox.ledger.billed) == 4
