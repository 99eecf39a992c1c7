"""Load one input image: read it, check it against the limits, encode it."""

from __future__ import annotations

import io
import os
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Final, TypeVar

import attrs
import pybase64

from .._base.logs import get_logger
from .._base.sniff import ImageInfo, sniff
from .._base.threads import in_thread
from ..errors import NanoGPTError, ParameterError, ReferenceImageError
from ..types.model import ReferenceLimits
from ..types.reference import (
    MAX_FETCH_BYTES,
    AllowPrivate,
    FetchBytes,
    Reference,
    ReferenceInput,
    Remote,
    SupportsPillowSave,
    is_data_url,
    is_link,
)
from .sources import decode_data_url, host_of, simplified

_log = get_logger()

# Below this size, base64 takes less time than handing the work to a thread.
_INLINE_BYTES: Final = 256 * 1024
_SHOWN_CHARACTERS: Final = 80
_KNOWN: Final = "PNG, JPEG, WebP, GIF, AVIF, BMP or SVG"
# Modes that Pillow writes as JPEG; CMYK and YCbCr cannot be written as PNG.
_JPEG_MODES: Final = frozenset({"L", "RGB", "CMYK", "YCbCr"})
_JPEG_ONLY_MODES: Final = frozenset({"CMYK", "YCbCr"})

ResultT = TypeVar("ResultT")
FirstT = TypeVar("FirstT")


@attrs.frozen(kw_only=True)
class ImageLoader:
    """
    Loads the images of one parameter with the same options.

    Args:
        remote: `link` passes http(s) URLs on, `fetch` downloads them.
        limits: What the model accepts.
        max_encoded_bytes: Limit for all images of a request together, after encoding; None sets none.
        fetch: Replaces this package's download of URLs.
        allow_private: Allow fetched URLs on private addresses.
        model: ID of the model, for error texts.
        parameter: Name of the parameter with the images, for error texts.
    """

    remote: Remote
    limits: ReferenceLimits = attrs.field(factory=ReferenceLimits)
    max_encoded_bytes: int | None = None
    fetch: FetchBytes | None = None
    allow_private: AllowPrivate = False
    model: str | None = None
    parameter: str = "input_references"

    async def load(self, source: ReferenceInput, position: int | None = None) -> Reference:
        """
        Load one image; *position* (from 0) is its place in a list, for error texts.

        Raises:
            ParameterError: The image is outside the limits; nothing was sent.
            ReferenceImageError: The image cannot be read or fetched, or is not an image; nothing was sent.
        """
        where = self.parameter if position is None else f"{self.parameter}[{position}]"
        simple = simplified(source, where)
        if isinstance(simple, bytes):
            return await self._from_bytes(simple, where)
        if isinstance(simple, str) and is_link(simple):
            return await self._from_link(simple, where)
        if isinstance(simple, str) and is_data_url(simple):
            return await _maybe_in_thread(len(simple), self._from_data_url, simple, where)
        if isinstance(simple, str | os.PathLike):
            return await in_thread(self._from_file, os.fspath(simple), where)
        return await in_thread(self._from_pillow, simple, where)

    async def _from_link(self, url: str, where: str) -> Reference:
        if self.remote == "link":
            return Reference(url=url)
        fetch = self.fetch or _default_fetch()
        try:
            data = await fetch(url, max_bytes=self._most_bytes(), allow_private=self.allow_private)
        except NanoGPTError as error:
            raise ReferenceImageError(f"{where}: {error.message}") from error
        except Exception as error:
            # A fetch function of the caller may raise anything.
            raise ReferenceImageError(
                f"{where}: {host_of(url)} cannot be fetched ({type(error).__name__})."
            ) from error
        return await self._from_bytes(data, f"{where} ({host_of(url)})")

    async def _from_bytes(self, data: bytes, where: str) -> Reference:
        return await _maybe_in_thread(len(data), self._checked, data, where)

    def _from_data_url(self, url: str, where: str) -> Reference:
        declared, data = decode_data_url(url, where)
        reference = self._checked(data, where)
        if declared != reference.media_type:
            # The service answers 413 if the type does not match the bytes.
            _log.debug("%s: declared as %s, sent as %s", where, declared or "nothing", reference.media_type)
        return reference

    def _from_file(self, path: str, where: str) -> Reference:
        where = f"{where} ({path if len(path) <= _SHOWN_CHARACTERS else '…' + path[-_SHOWN_CHARACTERS:]})"
        try:
            status = os.stat(path)
            if not stat.S_ISREG(status.st_mode):
                raise ReferenceImageError(f"{where} is not a regular file.")
            self._check_size(status.st_size, where)
            return self._read(path, where)
        except NanoGPTError:
            raise
        except (OSError, ValueError) as error:
            reason = (error.strerror if isinstance(error, OSError) else None) or str(error)
            raise ReferenceImageError(f"{where} cannot be read: {reason}.") from error

    def _read(self, path: str, where: str) -> Reference:
        return self._checked(Path(path).read_bytes(), where)

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
            # Pillow loads lazily: a damaged file fails here, with any error of its decoder.
            raise ReferenceImageError(
                f"{where}: the Pillow image of mode {image.mode} cannot be encoded ({error}). "
                "Convert it, for example with image.convert('RGB')."
            ) from error
        return self._checked(file.getvalue(), where)

    def _checked(self, data: bytes, where: str) -> Reference:
        """Check *data* against the limits of a single image and encode it as a data URL."""
        info = self.inspected(data, len(data), where)
        return Reference(
            url=f"data:{info.media_type};base64,{pybase64.b64encode_as_string(data)}",
            media_type=info.media_type,
            width=info.width,
            height=info.height,
            size_bytes=len(data),
        )

    def inspected(self, head: bytes, size_bytes: int, where: str) -> ImageInfo:
        """Read the first bytes of an image and check it against the limits of a single one."""
        info = sniff(head)
        if info.media_type is None:
            what = f"begins with {head[:8]!r}" if head else "is empty"
            raise ReferenceImageError(f"{where} is not a {_KNOWN} image: it {what}.")
        self._check_size(size_bytes, where)
        formats = {_format_name(name) for name in self.limits.formats}
        if formats and _format_name(info.media_type) not in formats:
            offered = ", ".join(self.limits.formats)
            raise self.refusal(f"{where} is {info.media_type}; {self.taker} takes {offered}.")
        self._check_dimensions(info.width, info.height, where)
        return info

    def _most_bytes(self) -> int:
        """Compute the maximum size of a fetched image that passes all limits."""
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
        limits, least = self.limits, (self.limits.min_width or 0, self.limits.min_height or 0)
        if (limits.max_width or width) < width or (limits.max_height or height) < height:
            most = f"{limits.max_width or 'any'}x{limits.max_height or 'any'}"
            raise self.refusal(
                f"{where} is {width}x{height} pixels; {self.taker} takes at most {most}. Scale it down."
            )
        if width < least[0] or height < least[1]:
            raise self.refusal(
                f"{where} is {width}x{height} pixels; {self.taker} takes at least {least[0]}x{least[1]}."
            )

    @property
    def taker(self) -> str:
        return self.model or "the model"

    def refusal(self, text: str) -> ParameterError:
        return ParameterError(text, model=self.model, parameter=self.parameter)


async def _maybe_in_thread(
    size: int, function: Callable[[FirstT, str], ResultT], first: FirstT, where: str
) -> ResultT:
    if size <= _INLINE_BYTES:
        return function(first, where)
    return await in_thread(function, first, where)


def _default_fetch() -> FetchBytes:
    from .fetch import fetch_bytes

    return fetch_bytes


def _format_name(name: str) -> str:
    short = name.lower().removeprefix("image/").partition("+")[0]
    return "jpeg" if short == "jpg" else short
