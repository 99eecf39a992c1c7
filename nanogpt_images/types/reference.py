"""What a caller may hand over as an input image, and what becomes of it."""

from __future__ import annotations

import os
from collections.abc import Collection, Mapping
from typing import IO, Final, Literal, Protocol, TypeAlias, runtime_checkable

import attrs

MAX_OPENAI_ENCODED_BYTES: Final = 4 * 2**20
"""Input images of one request to the OpenAI-compatible route, encoded. Source:
docs/service.md, "Generate, OpenAI-compatible", "4 MB or smaller after encoding"; the looser reading of MB,
since a refusal by the service is free and one of ours is final."""
MAX_BODY_BYTES: Final = 4_400_000
"""Assumption: a longer request body is cut off with a plain-text 413 on either route (observed, not documented)."""
MAX_FETCH_BYTES: Final = 30 * 2**20
"""One fetched image, where nothing stricter holds. Source: docs/service.md, "Endpoint metadata", `max_bytes`."""


@runtime_checkable
class SupportsPillowSave(Protocol):
    """A Pillow image, as far as it is used here."""

    @property
    def size(self) -> tuple[int, int]: ...
    @property
    def mode(self) -> str: ...
    def save(self, fp: IO[bytes], format: str | None = None, **params: int) -> None: ...  # noqa: A002


@runtime_checkable
class HasImageData(Protocol):
    """An image of an earlier result: its bytes, its file or its URL is used, in this order."""

    @property
    def data(self) -> bytes | None: ...
    @property
    def path(self) -> os.PathLike[str] | None: ...
    @property
    def url(self) -> str | None: ...


ReferenceInput: TypeAlias = (
    str
    | os.PathLike[str]
    | bytes
    | bytearray
    | memoryview
    | SupportsPillowSave
    | HasImageData
    | Mapping[str, object]
)
"""
What is taken as an input image.

A `str` that begins with `http://`, `https://` or `data:` is that, any other is the path of a file: do not
pass a text on that a stranger may choose. A mapping is the documented `image_url` object. A Pillow image
is sent as PNG, or as JPEG of quality 95 when it was opened from one or its mode demands it; its pixels are
taken as they are, without turning them by an orientation tag.
"""
Remote: TypeAlias = Literal["link", "fetch"]
"""What becomes of an http(s) URL: it goes to the service as it is, or is fetched here and embedded."""
AllowPrivate: TypeAlias = bool | Collection[str]
"""True lets a fetch reach private addresses; names of hosts do so for these hosts alone."""


class FetchBytes(Protocol):
    """
    Fetches a URL for embedding.

    An implementation of your own decides which addresses it may reach; the default one refuses those that
    are not public at the moment it connects.
    """

    async def __call__(self, url: str, *, max_bytes: int, allow_private: AllowPrivate) -> bytes: ...


def _short_url(url: str) -> str:
    if is_data_url(url):
        return repr(url[:40] + "…" if len(url) > 40 else url)
    return repr(url.partition("?")[0])


@attrs.frozen(kw_only=True)
class Reference:
    """
    An input image as it goes over the wire.

    Attributes:
        url: A data URL, or a link that the service follows.
        media_type: Such as `image/png`, from the bytes; None for a link, as for all that follow.
        width: Pixels, from the bytes; None also where they do not tell.
        height: Pixels, from the bytes; None also where they do not tell.
        size_bytes: Length of the image before encoding.
    """

    url: str = attrs.field(repr=_short_url)
    media_type: str | None = None
    width: int | None = None
    height: int | None = None
    size_bytes: int | None = None

    @property
    def encoded_bytes(self) -> int:
        """What it takes of the request body."""
        return len(self.url)


def is_link(text: str) -> bool:
    """Return whether *text* is an http(s) URL."""
    return text[:8].lower().startswith(("http://", "https://"))


def is_data_url(text: str) -> bool:
    """Return whether *text* is a data URL."""
    return text[:5].lower() == "data:"
