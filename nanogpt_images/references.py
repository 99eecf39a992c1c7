"""Input images: whatever a caller hands over → a checked data URL, or a link."""

from __future__ import annotations

import functools
import io
import logging
import os
import stat
from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path
from typing import IO, Final, Literal, Protocol, TypeAlias, TypeVar, cast, runtime_checkable
from urllib.parse import unquote, unquote_to_bytes, urlsplit

import anyio
import anyio.to_thread
import attrs
import pybase64

from ._sniff import sniff
from .errors import NanoGPTError, ParameterError, ReferenceImageError
from .models import Model, ReferenceLimits

_log = logging.getLogger("nanogpt_images")

MAX_OPENAI_ENCODED_BYTES: Final = 4 * 2**20
"""Input images of one request to the OpenAI-compatible route, encoded. Source:
seeds/openai-compatible-generations.txt, "4 MB or smaller after encoding"; the looser reading of MB,
since a refusal by the service is free and one of ours is final."""
MAX_BODY_BYTES: Final = 4_400_000
"""Assumption: a longer request body is cut off with a plain-text 413 on either route (observed, not documented)."""
MAX_FETCH_BYTES: Final = 30 * 2**20
"""One fetched image, where nothing stricter holds. Source: seeds/images-model-endpoints.txt, `max_bytes`."""

# Below this, base64 takes less time than handing the work to a thread.
_INLINE_BYTES: Final = 256 * 1024
_MOST_AT_ONCE: Final = 8
_SHOWN_CHARACTERS: Final = 80
_KNOWN: Final = "PNG, JPEG, WebP, GIF, AVIF, BMP or SVG"
# What Pillow writes as JPEG; CMYK and YCbCr cannot be written as PNG at all.
_JPEG_MODES: Final = frozenset({"L", "RGB", "CMYK", "YCbCr"})
_JPEG_ONLY_MODES: Final = frozenset({"CMYK", "YCbCr"})


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

    Whoever writes one decides which addresses it may reach; the one used by default refuses those that are
    not public at the moment it connects.
    """

    async def __call__(self, url: str, *, max_bytes: int, allow_private: AllowPrivate) -> bytes: ...


def _short_url(url: str) -> str:
    if _is_data_url(url):
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


async def load_references(
    sources: Sequence[ReferenceInput],
    *,
    remote: Remote,
    limits: ReferenceLimits | None = None,
    max_encoded_bytes: int | None = None,
    fetch: FetchBytes | None = None,
    allow_private: AllowPrivate = False,
    model: str | None = None,
    parameter: str = "input_references",
) -> tuple[Reference, ...]:
    """
    Load input images side by side, and give them back in order.

    Args:
        sources: The images; see `ReferenceInput`.
        remote: What to do with http(s) URLs.
        limits: What the model accepts; None checks none of it.
        max_encoded_bytes: Limit for all images together, as they go over the wire.
        fetch: Fetches URLs instead of this package.
        allow_private: Let a fetched URL point to a private address.
        model: ID of the model, for the texts of errors.
        parameter: Name of the parameter that holds the images, for the texts of errors.

    Raises:
        ParameterError: Too many images, or one outside the limits; nothing was sent.
        ReferenceImageError: An image that cannot be read or fetched, or is none; nothing was sent.
    """
    loader = _Loader(
        remote=remote,
        limits=limits or ReferenceLimits(),
        max_encoded_bytes=max_encoded_bytes,
        fetch=fetch,
        allow_private=allow_private,
        model=model,
        parameter=parameter,
    )
    most = loader.limits.max_items
    if most is not None and len(sources) > most:
        raise loader.refusal(f"{parameter} holds {len(sources)} images; {loader.taker} takes at most {most}.")
    references = await _side_by_side(loader, sources)
    if max_encoded_bytes is not None:
        check_total(references, max_encoded_bytes=max_encoded_bytes, model=model, parameter=parameter)
    return references


async def load_reference(
    source: ReferenceInput,
    *,
    remote: Remote,
    limits: ReferenceLimits | None = None,
    max_encoded_bytes: int | None = None,
    fetch: FetchBytes | None = None,
    allow_private: AllowPrivate = False,
    model: str | None = None,
    parameter: str = "input_references",
    position: int | None = None,
) -> Reference:
    """
    Load one input image; see `load_references`.

    Args:
        position: Its place among several, from 0, for the texts of errors.
    """
    loader = _Loader(
        remote=remote,
        limits=limits or ReferenceLimits(),
        max_encoded_bytes=max_encoded_bytes,
        fetch=fetch,
        allow_private=allow_private,
        model=model,
        parameter=parameter,
    )
    return await loader.load(source, position)


def check_total(
    references: Sequence[Reference],
    *,
    max_encoded_bytes: int,
    model: str | None = None,
    parameter: str = "input_references",
) -> None:
    """
    Refuse images that together do not fit into one request.

    Raises:
        ParameterError: They are larger than *max_encoded_bytes* as they go over the wire.
    """
    total = sum(reference.encoded_bytes for reference in references)
    if total > max_encoded_bytes:
        raise ParameterError(
            f"{parameter}: {len(references)} images are {total:,} bytes after encoding; one request takes "
            f"{max_encoded_bytes:,} in all. Compress them or scale them down. Nothing was sent.",
            model=model,
            parameter=parameter,
        )


class HasReferences(Protocol):
    """A request, as far as its input images go."""

    @property
    def route(self) -> Literal["images", "openai"]: ...
    @property
    def model(self) -> str: ...
    @property
    def references(self) -> tuple[ReferenceInput, ...]: ...


@attrs.frozen
class LoadedReferences:
    """The input images of a request, ready for its body: links or data URLs in order, and the mask's."""

    urls: tuple[str, ...] = attrs.field(default=(), repr=False)
    mask: str | None = attrs.field(default=None, repr=False)


class ReferenceLoader:
    """
    Loads the input images of requests in the form that each route takes.

    Args:
        allow_private: Let fetched URLs point to private addresses.
        fetch: Fetches URLs instead of this package.
    """

    def __init__(self, *, allow_private: AllowPrivate = False, fetch: FetchBytes | None = None) -> None:
        self._allow_private = allow_private
        self._fetch = fetch

    async def load(self, request: HasReferences, model: Model | None) -> LoadedReferences:
        """
        The input images of *request*, checked against what *model* accepts (None checks the size alone).

        Raises:
            ParameterError: Too many images, or one outside the limits; nothing was sent.
            ReferenceImageError: An image that cannot be read or fetched, or is none; nothing was sent.
        """
        mask: ReferenceInput | None = getattr(request, "mask_data_url", None)
        if not request.references and mask is None:
            return LoadedReferences()
        # The OpenAI-compatible route takes no links. Source: seeds/openai-compatible-generations.txt.
        openai = request.route == "openai"
        max_encoded_bytes = MAX_OPENAI_ENCODED_BYTES if openai else MAX_BODY_BYTES
        load = functools.partial(
            load_references,
            remote="fetch" if openai else "link",
            max_encoded_bytes=max_encoded_bytes,
            fetch=self._fetch,
            allow_private=self._allow_private,
            model=request.model,
        )
        name = "image_data_url" if openai else "input_references"
        images = await load(
            request.references, limits=None if model is None else model.references, parameter=name
        )
        # The model's limits are those of input images; no listing says anything of masks.
        masks = () if mask is None else await load([mask], parameter="mask_data_url")
        check_total(
            (*images, *masks), max_encoded_bytes=max_encoded_bytes, model=request.model, parameter=name
        )
        return LoadedReferences(
            tuple(image.url for image in images), next((mask.url for mask in masks), None)
        )


async def _side_by_side(loader: _Loader, sources: Sequence[ReferenceInput]) -> tuple[Reference, ...]:
    loaded: dict[int, Reference] = {}
    failed: list[NanoGPTError] = []
    slots = anyio.CapacityLimiter(_MOST_AT_ONCE)

    async def load(position: int, source: ReferenceInput) -> None:
        try:
            async with slots:
                loaded[position] = await loader.load(source, position)
        except NanoGPTError as error:
            # Raised below: out of the group it would come wrapped in an ExceptionGroup.
            failed.append(error)
            group.cancel_scope.cancel()

    async with anyio.create_task_group() as group:
        for position, source in enumerate(sources):
            group.start_soon(load, position, source)
    if failed:
        raise failed[0]
    return tuple(loaded[position] for position in range(len(sources)))


@attrs.frozen(kw_only=True)
class _Loader:
    """One way of loading images, the same for all of a request."""

    remote: Remote
    limits: ReferenceLimits
    max_encoded_bytes: int | None
    fetch: FetchBytes | None
    allow_private: AllowPrivate
    model: str | None
    parameter: str

    async def load(self, source: ReferenceInput, position: int | None) -> Reference:
        where = self.parameter if position is None else f"{self.parameter}[{position}]"
        simple = _simplified(source, where)
        if isinstance(simple, bytes):
            return await self._from_bytes(simple, where)
        if isinstance(simple, str) and _is_link(simple):
            return await self._from_link(simple, where)
        if isinstance(simple, str) and _is_data_url(simple):
            return await _maybe_in_thread(len(simple), self._from_data_url, simple, where)
        if isinstance(simple, str | os.PathLike):
            return await anyio.to_thread.run_sync(self._from_file, os.fspath(simple), where)
        return await anyio.to_thread.run_sync(self._from_pillow, simple, where)

    async def _from_link(self, url: str, where: str) -> Reference:
        if self.remote == "link":
            return Reference(url=url)
        fetch = self.fetch or _default_fetch()
        try:
            data = await fetch(url, max_bytes=self._most_bytes(), allow_private=self.allow_private)
        except NanoGPTError as error:
            raise ReferenceImageError(f"{where}: {error}") from error
        except Exception as error:
            # A fetch of the caller's own may raise anything.
            raise ReferenceImageError(
                f"{where}: {_host(url)} cannot be fetched ({type(error).__name__}). Nothing was sent."
            ) from error
        return await self._from_bytes(data, f"{where} ({_host(url)})")

    async def _from_bytes(self, data: bytes, where: str) -> Reference:
        return await _maybe_in_thread(len(data), self._checked, data, where)

    def _from_data_url(self, url: str, where: str) -> Reference:
        declared, data = _decoded(url, where)
        reference = self._checked(data, where)
        if declared != reference.media_type:
            # The service answers 413 to a type that does not match the bytes.
            _log.debug("%s: declared as %s, sent as %s", where, declared or "nothing", reference.media_type)
        return reference

    def _from_file(self, path: str, where: str) -> Reference:
        where = f"{where} ({path if len(path) <= _SHOWN_CHARACTERS else path[:_SHOWN_CHARACTERS] + '…'})"
        try:
            status = os.stat(path)
            if not stat.S_ISREG(status.st_mode):
                raise ReferenceImageError(f"{where} is not a regular file. Nothing was sent.")
            self._check_size(status.st_size, where)
            data = Path(path).read_bytes()
        except NanoGPTError:
            raise
        except (OSError, ValueError) as error:
            reason = (error.strerror if isinstance(error, OSError) else None) or str(error)
            raise ReferenceImageError(f"{where} cannot be read: {reason}. Nothing was sent.") from error
        return self._checked(data, where)

    def _from_pillow(self, image: SupportsPillowSave, where: str) -> Reference:
        opened_as: object = getattr(image, "format", None)
        as_jpeg = image.mode in _JPEG_ONLY_MODES or (opened_as == "JPEG" and image.mode in _JPEG_MODES)
        file = io.BytesIO()
        try:
            if as_jpeg:
                image.save(file, format="JPEG", quality=95)
            else:
                image.save(file, format="PNG")
        except Exception as error:
            # Pillow loads lazily: here a damaged file fails too, with whatever its decoder raises.
            raise ReferenceImageError(
                f"{where}: the Pillow image of mode {image.mode} cannot be encoded ({error}). "
                "Convert it, for example with image.convert('RGB'). Nothing was sent."
            ) from error
        return self._checked(file.getvalue(), where)

    def _checked(self, data: bytes, where: str) -> Reference:
        """The data URL of *data*, once it has passed all limits of a single image."""
        info = sniff(data)
        if info.media_type is None:
            what = f"begins with {data[:8]!r}" if data else "is empty"
            raise ReferenceImageError(f"{where} is no {_KNOWN} image: it {what}. Nothing was sent.")
        self._check_size(len(data), where)
        formats = {_format_name(name) for name in self.limits.formats}
        if formats and _format_name(info.media_type) not in formats:
            offered = ", ".join(self.limits.formats)
            raise self.refusal(f"{where} is {info.media_type}; {self.taker} takes {offered}.")
        self._check_dimensions(info.width, info.height, where)
        return Reference(
            url=f"data:{info.media_type};base64,{pybase64.b64encode_as_string(data)}",
            media_type=info.media_type,
            width=info.width,
            height=info.height,
            size_bytes=len(data),
        )

    def _most_bytes(self) -> int:
        """Greatest size of a fetched image that can pass at all."""
        encoded = MAX_FETCH_BYTES if self.max_encoded_bytes is None else self.max_encoded_bytes * 3 // 4
        stated = MAX_FETCH_BYTES if self.limits.max_bytes is None else self.limits.max_bytes
        return min(encoded, stated, MAX_FETCH_BYTES)

    def _check_size(self, size_bytes: int, where: str) -> None:
        most = self.limits.max_bytes
        if most is not None and size_bytes > most:
            raise self.refusal(
                f"{where} is {size_bytes:,} bytes; {self.taker} takes at most {most:,} per image. "
                "Compress it or scale it down."
            )
        encoded = (size_bytes + 2) // 3 * 4
        if self.max_encoded_bytes is not None and encoded > self.max_encoded_bytes:
            raise self.refusal(
                f"{where} is {size_bytes:,} bytes, {encoded:,} after encoding; one request takes "
                f"{self.max_encoded_bytes:,} in all. Compress it or scale it down."
            )

    def _check_dimensions(self, width: int | None, height: int | None, where: str) -> None:
        if width is None or height is None:
            return
        least = self.limits.min_width or 0, self.limits.min_height or 0
        if width < least[0] or height < least[1]:
            raise self.refusal(
                f"{where} is {width}x{height} pixels; {self.taker} takes no less than {least[0]}x{least[1]}."
            )

    @property
    def taker(self) -> str:
        return self.model or "the model"

    def refusal(self, text: str) -> ParameterError:
        return ParameterError(f"{text} Nothing was sent.", model=self.model, parameter=self.parameter)


ResultT = TypeVar("ResultT")
FirstT = TypeVar("FirstT")


async def _maybe_in_thread(
    size: int, function: Callable[[FirstT, str], ResultT], first: FirstT, where: str
) -> ResultT:
    if size <= _INLINE_BYTES:
        return function(first, where)
    return await anyio.to_thread.run_sync(function, first, where)


def _is_link(text: str) -> bool:
    return text[:8].lower().startswith(("http://", "https://"))


def _is_data_url(text: str) -> bool:
    return text[:5].lower() == "data:"


def _default_fetch() -> FetchBytes:
    from ._fetch import fetch_bytes

    return fetch_bytes


def _simplified(source: ReferenceInput, where: str) -> str | os.PathLike[str] | bytes | SupportsPillowSave:
    """What *source* stands for, with objects taken apart."""
    if isinstance(source, str | bytes | os.PathLike):
        return source
    if isinstance(source, bytearray | memoryview):
        # A copy of what can change while it is being encoded.
        return bytes(source)
    if isinstance(source, Mapping):
        return _url_of(source, where)
    if isinstance(source, HasImageData):
        held = source.data or source.path or source.url
        if held is None:
            raise ReferenceImageError(f"{where} is an image without data, path or url. Nothing was sent.")
        return held
    # The annotation allows nothing else by now, but callers need not check theirs.
    if not isinstance(cast("object", source), SupportsPillowSave):
        raise ReferenceImageError(
            f"{where} is of type {type(source).__name__}; an input image is a path, bytes, an http(s) URL, a "
            "data URL, a Pillow image or an image of a result. Nothing was sent."
        )
    return source


def _url_of(entry: Mapping[str, object], where: str) -> str:
    """The URL of `{"type": "image_url", "image_url": {"url": …}}`. Source: seeds/images-generate.txt."""
    inner = entry.get("image_url")
    url = cast("Mapping[str, object]", inner).get("url") if isinstance(inner, Mapping) else None
    if not isinstance(url, str) or not (_is_link(url) or _is_data_url(url)):
        raise ReferenceImageError(
            f'{where} is an object without a URL; it should be {{"type": "image_url", "image_url": '
            '{"url": "https://…"}}. Nothing was sent.'
        )
    return url


def _decoded(url: str, where: str) -> tuple[str, bytes]:
    """The declared type and the bytes of a data URL. Source: RFC 2397."""
    header, comma, payload = url[5:].partition(",")
    if not comma:
        raise ReferenceImageError(f"{where} is a data URL without a comma. Nothing was sent.")
    declared = header.partition(";")[0].strip().lower()
    if not header.rstrip().lower().endswith(";base64"):
        return declared, unquote_to_bytes(payload)
    text = unquote(payload) if "%" in payload else payload
    # Line breaks and missing padding are common and harmless: no other bytes can be meant.
    text = "".join(text.split()).rstrip("=")
    try:
        return declared, pybase64.b64decode(text + "=" * (-len(text) % 4), validate=True)
    except ValueError as error:
        raise ReferenceImageError(
            f"{where} is a data URL whose base64 is not valid. Nothing was sent."
        ) from error


def _format_name(name: str) -> str:
    short = name.lower().removeprefix("image/").partition("+")[0]
    return "jpeg" if short == "jpg" else short


def _host(url: str) -> str:
    # The host alone: paths and queries of signed URLs are secrets.
    try:
        return urlsplit(url).hostname or "a URL without a host"
    except ValueError:
        return "a malformed URL"
