"""Comparing images in a browser: the table, order and groups, picks, and the address."""

from __future__ import annotations

import itertools
import json
import re
from pathlib import Path

import anyio.to_thread
import pytest
from axe_playwright_python.async_playwright import Axe
from playwright.async_api import Page, expect

from nanogpt_images.batch.manifest.picks import read_picks
from nanogpt_images.errors import Charge
from nanogpt_images.gallery import write_gallery
from nanogpt_images.gallery.page import Page as Document
from nanogpt_images.gallery.page import render, to_line

from .conftest import Row, write_job
from .test_browser import OpenPage, browser, dialog, open_page, pytestmark, shown

__all__ = ["browser", "open_page", "pytestmark"]

PROMPTS, MODELS, SEEDS = ("a fox", "an owl"), ("gpt-image-2", "hidream"), (2, 10)
ROWS = [
    *(
        Row(prompt=prompt, fields={"model": model, "seed": seed, "key": f"{prompt[-3:]}-{model}-{seed}"})
        for prompt, model, seed in itertools.product(PROMPTS, MODELS, SEEDS)
    ),
    Row(prompt="a hare", ending=Charge.REJECTED, fields={"seed": 2}),
]


@pytest.fixture(scope="module")
async def job(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A job of two prompts by two models by two seeds, and a failure."""
    out = await write_job(tmp_path_factory.mktemp("compare") / "job", ROWS)
    return (await write_gallery(out)).index


async def headers(page: Page, role: str) -> list[str]:
    return await page.locator(f"#table [role={role}]").all_text_contents()


async def test_table(open_page: OpenPage) -> None:
    """Rows and columns are any two fields, numbers in their order; a cell has its images and what tells them apart."""
    page = await open_page()
    await page.get_by_text("Table", exact=True).click()
    assert await headers(page, "columnheader") == ["Prompt \u00d7 model", "gpt-image-2", "hidream"]
    assert await headers(page, "rowheader") == ["a fox", "an owl", "a hare"]
    cell = page.locator("#table [role=gridcell]").first
    await expect(cell.get_by_role("button")).to_have_count(2)
    await expect(cell).to_contain_text("seed 10")
    await page.get_by_label("Columns").select_option("p:seed")
    await page.get_by_label("Rows").select_option("model")
    assert await headers(page, "columnheader") == ["Model \u00d7 seed", "2", "10"]
    assert await headers(page, "rowheader") == ["gpt-image-2", "hidream"]
    await page.get_by_role("searchbox").fill("owl")
    await expect(page.locator("#table").get_by_role("button")).to_have_count(4)


async def test_keys_in_the_table(open_page: OpenPage) -> None:
    """Arrows move between cells and over empty ones, Enter opens, and the dialog goes along the row."""
    page = await open_page()
    await page.goto(page.url + "#view=table&columns=p:seed")
    tiles = page.locator("#table [data-place]")
    await tiles.first.focus()
    names = []
    for key in ("ArrowRight", "ArrowRight", "ArrowDown", "ArrowDown", "ArrowLeft", "End", "Home"):
        await page.keyboard.press(key)
        names.append(await page.evaluate("document.activeElement.dataset.place"))
    assert names[-2:] == ["8", "0"]
    assert len(set(names)) >= 5
    await page.keyboard.press("Enter")
    await expect(dialog(page)).to_be_visible()
    await page.keyboard.press("ArrowRight")
    await page.keyboard.press("Escape")
    await expect(page.locator("#table [data-place='1']")).to_be_focused()


async def test_order_and_groups(open_page: OpenPage) -> None:
    """Cards can be sorted, turned round and put into groups with a heading and a number each."""
    page = await open_page()
    captions = page.locator("#grid .card .caption")
    await page.get_by_label("Sort by").select_option("prompt")
    await expect(captions.first).to_have_text("a fox")
    await page.get_by_label("Reversed").check()
    await expect(captions.first).to_have_text("an owl")
    await page.get_by_label("Group by").select_option("model")
    assert await page.locator("#grid .heading").all_text_contents() == [
        "Model: hidream4",
        "Model: gpt-image-25",
    ]
    await page.get_by_label("Size").fill("120")
    await expect(page.locator("#grid li").nth(1)).to_have_css("width", "180px")


async def test_picks(open_page: OpenPage, tmp_path: Path) -> None:
    """1 to 5 and x pick by keyboard, outlive a reload, filter, and are saved as a file that the package reads."""
    page = await open_page()
    first = page.locator("#grid .card").first
    await first.focus()
    await page.keyboard.press("4")
    await expect(first).to_contain_text("★ 4")
    await page.keyboard.press("ArrowRight")
    await page.keyboard.press("x")
    await page.keyboard.press("End")
    await page.keyboard.press("3")
    await expect(page.locator("#said")).to_contain_text("no image to pick")
    await page.keyboard.press("Enter")
    await page.keyboard.press("x")
    await expect(dialog(page).get_by_role("button", name="Make again")).to_have_attribute(
        "aria-pressed", "true"
    )
    await page.keyboard.press("Escape")
    await expect(page).not_to_have_url(re.compile("open="))
    await page.reload()
    await expect(page.locator("#picked")).to_have_text("1 picked, 2 to make again")
    await page.get_by_label("Picks").select_option("x")
    await expect(shown(page)).to_have_text("2 of 9 shown")
    async with page.expect_download() as download:
        await page.get_by_role("button", name="Save picks").click()
    await (await download.value).save_as(tmp_path / "picks.json")
    picks = await anyio.to_thread.run_sync(read_picks, tmp_path / "picks.json")
    assert [*picks.kept.values()] == [4]
    assert next(iter(picks.kept)).startswith("images/fox-gpt-image-2-2-")
    assert len(picks.again) == 2


async def test_a_pick_is_taken_away(open_page: OpenPage) -> None:
    """The same key again, or 0, takes a pick away, and nothing is left to save."""
    page = await open_page()
    await page.locator("#grid .card").first.focus()
    for keys in ("55", "20"):
        for key in keys:
            await page.keyboard.press(key)
        await expect(page.locator("#picking")).to_be_hidden()
    await expect(page.locator("#grid .card").first).not_to_contain_text("★")


async def test_address(open_page: OpenPage, job: Path) -> None:
    """The address holds filters, view, order, size and the open image; opened again it shows the same."""
    page = await open_page()
    await page.get_by_role("searchbox").fill("fox")
    await page.get_by_label("Model").select_option("hidream")
    await page.get_by_text("Table", exact=True).click()
    await page.get_by_label("Rows").select_option("p:seed")
    await page.get_by_label("Reversed").check()
    await page.get_by_label("Size").fill("300")
    await page.locator("#table [data-place]").nth(1).click()
    address = page.url
    other = await open_page()
    await other.goto("about:blank")
    await other.goto(address)
    await expect(dialog(other)).to_be_visible()
    await expect(dialog(other).get_by_role("heading", level=2)).to_have_text("2 of 2")
    await other.keyboard.press("Escape")
    await expect(shown(other)).to_have_text("2 of 9 shown")
    assert await headers(other, "columnheader") == ["Seed \u00d7 model", "hidream"]
    await expect(other.get_by_label("Size")).to_have_value("300")
    assert "open=" not in other.url
    await other.get_by_role("button", name="Reversed").or_(other.get_by_label("Reversed")).uncheck()
    assert "reverse" not in other.url


@pytest.mark.parametrize(
    "fragment", ["model=none", "state=%00&view=x&size=9999", "open=images/none.png", "rows", "="]
)
async def test_an_address_that_means_nothing(open_page: OpenPage, fragment: str) -> None:
    """What an address says of things that are not there is passed over."""
    page = await open_page()
    await page.goto(f"{page.url}#{fragment}")
    await expect(shown(page)).to_have_text("9 shown")
    await expect(dialog(page)).to_be_hidden()


async def test_tiles_filter(open_page: OpenPage) -> None:
    """The tile of failures shows the failures, and pressed again everything."""
    page = await open_page()
    tile = page.get_by_role("button", name="Failed or unknown")
    await tile.click()
    await expect(shown(page)).to_have_text("1 of 9 shown")
    await expect(tile).to_have_attribute("aria-pressed", "true")
    await expect(page.get_by_role("radio", name="Failed 1")).to_be_checked()
    await tile.click()
    await expect(shown(page)).to_have_text("9 shown")


async def test_numbers_of_each_model(open_page: OpenPage) -> None:
    """Images, failures, cost and time of each model are in a table."""
    page = await open_page()
    await page.get_by_text("Cost, failures and time of each of 2 models").click()
    line = page.get_by_role("row", name="gpt-image-2")
    for text in ("4 of 5 done", "1 failed", "$0.16", "$0.04"):
        await expect(line).to_contain_text(text)


async def test_metadata(open_page: OpenPage, tmp_path: Path) -> None:
    """What rows came with is searched, shown with the image, and an axis of the table."""
    entries = [
        {
            "id": str(number),
            "at": 1_795_000_000,
            "name": f"row-{number}",
            "prompt": "a fox",
            "model": "hidream",
            "route": "images",
            "parameters": {},
            "metadata": {"Category": category, "</script>": ["<b>"]},
            "row": number,
            "state": "failed",
            "charge": "rejected",
            "reason": "no. Nothing was charged.",
            "cost_usd": 0,
            "images": [],
        }
        for number, category in enumerate(("Animals", "Animals", "Vehicles"), 1)
    ]
    file = tmp_path / "index.html"
    lines = map(to_line, entries)
    document = Document(
        title="job", service="", span="", tiles=[], models=[], entries=lines, number=1, names=["index.html"]
    )
    file.write_text("".join(render(document)))
    page = await open_page(file)
    await page.get_by_role("searchbox").fill("category=vehicles")
    await expect(shown(page)).to_have_text("1 of 3 shown")
    card = page.locator("#grid .card")
    await expect(card).to_contain_text("Nothing was charged.")
    await expect(card).not_to_contain_text("It was not charged.")
    await card.click()
    for text in ("Category", "Vehicles", '["<b>"]', "Row", "3"):
        await expect(page.locator("#facts")).to_contain_text(text)
    await page.keyboard.press("Escape")
    await page.get_by_role("searchbox").fill("")
    await page.get_by_text("Table", exact=True).click()
    assert await headers(page, "columnheader") == ["Prompt \u00d7 category", "Animals", "Vehicles"]


@pytest.mark.parametrize("scheme", ["light", "dark"])
async def test_accessibility_of_table_and_groups(open_page: OpenPage, scheme: str) -> None:
    """axe finds nothing to object to in the table, in groups, and with the numbers of models open."""
    page = await open_page(color_scheme=scheme)
    axe = Axe()
    await page.get_by_text("Cost, failures and time").first.click()
    await page.locator("#grid .card").first.press("x")
    for fragment in ("view=table", "group=model&size=120", "state=failed"):
        await page.goto(page.url.partition("#")[0] + f"#{fragment}")
        found = await axe.run(page)
        assert not found.violations_count, found.generate_report()


async def test_phone(open_page: OpenPage) -> None:
    """On a phone the first images are on the screen, the filters behind a button, and the table scrolls in itself."""
    page = await open_page(viewport={"width": 360, "height": 740}, is_mobile=True, has_touch=True)
    await expect(page.locator("#grid img").first).to_be_in_viewport()
    await expect(page.get_by_label("Sort by")).to_be_hidden()
    await page.get_by_role("button", name="Filter").click()
    await page.get_by_text("Table", exact=True).click()
    await page.get_by_label("Columns").select_option("p:seed")
    assert await page.evaluate("document.documentElement.scrollWidth") == 360


async def test_only_what_is_near_exists_in_the_table(open_page: OpenPage, tmp_path: Path) -> None:
    """Of many rows and columns only the cells near the window are in the page."""
    rows = [
        Row(prompt=f"refused {number % 40}", ending=Charge.REJECTED, fields={"seed": number})
        for number in range(600)
    ]
    out = await write_job(tmp_path / "many", rows)
    index = (await write_gallery(out)).index
    page = await open_page(index, viewport={"width": 1000, "height": 700})
    await page.goto(f"{page.url}#view=table&columns=p:seed")
    assert await page.locator("#table [role=gridcell]").count() < 150
    await page.locator("#table [data-place]").first.focus()
    await page.keyboard.press("End")
    last = page.locator("#table [data-place='599']")
    await expect(last).to_be_focused()
    await expect(last).to_be_in_viewport()
    assert await page.locator("#table [role=gridcell]").count() < 200


async def test_stored_rubbish(open_page: OpenPage) -> None:
    """Picks that cannot be read from the browser's storage are none."""
    page = await open_page()
    key = await page.evaluate("`nanogpt-gallery-picks ${location.pathname.replace(/[^/]*$/, '')}`")
    for rubbish in ("{", "null", "[]", json.dumps({"a": 1})):
        await page.evaluate("([key, text]) => localStorage.setItem(key, text)", [key, rubbish])
        await page.reload()
        await expect(shown(page)).to_have_text("9 shown")
