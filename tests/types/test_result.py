"""Results: reading, saving, pickling, and what their reprs hold."""

from __future__ import annotations

import asyncio
import pickle
from pathlib import Path

import attrs
import pytest
from fakes import PNG, connected

from nanogpt_images import BlockingImage, ConfigurationError, GenerationResult, Image, OutputError
from nanogpt_images.sync.adapter import Portal
from nanogpt_images.sync.client import BlockingResult, to_blocking
from nanogpt_images.types.result import Downloader

URL = "https://files.example/a.png?expires=1&sig=secret"


def linked(data: bytes = PNG) -> tuple[Image, list[str]]:
    """An image behind a URL, and the URLs that were fetched."""
    fetched: list[str] = []

    async def fetch(url: str) -> bytes:
        fetched.append(url)
        return data

    return Image(url=URL, downloader=Downloader(fetch)), fetched


async def test_bytes_are_read_from_wherever_they_are(tmp_path: Path) -> None:
    """An image in memory, in a file and behind a URL is read alike; only the last is fetched."""
    (tmp_path / "fox.png").write_bytes(PNG)
    behind_url, fetched = linked()
    for image in (Image(data=PNG), Image(path=tmp_path / "fox.png"), behind_url):
        assert await image.read() == PNG
    assert fetched == [URL]
    assert await Image(data=b"", path=Path("missing")).read() == b""


@pytest.mark.parametrize(
    ("target", "index", "written"),
    [
        ("fox", 0, "fox.png"),
        ("fox.jpg", 0, "fox.png"),
        ("", 2, "image-2.png"),
        ("new/", 1, "new/image-1.png"),
        ("new/deep/fox.png", 0, "new/deep/fox.png"),
    ],
)
@pytest.mark.parametrize("blocking", [False, True])
async def test_saving(tmp_path: Path, target: str, index: int, written: str, blocking: bool) -> None:
    """The suffix follows from the bytes; a directory gets a file named after the image's place."""
    path = f"{tmp_path}/{target}"
    if blocking:
        saved = await asyncio.to_thread(BlockingImage(data=PNG, index=index).save, path)
    else:
        saved = await Image(data=PNG, index=index).save(path)
    assert saved == tmp_path / written
    assert saved.read_bytes() == PNG


async def test_saving_a_linked_image(tmp_path: Path) -> None:
    """An image behind a URL is downloaded and named by its bytes, not by its URL."""
    image, _ = linked(b'<svg xmlns="http://www.w3.org/2000/svg"/>')
    assert (await image.save(tmp_path / "fox.png")).name == "fox.svg"


async def test_saving_over_a_file(tmp_path: Path) -> None:
    """A file of that name is an error and stays as it is, for both clients; with `overwrite` it is replaced."""
    (tmp_path / "fox.png").write_bytes(b"old")
    for target in ("fox", "fox.png", "fox.webp"):
        with pytest.raises(OutputError, match=r"fox.png exists; .*overwrite=True"):
            await Image(data=PNG).save(tmp_path / target)
        with pytest.raises(OutputError, match="exists"):
            await asyncio.to_thread(BlockingImage(data=PNG).save, tmp_path / target)
    assert (tmp_path / "fox.png").read_bytes() == b"old"
    assert [path.name for path in tmp_path.iterdir()] == ["fox.png"]
    await Image(data=PNG).save(tmp_path / "fox", overwrite=True)
    assert (tmp_path / "fox.png").read_bytes() == PNG
    await asyncio.to_thread(BlockingImage(data=PNG + b"2").save, tmp_path / "fox", overwrite=True)
    assert (tmp_path / "fox.png").read_bytes() == PNG + b"2"


async def test_saving_where_nothing_can_be_written(tmp_path: Path) -> None:
    """A target below a file is an error of this package."""
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match="cannot write"):
        await Image(data=PNG).save(tmp_path / "file" / "fox")


async def test_a_result_crosses_process_borders(tmp_path: Path) -> None:
    """Pickling keeps every fact and the bytes; a linked image says that its client is gone."""
    async with connected() as (client, _):
        result = await client.images.generate_openai("x", model="tiny-and-fast", n=2)
        link = (
            await client.images.generate_openai("x", model="tiny-and-fast", response_format="url")
        ).images[0]
    again = pickle.loads(pickle.dumps(result))
    assert again == result
    assert isinstance(again, GenerationResult)
    assert (await again.images[1].save(tmp_path / "fox")).read_bytes() == result.images[1].data
    lost = pickle.loads(pickle.dumps(link))
    assert lost.url == link.url
    with pytest.raises(ConfigurationError, match="no longer attached to a client"):
        await lost.read()


def test_a_blocking_result_holds_the_same_facts() -> None:
    """The blocking form has every field of the async one, and pickles without its loop."""
    image = Image(index=3, data=PNG, media_type="image/png", width=1, height=1, extra={"a": 1})
    result = GenerationResult(model="m", prompt="p", asked=2, cost_usd=0.5, images=(image,), extra={"b": 2})
    blocking = to_blocking(result, Portal())
    names = [field.name for field in attrs.fields(GenerationResult) if field.name != "images"]
    assert [getattr(blocking, name) for name in names] == [getattr(result, name) for name in names]
    names = [field.name for field in attrs.fields(Image)]
    assert [getattr(blocking.images[0], name) for name in names] == [getattr(image, name) for name in names]
    assert blocking.missing == result.missing == 1
    again = pickle.loads(pickle.dumps(blocking))
    assert isinstance(again, BlockingResult)
    assert again.images[0].read() == PNG


@pytest.mark.parametrize(("asked", "came", "missing"), [(2, 1, 1), (2, 2, 0), (1, 3, 0)])
def test_missing_images_are_counted(asked: int, came: int, missing: int) -> None:
    """More images than asked for are none missing."""
    images = tuple(Image(index=index) for index in range(came))
    assert GenerationResult(model="m", prompt="p", asked=asked, images=images).missing == missing


def test_a_repr_is_short_and_holds_no_secret() -> None:
    """Neither bytes, prompt nor the signature of a URL are in a repr."""
    result = GenerationResult(
        model="m",
        prompt="a private wish",
        images=(Image(data=PNG * 1000), Image(url=URL, extra={"x": "y" * 5000})),
    )
    assert len(repr(result)) < 1000
    assert "files.example/a.png'" in repr(result)
    assert not [secret for secret in ("secret", "private", "IHDR") if secret in repr(result)]


@pytest.mark.parametrize("blocking", [False, True])
@pytest.mark.parametrize(
    ("images", "name", "written"),
    [
        (1, None, ["a-red-fox.png"]),
        (2, None, ["a-red-fox-0.png", "a-red-fox-1.png"]),
        (2, "fox", ["fox-0.png", "fox-1.png"]),
        (1, "../fox", ["_fox-"]),
        (0, None, []),
    ],
)
async def test_a_result_saves_all_of_its_images(
    tmp_path: Path, images: int, name: str | None, written: list[str], blocking: bool
) -> None:
    """Files are named by the prompt or the name, as `generate_to` names them; a name stays inside the directory."""
    made = tuple(Image(data=PNG, index=index) for index in range(images))
    result = GenerationResult(model="m", prompt="A red fox!", images=made)
    if blocking:
        saved = await asyncio.to_thread(to_blocking(result, Portal()).save, tmp_path / "new", name=name)
    else:
        saved = await result.save(tmp_path / "new", name=name)
    assert all(path.parent == tmp_path / "new" and path.read_bytes() == PNG for path in saved)
    assert [path.name.startswith(begin) for path, begin in zip(saved, written, strict=True)] == [
        True
    ] * images


async def test_saving_a_result_twice(tmp_path: Path) -> None:
    """Files named by the prompt get a number; a name of the caller's is taken, unless it may be replaced."""
    result = GenerationResult(model="m", prompt="fox", images=(Image(data=PNG),))
    assert [path.name for _ in range(2) for path in await result.save(tmp_path)] == ["fox.png", "fox_2.png"]
    await result.save(tmp_path, name="mine")
    with pytest.raises(OutputError, match="exists"):
        await result.save(tmp_path, name="mine")
    assert await result.save(tmp_path, name="mine", overwrite=True) == (tmp_path / "mine.png",)
