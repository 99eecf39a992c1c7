"""Prompts of any script are legible in the sandbox's images, or said not to be."""

from __future__ import annotations

import pytest

from nanogpt_images.sandbox.drawing import lettering
from nanogpt_images.sandbox.drawing.draw import Sketch, encoded
from nanogpt_images.sandbox.drawing.lettering import Lettering, drawable

PROMPTS = {
    "chinese": "一只红色的狐狸睡在雪地里",
    "japanese": "雪の中で眠る赤い狐",
    "korean": "눈 속에서 자는 여우",
    "arabic": "ثعلب أحمر نائم في الثلج",
    "emoji": "a fox 🦊👩‍👩‍👧 in the snow ❄️",
}


@pytest.fixture
def no_system_fonts(monkeypatch: pytest.MonkeyPatch):
    """A system without fonts."""

    def forget() -> None:
        for cached in (lettering._place, lettering._has, lettering._fonts, lettering._font):
            cached.cache_clear()

    monkeypatch.setattr(lettering, "_SYSTEM_FONTS", ("there-is-no-such-font.ttf",))
    forget()
    yield
    monkeypatch.undo()
    forget()


@pytest.mark.usefixtures("no_system_fonts")
@pytest.mark.parametrize(
    ("prompt", "text"),
    [
        ("a red fox, café", "a red fox, cafe"),
        ("한국어 여우 on snow", "[5 Hangul characters: no font here] on snow"),
        (
            "一只狐 mit Schnee 狐",
            "[3 CJK characters: no font here] mit Schnee [1 CJK character: no font here]",
        ),
        ("ثعلب", "[4 Arabic characters: no font here]"),
        ("a 🦊\u200d\ufe0f!", "a [fox face]!"),
        ("", ""),
    ],
)
def test_what_no_font_has_is_said(prompt: str, text: str) -> None:
    """Where there is no font, an emoji is its name and other scripts are counted, never empty boxes."""
    assert drawable(prompt) == text


@pytest.mark.parametrize("prompt", PROMPTS.values(), ids=PROMPTS)
def test_nothing_is_drawn_as_a_box(prompt: str) -> None:
    """All that is drawn is in the font that draws it, whatever fonts the system has."""
    text = drawable(prompt)
    for font, run in Lettering(20)._runs(text):
        none = font.getmask("\uffff")
        for character in run:
            if not character.isspace() and (shown := font.getmask(character)).getbbox():
                assert (shown.size, bytes(shown)) != (none.size, bytes(none))


@pytest.mark.parametrize(
    "prompt", ["\ud800 a", "\u202e\u0000", "x" * 5_000, "狐" * 5_000, "a\u0301" * 50, "\uffff"]
)
def test_any_text_is_drawn(prompt: str) -> None:
    """Lone surrogates, controls, endless words and characters that are none make an image all the same."""
    sketch = Sketch(
        prompt=prompt, model="m", resolution="r", seed=1, index=0, width=120, height=90, image_format="png"
    )
    assert encoded(sketch).startswith(b"\x89PNG")


def test_arabic_has_a_font_where_dejavu_is_installed() -> None:
    """A font of the system is used for a script that Pillow's own font lacks."""
    if "DejaVuSans.ttf" not in lettering._fonts() or not lettering._shapes():
        pytest.skip("DejaVu Sans and Raqm are not here")
    assert drawable(PROMPTS["arabic"]) == PROMPTS["arabic"]
