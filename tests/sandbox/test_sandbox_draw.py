"""Images are real, repeatable, and look like what was asked for."""

from __future__ import annotations

import io

import attrs
import pytest
from PIL import Image

from nanogpt_images.sandbox.drawing.draw import Sketch, encoded
from nanogpt_images.sandbox.drawing.padding import padded
from nanogpt_images.sandbox.drawing.sizes import pixel_size

FOX = Sketch(
    prompt="a red fox",
    model="m",
    resolution="256x256",
    seed=7,
    index=0,
    width=256,
    height=256,
    image_format="png",
)


def opened(data):
    """The decoded image."""
    image = Image.open(io.BytesIO(data))
    image.load()
    return image


@pytest.mark.parametrize("image_format", ["png", "jpeg", "webp"])
def test_format_and_size(image_format):
    """Each format decodes to the size asked for."""
    image = opened(encoded(attrs.evolve(FOX, image_format=image_format, width=320, height=200)))
    assert (image.format.lower(), image.size) == (image_format, (320, 200))


@pytest.mark.parametrize("image_format", ["png", "jpeg", "webp"])
def test_same_sketch_same_bytes(image_format):
    """The same sketch gives the same bytes."""
    sketch = attrs.evolve(FOX, image_format=image_format)
    assert encoded(sketch) == encoded(sketch)


@pytest.mark.parametrize(
    "change",
    [
        {"prompt": "a blue fox"},
        {"model": "o"},
        {"seed": 8},
        {"seed": None},
        {"index": 1},
        {"resolution": "1k"},
    ],
)
def test_everything_asked_for_shows(change):
    """Another prompt, model, seed, index or resolution gives another picture."""
    assert encoded(attrs.evolve(FOX, **change)) != encoded(FOX)


def test_prompt_is_written_on_the_image():
    """The foot of the image holds light letters on a dark panel."""
    sketch = attrs.evolve(FOX, width=1024, height=1024)
    panel = opened(encoded(sketch)).convert("L").crop((0, 900, 1024, 1024))
    darkest, brightest = panel.getextrema()
    assert brightest == 255
    assert darkest < 110


@pytest.mark.parametrize(
    "prompt", ["", "x" * 5000, "word " * 2000, "日本語 🦊", "tab\tnew\nline\0", "\ud800 lone", "Ünïcode"]
)
@pytest.mark.parametrize("size", [(1, 1), (8, 500), (64, 64), (700, 40)])
def test_any_prompt_on_any_size(prompt, size):
    """No prompt and no size breaks the drawing."""
    width, height = size
    assert opened(encoded(attrs.evolve(FOX, prompt=prompt, width=width, height=height))).size == size


@pytest.mark.parametrize("image_format", ["png", "jpeg", "webp"])
@pytest.mark.parametrize("size", [0, 20_000, 200_001])
def test_padding(image_format, size):
    """A padded image has about the size asked for and is the same picture."""
    data = encoded(attrs.evolve(FOX, image_format=image_format))
    larger = padded(data, image_format, size)
    assert abs(len(larger) - max(size, len(data))) < 64
    assert opened(larger).convert("RGB").tobytes() == opened(data).convert("RGB").tobytes()


@pytest.mark.parametrize(
    ("resolution", "aspect_ratio", "size"),
    [
        ("1024x768", None, (1024, 768)),
        ("1536*1024", None, (1536, 1024)),
        ("1024x768", "1:1", (1024, 768)),
        ("auto", None, (1024, 1024)),
        ("1k", None, (1024, 1024)),
        ("2K", None, (2048, 2048)),
        ("1.5k", None, (1536, 1536)),
        ("auto_1.5K", None, (1536, 1536)),
        ("1k", "16:9", (1368, 768)),
        ("16:9", None, (1368, 768)),
        ("1:1", None, (1024, 1024)),
        ("1080p", None, (1920, 1080)),
        ("1mp", None, (1024, 1024)),
        ("4", None, (1024, 1024)),
        ("8k", None, (4096, 4096)),
        ("0x0", None, (1, 1)),
        ("16:0", None, (1024, 1024)),
        ("nonsense", None, (1024, 1024)),
    ],
)
def test_pixel_size(resolution, aspect_ratio, size):
    """Every kind of resolution token has a size."""
    assert pixel_size(resolution, aspect_ratio) == size


async def test_default_formats_differ(open_api):
    """Models draw PNG, JPEG or WebP by themselves; `output_format` is heeded where it is offered, else ignored."""

    async def drawn(api, **fields):
        reply = await api.openai(response_format="url", **fields)
        return opened((await api.get(reply.json["data"][0]["url"])).body).format

    async with open_api() as api:
        assert await drawn(api, model="hidream") == "PNG"
        assert await drawn(api, model="krea-v2/turbo") == "JPEG"
        assert await drawn(api, model="ratio-only") == "WEBP"
        assert await drawn(api, model="formats/jpeg", output_format="webp") == "WEBP"
        assert await drawn(api, model="hidream", output_format="webp") == "PNG"


async def test_image_bytes_option(open_api):
    """`image_bytes` makes every image about that large."""
    async with open_api(image_bytes=1_500_000) as api:
        reply = await api.images()
        assert abs(len(reply.json["data"][0]["b64_json"]) - 2_000_000) < 1000
