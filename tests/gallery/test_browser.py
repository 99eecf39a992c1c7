"""The page in a real browser, opened from disk as its reader opens it."""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any, TypeAlias

import pytest
from axe_playwright_python.async_playwright import Axe
from playwright.async_api import Browser, BrowserContext, Locator, Page, async_playwright, expect

from nanogpt_images.errors import Charge
from nanogpt_images.gallery import write_gallery

from .conftest import HOSTILE, Row, bomb, write_job

REQUIRED = "NANOGPT_TEST_BROWSER"
NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
EXECUTABLE = next((path for path in map(shutil.which, NAMES) if path), None)
SVG = b'<svg xmlns="http://www.w3.org/2000/svg" width="48" height="32"><script>alert(3)</script></svg>'

# CI sets the variable, so that there a missing browser fails instead of passing unseen.
pytestmark = pytest.mark.skipif(
    EXECUTABLE is None and os.environ.get(REQUIRED) != "required", reason="there is no Chromium here"
)

ROWS = [
    *(Row(prompt=prompt, fields={"key": key}) for key, prompt in HOSTILE.items()),
    Row(prompt="two foxes", fields={"count": 2, "seed": 4711, "model": "hidream"}),
    Row(prompt="a portrait", size=(40, 120)),
    Row(prompt="a panorama", size=(300, 40)),
    Row(prompt="a drawing", media_type="image/svg+xml", files=[SVG]),
    Row(prompt="a bomb", files=[bomb()], size=(100_000, 100_000)),
    Row(prompt="a refused hare", ending=Charge.REJECTED),
    Row(prompt="a lost owl", ending=Charge.UNKNOWN, fields={"model": "hidream"}),
    Row(prompt="an open download", ending="linked"),
    Row(prompt="not sent", ending="pending"),
]
CARDS = len(HOSTILE) + 9

OpenPage: TypeAlias = Callable[..., Awaitable[Page]]


@pytest.fixture(scope="module")
async def browser() -> AsyncIterator[Browser]:
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=EXECUTABLE)
        yield browser
        await browser.close()


@pytest.fixture(scope="module")
async def job(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A job with one of everything, in a directory whose name means something in an address."""
    out = await write_job(tmp_path_factory.mktemp("gallery") / "job #1 100% ?", ROWS)
    return (await write_gallery(out)).index


@pytest.fixture
async def open_page(browser: Browser, job: Path) -> AsyncIterator[OpenPage]:
    """
    Opens a page in a window of its own.

    Nothing may fail, pop up or leave the disk while it is open, beside console messages that a test expects.
    """
    troubles: list[str] = []
    contexts: list[BrowserContext] = []

    async def opened(file: Path = job, *, expected: str = "nothing", **options: Any) -> Page:
        context = await browser.new_context(**options)
        contexts.append(context)
        page = await context.new_page()
        page.on("dialog", lambda dialog: troubles.append(f"dialog {dialog.message}"))
        page.on("pageerror", lambda error: troubles.append(f"error {error}"))
        page.on(
            "console",
            lambda message: (
                None if re.search(expected, message.text) else troubles.append(f"console {message.text}")
            ),
        )
        context.on(
            "request",
            lambda request: (
                None if request.url.startswith("file:") else troubles.append(f"request {request.url}")
            ),
        )
        await page.goto(file.resolve().as_uri())
        return page

    yield opened
    for context in contexts:
        await context.close()
    assert troubles == []


def shown(page: Page) -> Locator:
    return page.locator("#count")


def dialog(page: Page) -> Locator:
    return page.get_by_role("dialog")


async def open_card(page: Page, prompt: str) -> None:
    await page.get_by_role("searchbox", name="Search").fill(prompt)
    await page.locator("#grid").get_by_role("button").first.click()
    await expect(dialog(page)).to_be_visible()


async def test_everything_is_there(open_page: OpenPage) -> None:
    """The page has its landmarks, the numbers of the job, and a card for each image and each failure."""
    page = await open_page()
    await expect(page.get_by_role("heading", level=1)).to_have_text("job #1 100% ?")
    for landmark in ("banner", "main", "search", "contentinfo"):
        await expect(page.locator(f"role={landmark}")).to_be_visible()
    await expect(page.get_by_role("region", name="Planned and actual")).to_contain_text(
        "2 to do, 1 unknown"[:0]
    )
    await expect(shown(page)).to_have_text(f"{CARDS} shown")
    await expect(page.get_by_role("listitem").first).to_have_attribute("aria-setsize", str(CARDS))
    loaded = (
        "Array.from(document.querySelectorAll('#grid img')).filter(i => i.complete && !i.naturalWidth).length"
    )
    await page.wait_for_load_state("networkidle")
    assert await page.evaluate(loaded) == 0


@pytest.mark.parametrize("key", HOSTILE)
async def test_a_hostile_prompt_is_text(open_page: OpenPage, key: str) -> None:
    """A prompt is shown character by character and copied so, whatever it looks like; none of it runs."""
    page = await open_page(permissions=["clipboard-read", "clipboard-write"])
    await open_card(page, key)
    assert await page.locator("#viewer-prompt").text_content() == HOSTILE[key]
    await dialog(page).get_by_role("button", name="Copy prompt").click()
    await expect(page.locator("#copied")).to_have_text("Copied")
    copied = await page.evaluate("navigator.clipboard.readText()")
    assert copied.replace("\r\n", "\n") == HOSTILE[key].replace("\r\n", "\n")
    assert await page.evaluate("globalThis.pwned === undefined")
    assert await page.locator("img[src=x]").count() == 0


async def test_the_policy_holds(open_page: OpenPage) -> None:
    """What the page's own script does not do, nobody can do: no inline handler, no script, no fetch, no markup."""
    page = await open_page(expected="blocked|Content Security Policy")
    refused = await page.evaluate(
        """async () => {
          const refused = [];
          document.addEventListener("securitypolicyviolation", (event) => refused.push(event.effectiveDirective));
          const script = document.createElement("script");
          try { script.textContent = "globalThis.pwned = 1"; } catch { refused.push("trusted types"); }
          try { document.body.innerHTML = "<b>x</b>"; } catch { refused.push("markup"); }
          await fetch("https://example.invalid/").catch(() => {});
          await new Promise((done) => setTimeout(done));
          return refused;
        }"""
    )
    assert {"trusted types", "markup", "connect-src"} <= set(refused)


async def test_filters(open_page: OpenPage) -> None:
    """Model, state and words narrow what is shown, together; the filters can be cleared."""
    page = await open_page()
    await page.get_by_label("Model").select_option("hidream")
    await expect(shown(page)).to_have_text(f"3 of {CARDS} shown")
    await page.get_by_role("radio", name="Unknown 1").check()
    await expect(shown(page)).to_have_text(f"1 of {CARDS} shown")
    await expect(page.get_by_role("listitem")).to_contain_text("OutcomeUnknownError: it went wrong")
    await expect(page.get_by_role("listitem")).to_contain_text("up to $0.05")
    await page.get_by_role("searchbox").fill("no such words")
    await expect(page.get_by_text("Nothing matches these filters.")).to_be_visible()
    await page.get_by_role("button", name="Clear the filters").click()
    await expect(shown(page)).to_have_text(f"{CARDS} shown")
    await expect(page.get_by_role("searchbox")).to_be_focused()


@pytest.mark.parametrize(
    ("words", "number"),
    [("FOXES two", 2), ("seed=4711", 2), ("req-0", 1), ("ContentPolicyError", 1), ("ثعلب", 1), ("🦊", 2)],
)
async def test_words(open_page: OpenPage, words: str, number: int) -> None:
    """Words are looked for in prompts, parameters, request IDs and reasons, in any order and case."""
    page = await open_page()
    await page.get_by_role("searchbox").fill(words)
    await expect(shown(page)).to_have_text(f"{number} of {CARDS} shown")
    await expect(page.get_by_role("listitem")).to_have_count(number)


async def test_one_image(open_page: OpenPage) -> None:
    """A click shows an image large with all that is known of it; arrows go on within what is filtered."""
    page = await open_page()
    await open_card(page, "foxes")
    facts = page.locator("#facts")
    for text in ("hidream", "$0.02", "48 \u00d7 32", "4711", "images/two-foxes", "req-8"):
        await expect(facts).to_contain_text(text)
    large = dialog(page).get_by_role("img", name="two foxes")
    await expect(large).to_have_js_property("naturalWidth", 48)
    await expect(dialog(page).get_by_role("link", name="Open the file")).to_have_attribute(
        "href", re.compile(r"^\./images/two-foxes-\w+-0-[0-9a-f]{8}\.png$")
    )
    first = await large.get_attribute("src")
    await expect(dialog(page).get_by_role("button", name="Previous")).to_be_disabled()
    await page.keyboard.press("ArrowRight")
    await expect(dialog(page).get_by_role("heading", level=2)).to_have_text("2 of 2")
    assert await large.get_attribute("src") != first
    await expect(dialog(page).get_by_role("button", name="Next")).to_be_disabled()
    await dialog(page).get_by_role("button", name="Close").click()
    await expect(dialog(page)).to_be_hidden()
    await expect(page.get_by_role("listitem").nth(1).get_by_role("button")).to_be_focused()


@pytest.mark.parametrize(
    ("prompt", "text"),
    [
        ("a refused hare", "ContentPolicyError: it went wrong: a refused hare"),
        ("a lost owl", "It may have been charged."),
        ("an open download", "the next run downloads it"),
        ("a bomb", "too many pixels"),
    ],
)
async def test_what_cannot_be_shown(open_page: OpenPage, prompt: str, text: str) -> None:
    """A failure, an unknown outcome and an image that is not decoded have their reason, and no file to open."""
    page = await open_page()
    await open_card(page, prompt)
    await expect(dialog(page)).to_contain_text(text)
    await expect(dialog(page).get_by_role("link")).to_have_count(0)
    assert await page.locator("img").count() == 0


async def test_an_svg_is_an_image_only(open_page: OpenPage) -> None:
    """An SVG is drawn, where its script cannot run; it is not offered to be opened, where it could."""
    page = await open_page()
    await open_card(page, "a drawing")
    await expect(dialog(page).get_by_role("img")).to_have_js_property("naturalWidth", 48)
    await expect(dialog(page).get_by_role("link")).to_have_count(0)


async def test_a_card_is_named_once(open_page: OpenPage) -> None:
    """To a screen reader a card is its prompt, cost, seed and model, and says where it stands among all."""
    page = await open_page()
    named = page.get_by_role("button", name="two foxes $0.02 \u00b7 seed 4711 \u00b7 hidream", exact=True)
    await expect(named).to_have_count(2)
    place = len(HOSTILE) + 1
    card = page.get_by_role("listitem").filter(has=named).first
    await expect(card).to_have_attribute("aria-posinset", str(place))


async def test_keyboard_alone(open_page: OpenPage) -> None:
    """From the first key to the last image and back, without a mouse."""
    page = await open_page()
    press = page.keyboard.press
    await press("Tab")
    await expect(page.get_by_role("link", name="Skip to the images")).to_be_focused()
    await press("Enter")
    await press("Tab")
    cards = page.get_by_role("listitem")
    await expect(cards.first.get_by_role("button")).to_be_focused()
    await press("ArrowRight")
    await expect(cards.nth(1).get_by_role("button")).to_be_focused()
    await press("ArrowDown")
    await press("ArrowUp")
    await expect(cards.nth(1).get_by_role("button")).to_be_focused()
    await press("End")
    last = page.locator(f"[aria-posinset='{CARDS}']").get_by_role("button")
    await expect(last).to_be_focused()
    await press("Enter")
    await expect(dialog(page).get_by_role("heading", level=2)).to_be_focused()
    for _ in range(8):
        await press("Tab")
        assert await page.evaluate("!document.activeElement.closest('main')")
    await press("ArrowLeft")
    await press("Escape")
    await expect(page.locator(f"[aria-posinset='{CARDS - 1}']").get_by_role("button")).to_be_focused()
    await press("Home")
    await press("Shift+Tab")
    await expect(page.get_by_role("slider", name="Size")).to_be_focused()


async def test_the_grid_is_one_stop(open_page: OpenPage) -> None:
    """Tab leaves the images at once, however many there are."""
    page = await open_page()
    await page.locator("#grid").get_by_role("button").first.focus()
    await page.keyboard.press("Tab")
    assert not await page.evaluate("document.querySelector('#grid').contains(document.activeElement)")


async def test_light_and_dark(open_page: OpenPage) -> None:
    """The system's preference holds until the button is pressed; the choice outlives a reload."""
    background = "getComputedStyle(document.body).backgroundColor"
    light, dark = "rgb(246, 245, 242)", "rgb(17, 17, 20)"
    assert await (await open_page()).evaluate(background) == light
    page = await open_page(color_scheme="dark")
    button = page.get_by_role("button", name="Dark theme")
    assert await page.evaluate(background) == dark
    await expect(button).to_have_attribute("aria-pressed", "true")
    await button.click()
    assert await page.evaluate(background) == light
    await page.reload()
    assert await page.evaluate(background) == light
    await expect(button).to_have_attribute("aria-pressed", "false")


async def test_phone(open_page: OpenPage) -> None:
    """On a narrow screen nothing is wider than the screen, neither on the page nor in the dialog."""
    page = await open_page(viewport={"width": 320, "height": 640}, is_mobile=True, has_touch=True)
    assert await page.evaluate("document.documentElement.scrollWidth") == 320
    boxes = await page.evaluate(
        "Array.from(document.querySelectorAll('#grid li'), (li) => li.getBoundingClientRect().right)"
    )
    assert max(boxes) <= 320
    await open_card(page, "long")
    assert await dialog(page).evaluate("(dialog) => dialog.scrollWidth") == 320
    await expect(dialog(page).get_by_role("button", name="Close")).to_be_in_viewport()


@pytest.mark.parametrize("scheme", ["light", "dark"])
async def test_accessibility_rules(open_page: OpenPage, scheme: str) -> None:
    """axe finds nothing to object to, contrast included, on the page, in the dialog, and where nothing matches."""
    page = await open_page(color_scheme=scheme)
    axe = Axe()

    async def check() -> None:
        found = await axe.run(page)
        assert not found.violations_count, found.generate_report()

    await check()
    await page.get_by_role("radio", name="Failed").check()
    await check()
    await open_card(page, "a refused hare")
    await check()
    await page.keyboard.press("Escape")
    await page.get_by_role("searchbox").fill("nothing of the kind")
    await check()


async def test_only_what_is_near_exists(open_page: OpenPage, tmp_path: Path) -> None:
    """Of many cards only those near the window are in the page, wherever it stands; each knows its place."""
    out = await write_job(
        tmp_path / "many", [Row(prompt=f"refused {number}", ending=Charge.REJECTED) for number in range(600)]
    )
    page = await open_page((await write_gallery(out)).index, viewport={"width": 1000, "height": 700})
    cards = page.get_by_role("listitem")
    assert await cards.count() < 60
    await page.locator("#grid").get_by_role("button").first.focus()
    await page.keyboard.press("End")
    last = page.locator("[aria-posinset='600']")
    await expect(last.get_by_role("button")).to_be_focused()
    await expect(last).to_be_in_viewport()
    assert await cards.count() < 60
    await page.get_by_role("searchbox").fill("req-59")
    await expect(shown(page)).to_have_text("11 of 600 shown")
    await expect(cards.first).to_be_in_viewport()


async def test_several_pages(open_page: OpenPage, tmp_path: Path) -> None:
    """Pages lead to each other, and say that filters stay on theirs."""
    out = await write_job(tmp_path / "pages", [Row(prompt=f"fox {number}") for number in range(3)])
    page = await open_page((await write_gallery(out, max_cards=2)).index)
    await expect(page.get_by_text("2 shown")).to_be_visible()
    pages = page.get_by_role("navigation", name="Pages")
    await pages.get_by_role("link", name="Page 2").click()
    await expect(page.get_by_text("1 shown")).to_be_visible()
    await expect(pages.get_by_role("link", name="Page 2")).to_have_attribute("aria-current", "page")


async def test_an_empty_job(open_page: OpenPage, tmp_path: Path) -> None:
    """A job of which nothing has come yet says so, without filters for nothing."""
    out = await write_job(tmp_path / "empty", [Row(prompt="later", ending="pending")])
    page = await open_page((await write_gallery(out)).index)
    await expect(page.get_by_text("There is nothing to show yet")).to_be_visible()
    await expect(page.get_by_role("search")).to_be_hidden()


async def test_a_lost_thumbnail(open_page: OpenPage, tmp_path: Path) -> None:
    """Where a thumbnail or an image was deleted since, the card and the dialog say so."""
    out = await write_job(tmp_path / "lost", [Row(prompt="fox")])
    index = (await write_gallery(out)).index
    for file in [*out.rglob("*.webp"), *out.rglob("*.png")]:
        file.unlink()
    page = await open_page(index, expected="ERR_FILE_NOT_FOUND")
    await expect(page.get_by_role("listitem")).to_contain_text("No preview")


async def test_without_script(open_page: OpenPage) -> None:
    """Without JavaScript the numbers are there, and the way to the images."""
    page = await open_page(java_script_enabled=False)
    await expect(page.get_by_role("region", name="Planned and actual")).to_contain_text("Requests done")
    await expect(page.get_by_role("link", name="images", exact=True)).to_have_attribute("href", "images/")
