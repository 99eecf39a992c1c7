"""What people are shown: long values cut, how to install an extra, what a notebook makes of a cell's last value."""

from __future__ import annotations

import re
import reprlib
from typing import Final

MOST_SHOWN: Final = 200
"""Characters of a URL or another value in a text or a `repr`."""

_LONG_URL: Final = re.compile(rf"\b(?:https?:|data:)[^\s\"'<>]{{{MOST_SHOWN - 6}}}[^\s\"'<>]+", re.IGNORECASE)
_REPR: Final = reprlib.Repr()
_REPR.maxstring = _REPR.maxother = _REPR.maxlong = MOST_SHOWN
_REPR.maxdict = _REPR.maxlist = _REPR.maxtuple = 30


# As in pyproject.toml; the metadata of what is installed would have to be read, and there may be a loop.
_PACKAGES: Final = {
    "cli": '"click>=8.2" "rich>=13.9"',
    "sandbox": '"pillow>=11"',
    "pillow": '"pillow>=11"',
    "gallery": '"jinja2>=3.1.5" "pillow>=11"',
    "parquet": '"pyarrow>=18"',
    "webdataset": '"webdataset>=0.2.100"',
    "opentelemetry": '"opentelemetry-api>=1.30"',
    "ray": '"ray>=2.50"',
    "ray-data": '"ray[data]>=2.50"',
    "object-storage": '"obstore>=0.8"',
}


def shown(value: object) -> str:
    """Return the `repr` of *value*, its long texts cut in the middle."""
    return _REPR.repr(value)


def shown_url(url: str) -> str:
    """Return *url* without its query, which may hold secrets, and cut where it is long: a data URL is an image."""
    place = url.partition("?")[0]
    return place if len(place) <= MOST_SHOWN else f"{place[: MOST_SHOWN - 1]}…"


def with_short_urls(text: str) -> str:
    """Return *text* with the long URLs in it cut."""
    return _LONG_URL.sub(lambda url: f"{url[0][: MOST_SHOWN - 1]}…", text)


def duration(seconds: float) -> str:
    """Return `45 s`, `3 min 20 s`, `2 h 5 min` or `3 d 4 h`."""
    whole = round(seconds)
    if whole < 1 and seconds > 0:
        return "under 1 s"
    if whole < 60:
        return f"{whole} s"
    for size, unit, smaller, name in (
        (86_400, "d", 3_600, "h"),
        (3_600, "h", 60, "min"),
        (60, "min", 1, "s"),
    ):
        if whole >= size:
            rest = whole % size // smaller
            return f"{whole // size} {unit}" + (f" {rest} {name}" if rest else "")
    raise AssertionError("unreachable: whole is 60 or more")


def install_hint(extra: str) -> str:
    """
    Return the command that installs what *extra* needs, by the names of the packages.

    It works beside a checkout and beside a release alike, which `nanogpt_images[extra]` does not.
    """
    return f"pip install {_PACKAGES[extra]} (extra '{extra}')"


class Displayed:
    """A mixin: IPython asks for these methods, and only then the code behind them is loaded."""

    __slots__ = ()

    def _repr_html_(self) -> str:
        from ..integrations.jupyter import html_of

        return html_of(self)

    def _repr_mimebundle_(self, include: object = None, exclude: object = None) -> dict[str, str]:
        # IPython itself leaves out what it does not want.
        del include, exclude
        return {"text/plain": repr(self), "text/html": self._repr_html_()}
