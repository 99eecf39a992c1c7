"""Letters of any script: the font that comes with Pillow, then those of the system, then words that say what is missing."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable
from functools import cache, lru_cache
from typing import TYPE_CHECKING, Final, cast

if TYPE_CHECKING:
    from PIL import ImageFont
    from PIL.ImageDraw import ImageDraw as Pen

    Font = ImageFont.FreeTypeFont | ImageFont.ImageFont

# Free fonts of Linux distributions first, then those of macOS and Windows; Pillow looks for them by name. Colour fonts
# are left out: the caption has one ink.
_SYSTEM_FONTS: Final = (
    *("DejaVuSans.ttf", "NotoSans-Regular.ttf", "LiberationSans-Regular.ttf"),
    *("NotoSansArabic-Regular.ttf", "NotoNaskhArabic-Regular.ttf", "NotoSansHebrew-Regular.ttf"),
    *("NotoSansDevanagari-Regular.ttf", "NotoSansThai-Regular.ttf", "NotoEmoji-Regular.ttf", "Symbola.ttf"),
    *(
        "NotoSansCJK-Regular.ttc",
        "NotoSansCJKsc-Regular.otf",
        "NotoSansSC-Regular.otf",
        "NotoSansJP-Regular.otf",
    ),
    *("NotoSansKR-Regular.otf", "wqy-microhei.ttc", "wqy-zenhei.ttc", "DroidSansFallbackFull.ttf"),
    *("DroidSansFallback.ttf", "unifont.otf", "unifont.ttf"),
    *("Arial Unicode.ttf", "PingFang.ttc", "Hiragino Sans GB.ttc", "AppleSDGothicNeo.ttc", "GeezaPro.ttc"),
    *("arial.ttf", "msyh.ttc", "YuGothM.ttc", "malgun.ttf", "seguisym.ttf"),
)
_NO_CHARACTER: Final = "\uffff"
_BRACKETS: Final = "[]"


class Lettering:
    """
    Draw text in one size with whatever fonts have its characters.

    Args:
        size: Height of the letters, in pixels.
    """

    def __init__(self, size: int) -> None:
        self._size = size

    def length(self, text: str) -> float:
        """Return the width of *text*, which `drawable` made, in pixels."""
        return sum(font.getlength(run) for font, run in self._runs(text))

    def draw(self, pen: Pen, x: float, y: float, text: str, fill: int) -> None:
        """Draw *text*, which `drawable` made, with its upper left corner at *x* and *y*."""
        for font, run in self._runs(text):
            # One base line for all fonts.
            pen.text((x, y + self._size), run, fill=fill, font=font, anchor="ls")
            x += font.getlength(run)

    def _runs(self, text: str) -> list[tuple[Font, str]]:
        """Divide *text* by font; a space stays with what is before it."""
        runs: list[tuple[Font, str]] = []
        for character in text:
            place = _place(character) or 0
            if runs and (character == " " or runs[-1][0] is _font(place, self._size)):
                runs[-1] = (runs[-1][0], runs[-1][1] + character)
            else:
                runs.append((_font(place, self._size), character))
        return runs


def drawable(text: str) -> str:
    """
    Replace what no font here has: an accented letter by its base, an emoji by its name, other scripts by a note.

    Source: docs/sandbox.md, "Images".
    """
    kept: list[str] = []
    missing: list[str] = []
    for character in [*unicodedata.normalize("NFC", text), ""]:
        drawn = character and _drawn(character)
        if drawn is None or (missing and drawn.isspace()):
            missing.append(character)
            continue
        if missing and (drawn or not character):
            kept.append(_note(missing))
            missing = []
        kept.append(drawn)
    return "".join(kept)


def _drawn(character: str) -> str | None:
    """Return what is drawn for *character*: itself, letters of the first font, or nothing; None where no font has it."""
    if character.isspace() or _has(0, character):
        return character
    base = "".join(c for c in unicodedata.normalize("NFKD", character) if not unicodedata.combining(c))
    if base and all(_has(0, c) for c in base):
        return base
    if unicodedata.category(character) in ("Cc", "Cf", "Mn", "Me"):
        # Joiners and variants say how others look.
        return character if _place(character) else ""
    if _place(character) is not None:
        return character
    name = unicodedata.name(character, "")
    if unicodedata.category(character) == "So" and name:
        return f"{_BRACKETS[0]}{name.lower()}{_BRACKETS[1]}"
    return None


def _note(missing: list[str]) -> str:
    """Say how many characters of which script there is no font for."""
    script = unicodedata.name(missing[0], "unknown").split(" ")[0].split("-")[0]
    text = "".join(missing)
    number = sum(not character.isspace() for character in text)
    words = "characters" if number > 1 else "character"
    name = script if script == "CJK" else script.capitalize()
    space = " " if text[-1].isspace() else ""
    return f"{_BRACKETS[0]}{number} {name} {words}: no font here{_BRACKETS[1]}{space}"


@lru_cache(maxsize=4096)
def _place(character: str) -> int | None:
    """Return the number of the first font that has *character*; None if there is none."""
    if _has(0, character):
        return 0
    if unicodedata.bidirectional(character) in ("R", "AL") and not _shapes():
        return None
    return next((place for place in range(1, len(_fonts())) if _has(place, character)), None)


@lru_cache(maxsize=8192)
def _has(place: int, character: str) -> bool:
    from PIL import ImageFont

    if not 0 <= place < len(_fonts()):
        return False
    font = _font(place, 24)
    if not isinstance(font, ImageFont.FreeTypeFont):
        return character.isascii()
    shown, none = font.getmask(character), font.getmask(_NO_CHARACTER)
    return bool(shown.getbbox()) and (shown.size != none.size or _pixels(shown) != _pixels(none))


def _pixels(mask: object) -> bytes:
    # Pillow's stubs do not say that a mask is a sequence of bytes.
    return bytes(cast("Iterable[int]", mask))


@cache
def _fonts() -> tuple[str | None, ...]:
    """Return the names of the fonts that are there; None, the first, is the one that comes with Pillow."""
    from PIL import ImageFont

    names: list[str | None] = [None]
    for name in _SYSTEM_FONTS:
        try:
            ImageFont.truetype(name, 24)
        except OSError:
            continue
        names.append(name)
    return tuple(names)


@lru_cache(maxsize=256)
def _font(place: int, size: int) -> Font:
    from PIL import ImageFont

    name = _fonts()[place] if place else None
    return ImageFont.load_default(size=size) if name is None else ImageFont.truetype(name, size)


@cache
def _shapes() -> bool:
    """Return whether letters that join and run to the left can be drawn."""
    from PIL import features

    return bool(features.check("raqm"))
