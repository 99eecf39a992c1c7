"""`to_pil`: from memory, from disk, from a URL; by both clients; without Pillow."""

from __future__ import annotations

import io
import threading
from pathlib import Path

import pytest
from fakes import PNG, connected
from PIL import Image as Pillow

import nanogpt_images as ngi
from nanogpt_images.errors import Charge, ConfigurationError, OutputError, ResponseDecodeError
from nanogpt_images.integrations import pillow
from nanogpt_images.sandbox import Sandbox
from nanogpt_images.types.result import Image

MODEL = "tiny-and-fast"


async def test_from_memory_and_from_disk(tmp_path: Path) -> None:
    """An image in memory and its twin on disk decode to the same pixels, and the file is closed again."""
    async with connected() as (client, _):
        kept = (await client.images.generate("a fox", model=MODEL)).images[0]
        stored = (await client.images.generate_to(tmp_path, "a fox", model=MODEL)).images[0]
        one, other = await kept.to_pil(), await stored.to_pil()
    assert one.size == other.size == (64, 64)
    assert one.tobytes() == other.tobytes()
    assert getattr(other, "fp", None) is None


async def test_from_a_url() -> None:
    """An image behind a signed URL is downloaded first."""
    async with connected() as (client, _):
        result = await client.images.generate_openai("a fox", model=MODEL, response_format="url")
        assert (await result.images[0].to_pil()).size == (64, 64)


async def test_the_loop_goes_on_while_pixels_are_decoded(monkeypatch: pytest.MonkeyPatch) -> None:
    """Decoding happens in another thread than the event loop's."""
    threads: list[int] = []
    decode = pillow.decode
    monkeypatch.setattr(
        pillow, "decode", lambda *args: threads.append(threading.get_ident()) or decode(*args)
    )
    await Image(data=PNG).to_pil()
    assert threads != [threading.get_ident()]


def test_the_blocking_client(tmp_path: Path) -> None:
    """The same method without await, from memory, disk and URL."""
    with Sandbox.in_thread() as sandbox, ngi.Client(sandbox.api_key, sandbox.url) as client:
        results = [
            client.images.generate("a fox", model=MODEL),
            client.images.generate_to(tmp_path, "a fox", model=MODEL),
            client.images.generate_openai("a fox", model=MODEL, response_format="url"),
        ]
        assert [result.images[0].to_pil().size for result in results] == [(64, 64)] * 3


async def test_without_pillow_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where Pillow is absent the error says how to get it, and nothing is downloaded first."""
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(ConfigurationError, match=r'pip install "pillow>='):
        await Image(url="https://files.example/fox.png").to_pil()


@pytest.mark.parametrize(
    "data",
    [b"<svg xmlns='http://www.w3.org/2000/svg'/>", PNG[:40], b"", PNG.replace(b"IDAT", b"IDOT")],
    ids=["svg", "cut", "empty", "damaged"],
)
async def test_what_pillow_cannot_decode(tmp_path: Path, data: bytes) -> None:
    """A format it does not know and a damaged image are errors of this package: the image was paid for."""
    (tmp_path / "fox").write_bytes(data)
    for image in (Image(data=data), Image(path=tmp_path / "fox")):
        with pytest.raises(ResponseDecodeError, match="Pillow cannot decode") as caught:
            await image.to_pil()
        assert caught.value.charge is Charge.CHARGED


async def test_a_picture_too_large_to_be_meant(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pillow's guard against decompression bombs speaks as an error of this package."""
    monkeypatch.setattr(Pillow, "MAX_IMAGE_PIXELS", 10)
    file = io.BytesIO()
    Pillow.new("L", (100, 100)).save(file, "PNG")
    with pytest.raises(ResponseDecodeError, match="decompression bomb"):
        await Image(data=file.getvalue()).to_pil()


async def test_a_file_that_is_gone(tmp_path: Path) -> None:
    """An image whose file was removed is an error that names the file."""
    with pytest.raises(OutputError, match=r"cannot read .*fox\.png: No such file"):
        await Image(path=tmp_path / "fox.png").to_pil()
