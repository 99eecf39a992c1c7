"""The blocking client: the names of the async one, for scripts and notebooks."""

from __future__ import annotations

import functools
import os
from collections.abc import Callable, Coroutine, Iterator
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Concatenate, ParamSpec, Self, TypeVar

import attrs

from .._base.jsonable import LEFT_OUT
from ..batch.events import BatchEvent, BatchReport
from ..batch.runner import Batch
from ..client import AsyncClient
from ..errors import NanoGPTError
from ..events import OnEvent
from ..outputs import write_image
from ..resources.account import Account as AsyncAccount
from ..resources.catalog import Catalog as AsyncCatalog
from ..resources.images import Images as AsyncImages
from ..resources.ledger.paid_ledger import PaidLedger
from ..types.result import GenerationResult, Image, ImageData, ResultData, saver_of, target_of
from .adapter import BlockingProxy, Resource, blocking, parts_of
from .portal import Portal, PortalContext

if TYPE_CHECKING:
    from PIL.Image import Image as PillowImage

P = ParamSpec("P")
S = TypeVar("S")
T = TypeVar("T")


@attrs.frozen(kw_only=True)
class BlockingImage(ImageData):
    """An image of the blocking client; see `ImageData` for its attributes."""

    portal: Portal = attrs.field(factory=Portal, repr=False, eq=False, metadata=LEFT_OUT)

    def read(self) -> bytes:
        """
        Read the encoded bytes from wherever they are: memory, the file, or the signed URL.

        Raises:
            DownloadError: The URL cannot be downloaded.
        """
        if self.data is not None:
            return self.data
        if self.path is not None:
            return self.path.read_bytes()
        self.downloader.check()
        return _download(Resource(self.portal, self))

    def save(self, path: str | os.PathLike[str], *, overwrite: bool = False) -> Path:
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
        return write_image(self.read(), target_of(path, self.index), overwrite=overwrite)

    def to_pil(self) -> PillowImage:
        """
        Load the image as a Pillow image, its pixels included. Needs the extra `pillow`.

        Raises:
            ConfigurationError: Pillow is not installed.
            ResponseDecodeError: Pillow cannot decode the image; its bytes are as they came.
            DownloadError: The URL cannot be downloaded.
        """
        from ..integrations.pillow import decode, require_pillow

        require_pillow()
        source = self.path if self.data is None and self.path is not None else self.read()
        return decode(source, self.media_type)


@attrs.frozen(kw_only=True)
class BlockingResult(ResultData):
    """
    The outcome of one paid request; see `ResultData` for its other attributes.

    Attributes:
        images: In the order of the answer.
    """

    images: tuple[BlockingImage, ...]

    def save(
        self, directory: str | os.PathLike[str], *, name: str | None = None, overwrite: bool = False
    ) -> tuple[Path, ...]:
        """
        Write all images to files of *directory*; see `GenerationResult.save`.

        Raises:
            OutputError: A file exists, or the directory cannot be written. Images before it are saved.
            DownloadError: The URL of an image cannot be downloaded. Images before it are saved.
        """
        save = saver_of(self, directory, name=name, overwrite=overwrite)
        return tuple(save(image, image.read()) for image in self.images)

    @property
    def missing(self) -> int:
        """How many images fewer than asked for came."""
        return max(0, self.asked - len(self.images))


def _generation(
    method: Callable[Concatenate[AsyncImages, P], Coroutine[Any, Any, GenerationResult]],
) -> Callable[Concatenate[Images, P], BlockingResult]:
    """Return the blocking form of a generation call: the same parameters, and images that save without await."""
    call = blocking(method)

    def generate(self: Images, /, *args: P.args, **kwargs: P.kwargs) -> BlockingResult:
        portal, _ = parts_of(self)
        try:
            return to_blocking(call(self, *args, **kwargs), portal)
        except NanoGPTError as error:
            if isinstance(error.partial, GenerationResult):
                error.partial = to_blocking(error.partial, portal)
            raise

    functools.update_wrapper(generate, method)
    return generate


def to_blocking(result: GenerationResult, portal: Portal) -> BlockingResult:
    """Return *result* with images whose methods block."""
    images = tuple(BlockingImage(portal=portal, **_fields(image)) for image in result.images)
    facts = _fields(result)
    facts["images"] = images
    return BlockingResult(**facts)


def _fields(instance: Image | GenerationResult) -> dict[str, Any]:
    return {field.name: getattr(instance, field.name) for field in attrs.fields(type(instance))}


@blocking
async def _download(image: ImageData) -> bytes:
    return await image.downloader(image.url or "")


def _made_by(
    make: Callable[P, T],
) -> Callable[[Callable[[S, T], None]], Callable[Concatenate[S, P], None]]:
    """Let an `__init__` take the arguments of *make*, and receive what it makes of them."""

    def decorate(initialise: Callable[[S, T], None]) -> Callable[Concatenate[S, P], None]:
        def __init__(self: S, /, *args: P.args, **kwargs: P.kwargs) -> None:  # noqa: N807
            initialise(self, make(*args, **kwargs))

        functools.update_wrapper(__init__, getattr(make, "__init__", make))
        return __init__

    return decorate


class Images(Resource[AsyncImages]):
    """Generation and edits, blocking. Reach it as `client.images`."""

    generate = _generation(AsyncImages.generate)
    generate_openai = _generation(AsyncImages.generate_openai)
    generate_to = _generation(AsyncImages.generate_to)
    edit = _generation(AsyncImages.edit)
    edit_to = _generation(AsyncImages.edit_to)


class Catalog(Resource[AsyncCatalog]):
    """The catalogue, blocking. Reach it as `client.catalog`."""

    list = blocking(AsyncCatalog.list)
    get = blocking(AsyncCatalog.get)
    models = blocking(AsyncCatalog.models)
    image_models = blocking(AsyncCatalog.image_models)
    endpoints = blocking(AsyncCatalog.endpoints)
    priced = blocking(AsyncCatalog.priced)
    quote = blocking(AsyncCatalog.quote)
    filled = blocking(AsyncCatalog.filled)


class Account(Resource[AsyncAccount]):
    """Balance and usage, blocking. Reach it as `client.account`."""

    balance = blocking(AsyncAccount.balance)
    usage = blocking(AsyncAccount.usage)
    settle = blocking(AsyncAccount.settle)


class BlockingLedger(Resource[PaidLedger]):
    """What a client has paid for with `key=`, blocking. Reach it as `client.ledger`."""

    entry = blocking(PaidLedger.entry)
    entries = blocking(PaidLedger.entries)
    forget = blocking(PaidLedger.forget)
    verify = blocking(PaidLedger.verify)
    prune = blocking(PaidLedger.prune)


class BlockingBatch(Resource[Batch]):
    """
    A batch of the blocking client: a context manager that yields an event for each paid request::

        with client.batch(rows, out="out/") as run:
            for event in run:
                print(event.key, event.state)
        print(run.report)
    """

    wait = blocking(Batch.wait)
    _entered: PortalContext[Batch] | None = None

    @property
    def report(self) -> BatchReport:
        """The numbers now; final once the block is left."""
        return self._target.report

    def drain(self) -> None:
        """Send nothing more; running requests end, and their events still come. A rerun resumes."""
        _drain(self)

    def _invoke(self, call: Callable[[], Coroutine[Any, Any, T]]) -> T:
        if self._entered is not None:
            self._entered.check()
        return super()._invoke(call)

    def __enter__(self) -> Self:
        entered = self._portal.enter(self._target)
        entered.__enter__()
        self._entered = entered
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._entered is not None:
            self._entered.__exit__(kind, error, trace)

    def __iter__(self) -> Iterator[BatchEvent]:
        return self

    def __next__(self) -> BatchEvent:
        # An iteration's end cannot cross a future as StopAsyncIteration; None stands for it.
        event = _next(self)
        if event is None:
            raise StopIteration
        return event


@blocking
async def _next(batch: Batch) -> BatchEvent | None:
    return await anext(batch, None)


@blocking
async def _drain(batch: Batch) -> None:
    batch.drain()


def _batch(
    method: Callable[Concatenate[AsyncClient, P], Batch],
) -> Callable[Concatenate[Client, P], BlockingBatch]:
    """Return the blocking form of a method that makes a batch."""

    def make(self: Client, /, *args: P.args, **kwargs: P.kwargs) -> BlockingBatch:
        portal, target = parts_of(self)
        return BlockingBatch(portal, method(target, *args, **kwargs))

    functools.update_wrapper(make, method)
    return make


class Client(BlockingProxy[AsyncClient]):
    """
    A blocking client of the NanoGPT image API; it also works in a notebook, whose loop is running::

        with Client() as client:
            client.images.generate("a red fox", model="gpt-image-2").images[0].save("fox")

    It takes the arguments of `AsyncClient` and may be shared by threads.

    Attributes:
        images: Generation.
        catalog: Models, and what each accepts.
        account: Balance and usage.
    """

    images: Images
    catalog: Catalog
    account: Account

    @_made_by(AsyncClient)
    def __init__(self, client: AsyncClient) -> None:
        self._portal = portal = Portal(client.aclose)
        self._target = client
        self.images = Images(portal, client.images)
        self.catalog = Catalog(portal, client.catalog)
        self.account = Account(portal, client.account)

    batch = _batch(AsyncClient.batch)
    retry_batch = _batch(AsyncClient.retry_batch)
    run_batch = blocking(AsyncClient.run_batch)
    service = blocking(AsyncClient.service)

    def observe(self, on_event: OnEvent) -> Callable[[], None]:
        """
        Call *on_event* with what happens from now on; see `AsyncClient.observe`.

        It is called in the thread of the client's loop.
        """
        return self._target.observe(on_event)

    @property
    def ledger(self) -> BlockingLedger:
        """What this client has paid for with `key=`; see `AsyncClient.ledger`."""
        return BlockingLedger(self._portal, self._target.ledger)

    @property
    def base_url(self) -> str:
        """Origin and prefix that requests go to, without a trailing slash."""
        return self._target.base_url

    def __repr__(self) -> str:
        return repr(self._target).removeprefix("Async")

    def __reduce__(self) -> str:
        return self._target.__reduce__()

    def close(self) -> None:
        """Close the connections, and the loop that served them. Running calls in other threads are aborted."""
        self._portal.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
