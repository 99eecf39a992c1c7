"""How things look in a notebook: escaped, small, and without a request. A real kernel runs both clients."""

from __future__ import annotations

import base64
import html
import io
import re
import subprocess
import sys
from pathlib import Path

import attrs
import nbformat
import pytest
from fakes import PNG, connected
from nbclient import NotebookClient
from PIL import Image as Pillow

from nanogpt_images.batch.events import BatchFailure, BatchReport
from nanogpt_images.client import AsyncClient
from nanogpt_images.errors import DailyLimitError
from nanogpt_images.integrations import jupyter
from nanogpt_images.sandbox import Sandbox
from nanogpt_images.types.model import Listing, Model, Models
from nanogpt_images.types.result import GenerationResult, Image

NASTY = '<script>alert("&")</script>'
SMALL = Image(data=PNG, media_type="image/png", width=1, height=1, size_bytes=len(PNG))


def noise(side: int) -> Image:
    """An image that does not get small."""
    file = io.BytesIO()
    Pillow.effect_noise((side, side), 100).convert("RGB").save(file, "PNG")
    return Image(
        data=file.getvalue(), media_type="image/png", width=side, height=side, size_bytes=file.tell()
    )


def sources(page: str) -> list[tuple[str, bytes]]:
    found = re.findall(r'<img src="data:([\w/+]+);base64,([^"]*)"', page)
    return [(media_type, base64.b64decode(text)) for media_type, text in found]


def test_a_small_image_is_in_the_page_as_it_is(tmp_path: Path) -> None:
    """From memory and from a file the encoded image itself is embedded."""
    (tmp_path / "fox.png").write_bytes(PNG)
    for image in (SMALL, attrs.evolve(SMALL, data=None, path=tmp_path / "fox.png")):
        assert sources(image._repr_html_()) == [("image/png", PNG)]
        assert "1 x 1" in image._repr_html_()


def test_a_large_image_is_a_thumbnail() -> None:
    """Beyond the limit Pillow makes a thumbnail that keeps the proportions."""
    image = noise(800)
    assert image.size_bytes > jupyter.EMBED_BYTES
    ((media_type, data),) = sources(image._repr_html_())
    assert media_type == "image/webp"
    with Pillow.open(io.BytesIO(data)) as thumbnail:
        assert thumbnail.size == (512, 512)


def test_without_pillow_a_large_image_is_a_line(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where there is no Pillow, type and size stand in words."""
    image = noise(800)
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    page = image._repr_html_()
    assert "<img" not in page
    assert "image/png" in page
    assert f"{image.size_bytes:,} bytes" in page


@pytest.mark.parametrize(
    "image",
    [
        Image(url="https://files.example/fox.png?signature=secret"),
        Image(path=Path("/nowhere/fox.png"), media_type="image/png", size_bytes=5),
        Image(data=b"who knows", size_bytes=9),
        attrs.evolve(noise(900), data=noise(900).data[:-600_000]),
        Image(),
    ],
    ids=["url", "gone", "unknown", "damaged", "nothing"],
)
def test_what_cannot_be_shown_is_a_line(image: Image) -> None:
    """No picture, no request, no signature and no exception."""
    page = image._repr_html_()
    assert sources(page) == []
    assert "secret" not in page
    assert "<figcaption" in page


def test_a_result_shows_images_and_money() -> None:
    """A result shows its images, its model, its prompt and its cost; everything is escaped."""
    result = GenerationResult(
        model=NASTY, prompt=NASTY, cost_usd=0.04, request_id=NASTY, problems=(NASTY,), images=(SMALL, SMALL)
    )
    page = result._repr_html_()
    assert len(sources(page)) == 2
    assert "$0.04" in page
    assert "<script" not in page
    assert page.count(html.escape(NASTY)) == 4


def test_a_page_stays_small() -> None:
    """Many images share one limit: those beyond it are lines."""
    image = noise(370)
    assert image.size_bytes < jupyter.EMBED_BYTES * 3 // 4
    page = GenerationResult(model="m", prompt="p", images=(image,) * 20)._repr_html_()
    assert 5 < len(sources(page)) < 20
    assert len(page) < jupyter.PAGE_BYTES + 50_000


def test_a_model_and_a_listing() -> None:
    """A model shows what it takes; a listing is a table that ends somewhere."""
    model = Model(id=NASTY, name="Fox ", description=NASTY)
    assert "<script" not in model._repr_html_()
    for listing in (Listing(data=(model,) * 60), Models((model,) * 60)):
        page = listing._repr_html_()
        assert page.count("<tr>") == 51
        assert "and 10 more" in page
        assert "<script" not in page
        lines = repr(listing).splitlines()
        assert lines[0].split() == ["model", "images", "resolutions", "price"]
        assert (len(lines), lines[-1]) == (52, "and 10 more")


async def test_the_models_of_the_catalogue_are_a_table() -> None:
    """`catalog.list()` is a tuple that shows itself as a table, in text as in a notebook."""
    async with Sandbox() as sandbox, AsyncClient(sandbox.api_key, base_url=sandbox.url) as client:
        models = await client.catalog.list()
    assert models == tuple(models)
    assert "<table>" in models._repr_html_()
    assert len(repr(models)) < 10_000
    assert all(model.id in repr(models) for model in models[:50])


def test_a_report_tells_why_it_stopped() -> None:
    """Numbers that matter are shown, zeros are not, and the reason of a stop is."""
    page = BatchReport(images=1234, cost_usd=5, stopped=DailyLimitError(NASTY, status=429))._repr_html_()
    assert "1,234" in page
    assert "failed" not in page
    assert html.escape(NASTY) in page


def test_a_report_lists_why_requests_are_not_done() -> None:
    """Each reason has its count, code, model and example; their texts are escaped, and the list ends somewhere."""
    found = BatchFailure(
        error="ContentPolicyError", code="policy", model="m", count=1234, key="fox", text=NASTY
    )
    page = BatchReport(failed=1234, failures=(found,) * 12)._repr_html_()
    for text in ("1,234", "ContentPolicyError", "policy", "fox", html.escape(NASTY), "and 2 more"):
        assert text in page
    assert NASTY not in page
    assert "what it says" not in BatchReport()._repr_html_()


def test_the_bundle_holds_text_and_html() -> None:
    """IPython gets both forms at once; the text is the usual repr."""
    bundle = SMALL._repr_mimebundle_(include=None, exclude=None)
    assert bundle == {"text/plain": repr(SMALL), "text/html": SMALL._repr_html_()}


async def test_a_batch_keeps_its_first_images_for_the_report(tmp_path: Path) -> None:
    """The contact sheet has a dozen images, however many there are; JSON has none of them."""
    rows = [{"prompt": f"fox {number}", "model": "tiny-and-fast", "count": 2} for number in range(10)]
    async with connected() as (client, _):
        report = await client.run_batch(rows, out=tmp_path)
    assert report.images == 20
    assert len(report.samples) == 12
    assert "samples" not in report.to_json()


def test_others_pay_nothing_for_it() -> None:
    """The client, and an ordinary repr, load nothing of this."""
    code = (
        "import sys, nanogpt_images as ngi; ngi.AsyncClient, repr(ngi.Model(id='a')), ngi.BatchReport();"
        "print([name for name in sys.modules if 'integrations' in name or name in ('IPython', 'PIL')])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


CELLS = [
    "import nanogpt_images as ngi",
    "async with ngi.AsyncClient() as client:\n    model = await client.catalog.get('tiny-and-fast')\nmodel",
    "async with ngi.AsyncClient() as client:\n    result = await client.images.generate('a <b>fox</b>', model='tiny-and-fast')\nresult",
    "(await result.images[0].to_pil()).size",
    "client = ngi.Client()\nblocking = client.images.generate_to('foxes', 'a fox', model='tiny-and-fast', n=2)\nblocking",
    "blocking.images[1]",
    "report = client.run_batch([{'prompt': f'fox {n}', 'model': 'tiny-and-fast'} for n in range(5)], out='out', progress=True)\nreport",
    "client.close()",
]


def test_a_real_kernel(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In a notebook both clients work in the running loop, and what they return is shown as pictures and tables."""
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(cell) for cell in CELLS])
    monkeypatch.setenv("JUPYTER_PLATFORM_DIRS", "1")
    monkeypatch.setenv("IPYTHONDIR", str(tmp_path / "ipython"))
    with Sandbox.in_thread(requests_per_second=None) as sandbox:
        monkeypatch.setenv("NANOGPT_API_KEY", sandbox.api_key)
        monkeypatch.setenv("NANOGPT_BASE_URL", sandbox.url)
        NotebookClient(
            notebook, timeout=60, kernel_name="python3", resources={"metadata": {"path": str(tmp_path)}}
        ).execute()
    shown = [
        output["data"] for cell in notebook.cells for output in cell.outputs if output.output_type != "stream"
    ]
    model, result, size, blocking, image, bar, report = shown
    assert "64x64" in model["text/html"]
    assert len(sources(result["text/html"])) == 1
    assert "&lt;b&gt;fox" in result["text/html"]
    assert "<b>" not in result["text/html"]
    assert size["text/plain"] == "(64, 64)"
    assert len(sources(blocking["text/html"])) == 2
    assert sources(image["text/html"]) == [("image/png", (tmp_path / "foxes" / "a-fox-1.png").read_bytes())]
    assert '<progress max="5" value="5">' in bar["text/html"]
    assert len(sources(report["text/html"])) == 5
