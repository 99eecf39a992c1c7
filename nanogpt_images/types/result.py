"""What a generation gives back: images, the money, and what was asked for against what came."""

from __future__ import annotations

import os
from collections.abc import Awaitable, Callable, Mapping
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

import attrs

from .._base.display import Displayed, shown_url
from .._base.jsonable import LEFT_OUT, Jsonable
from .._base.names import image_stem, prompt_slug, safe_name
from .._base.part_file import write_image
from .._base.sniff import ImageInfo
from .._base.threads import in_thread
from ..errors import ConfigurationError
from .prices import Cost

if TYPE_CHECKING:
    from PIL.Image import Image as PillowImage

_Json = Mapping[str, object]


@attrs.frozen(kw_only=True)
class ReceivedImage:
    """An image that arrived whole. Either `data` or `path` is set; `problem` says what could not be done for it."""

    index: int
    info: ImageInfo
    size_bytes: int
    data: bytes | None = attrs.field(default=None, repr=False)
    path: Path | None = None
    sha256: str | None = None
    problem: str | None = None


@attrs.frozen
class Downloader:
    """Fetches signed URLs with a client's transport, and never with its key. Left behind by pickling."""

    fetch: Callable[[str], Awaitable[bytes]] | None = None

    def __reduce__(self) -> tuple[type[Downloader], tuple[()]]:
        return Downloader, ()

    def check(self) -> None:
        """Raise ConfigurationError where the client is gone."""
        if self.fetch is None:
            raise ConfigurationError(
                "this image is no longer attached to a client; download `image.url` before it expires."
            )

    async def __call__(self, url: str) -> bytes:
        self.check()
        assert self.fetch is not None
        return await self.fetch(url)


@attrs.frozen(kw_only=True)
class ImageData(Displayed, Jsonable):
    """
    One image: in memory, at a signed URL, or in a file.

    Attributes:
        index: Its place in the answer, from 0.
        data: Encoded bytes (PNG, JPEG, WebP …), when they came in the answer and were kept in memory.
        url: Signed URL, when the service gave one; it lives about an hour.
        path: File, when it was written to disk.
        media_type: Such as `image/png`, from the bytes; None while unknown.
        width: Pixels, from the bytes; None while unknown.
        height: Pixels, from the bytes; None while unknown.
        size_bytes: Length of the encoded image; None while unknown.
        sha256: Hexadecimal digest, where one was asked for.
        extra: What else the service said of this image, such as `revised_prompt`.
    """

    index: int = 0
    data: bytes | None = attrs.field(default=None, repr=False, metadata=LEFT_OUT)
    url: str | None = attrs.field(default=None, repr=lambda url: repr(url and shown_url(url)))
    path: Path | None = None
    media_type: str | None = None
    width: int | None = None
    height: int | None = None
    size_bytes: int | None = None
    sha256: str | None = None
    extra: _Json = attrs.field(factory=dict[str, object], repr=False)
    downloader: Downloader = attrs.field(factory=Downloader, repr=False, eq=False, metadata=LEFT_OUT)


class Image(ImageData):
    """An image of the async client; see `ImageData` for its attributes."""

    __slots__ = ()

    @classmethod
    def stored(cls, stored: ReceivedImage, **more: object) -> Image:
        """Return the image that was received as *stored*."""
        facts = {**describe(stored), **more}
        return cls(**facts)  # type: ignore[arg-type]

    async def read(self) -> bytes:
        """
        Read the encoded bytes from wherever they are: memory, the file, or the signed URL.

        Raises:
            DownloadError: The URL cannot be downloaded.
        """
        if self.data is not None:
            return self.data
        if self.path is not None:
            return await in_thread(self.path.read_bytes)
        return await self.downloader(self.url or "")

    async def save(self, path: str | os.PathLike[str], *, overwrite: bool = False) -> Path:
        """
        Write the image to *path*, atomically, and return the path with its suffix.

        Args:
            path: A file name; its suffix follows from the bytes, not from the name. A directory (or a
                name ending in a slash) gets `image-<index>`.
            overwrite: Replace an existing file.

        Raises:
            OutputError: The file exists, and *overwrite* is not set, or it cannot be written.
            DownloadError: The URL cannot be downloaded.
        """
        data = await self.read()
        return await in_thread(lambda: write_image(data, target_of(path, self.index), overwrite=overwrite))

    async def to_pil(self) -> PillowImage:
        """
        Load the image as a Pillow image, its pixels included. Needs the extra `pillow`.

        Awaited, because decoding takes a tenth of a second for ten megapixels: it is done in a thread, and the
        event loop goes on.

        Raises:
            ConfigurationError: Pillow is not installed.
            ResponseDecodeError: Pillow cannot decode the image; its bytes are as they came.
            DownloadError: The URL cannot be downloaded.
        """
        from ..integrations.pillow import decode, require_pillow

        require_pillow()
        source = self.path if self.data is None and self.path is not None else await self.read()
        return await in_thread(decode, source, self.media_type)


@attrs.frozen(kw_only=True)
class ResultData(Displayed, Jsonable):
    """
    What an answer says beside its images.

    Attributes:
        model: ID of the model.
        prompt: As it was sent.
        asked: Images that the request was to make.
        cost_usd: What the service says it cost; None where it says nothing, or another currency than USD.
        cost: The same as it came, with its currency.
        remaining_balance: As the service gives it, in the currency of the payment.
        payment_source: Such as `USD`.
        request_id: For NanoGPT's support.
        created: When the service made the answer.
        problems: What is odd about the answer, in words: fewer images than asked for, an image that cannot be used,
            an unknown format; and which parameters of the request the model does not list.
        extra: Keys of the answer that this package does not know.
    """

    model: str
    prompt: str = attrs.field(repr=False)
    asked: int = 1
    cost_usd: float | None = None
    cost: Cost | None = None
    remaining_balance: float | None = None
    payment_source: str | None = None
    request_id: str | None = None
    created: datetime | None = None
    problems: tuple[str, ...] = ()
    extra: _Json = attrs.field(factory=dict[str, object], repr=False)


@attrs.frozen(kw_only=True)
class GenerationResult(ResultData):
    """
    The outcome of one paid request.

    Attributes:
        images: In the order of the answer.
    """

    images: tuple[Image, ...]

    async def save(
        self, directory: str | os.PathLike[str], *, name: str | None = None, overwrite: bool = False
    ) -> tuple[Path, ...]:
        """
        Write all images to files of *directory*: `fox.png`, or `fox-0.png`, `fox-1.png` … where there are several.

        Args:
            directory: Where to write; it is made if missing.
            name: File name without suffix; by default a few words of the prompt.
            overwrite: Replace files of that name. Otherwise they stop the call, or, where no *name* was given, a
                number is added to the new ones.

        Returns:
            The files, in the order of the images.

        Raises:
            OutputError: A file exists, or the directory cannot be written. Images before it are saved.
            DownloadError: The URL of an image cannot be downloaded. Images before it are saved.

        Source: docs/scripts.md.
        """
        save = saver_of(self, directory, name=name, overwrite=overwrite)
        return tuple([await in_thread(save, image, await image.read()) for image in self.images])

    @property
    def missing(self) -> int:
        """How many images fewer than asked for came."""
        return max(0, self.asked - len(self.images))


def saver_of(
    result: ResultData, directory: str | os.PathLike[str], *, name: str | None, overwrite: bool
) -> Callable[[ImageData, bytes], Path]:
    """Return what writes the bytes of one image of *result* to its file of *directory*; see `GenerationResult.save`."""
    stem = prompt_slug(result.prompt) if name is None else safe_name(name)
    total = len(getattr(result, "images", ()))

    def save(image: ImageData, data: bytes) -> Path:
        target = Path(directory) / image_stem(stem, image.index, total)
        return write_image(data, target, overwrite=overwrite, numbered=name is None)

    return save


def describe(stored: ReceivedImage) -> dict[str, object]:
    """Return the fields of an image that follow from its bytes."""
    return {
        "index": stored.index,
        "data": stored.data,
        "path": stored.path,
        "media_type": stored.info.media_type,
        "width": stored.info.width,
        "height": stored.info.height,
        "size_bytes": stored.size_bytes,
        "sha256": stored.sha256,
    }


def target_of(path: str | os.PathLike[str], index: int) -> Path:
    """Return the file that a caller's *path* names."""
    target = Path(path)
    # A trailing slash is gone once the text is a Path.
    into = os.fspath(path).endswith(("/", os.sep)) or os.path.isdir(target)  # pathlib's raises for some names
    return target / f"image-{index}" if into else target
