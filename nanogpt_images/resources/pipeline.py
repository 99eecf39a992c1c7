"""One paid request from checks to result; generation, batches and the command line all go this way."""

from __future__ import annotations

import functools
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import attrs

from .._base.logs import get_logger
from .._base.names import image_stem, prompt_slug, safe_name
from ..errors import (
    Charge,
    ConfigurationError,
    DownloadError,
    NanoGPTError,
    NotFoundError,
    OutputError,
    ResponseDecodeError,
    TransportError,
)
from ..events import Observers
from ..outputs import DirectoryStore, ImageStore, MemoryStore, ReceivedImage, existing_images, make_directory
from ..provenance.record import Provenance
from ..references import ReferenceLoader
from ..transport.retry import RetryPolicy
from ..transport.sender import NO_HOOKS, AttemptHooks, Sender
from ..types.model import Model
from ..types.request import ImageRequest, asked_count, target_of
from ..types.result import Downloader, GenerationResult, Image
from ..wire.requests import PATHS
from .catalog import Catalog
from .checks import checked, find_warnings
from .download import Downloads
from .ledger.fingerprint import CallKey
from .ledger.keyed_images import KeyedImages, ToDirectory, ToMemory, refuse_sample
from .ledger.paid_ledger import PaidLedger
from .prices.moderation_price import ModerationPrice
from .receive import Received, receive
from .request_body import load_body
from .spending import Spending

_log = get_logger()
_MOST_WARNINGS: Final = 1_000


class Pipeline:
    """
    Carries out paid requests: checks → references → body → budget → send → receive → result.

    Every call makes one paid request; what is repeated, and when, is the sender's `RetryPolicy`.
    """

    def __init__(
        self,
        sender: Sender,
        catalog: Catalog,
        references: ReferenceLoader,
        downloads: Downloads,
        *,
        timeout_s: float,
        max_image_bytes: int,
        has_key: bool,
        service: str | None = None,
        spending: Spending | None = None,
        observers: Observers | None = None,
        moderation: ModerationPrice | None = None,
        ledger: PaidLedger | None = None,
    ) -> None:
        self.moderation = moderation or ModerationPrice({})
        self.keyed = KeyedImages(ledger, references)
        self._sender = sender
        self._catalog = catalog
        self._references = references
        self._downloads = downloads
        self._timeout_s = timeout_s
        self._max_image_bytes = max_image_bytes
        self._has_key = has_key
        self._service = service
        self._spending = spending
        self._observers = observers
        self._warned: set[str] = set()

    async def run(
        self,
        request: ImageRequest,
        store: ImageStore,
        *,
        validate: bool = True,
        timeout_s: float | None = None,
        hooks: AttemptHooks = NO_HOOKS,
    ) -> GenerationResult:
        """
        Carry out one paid request: check, load references, encode, send, receive.

        Args:
            request: What to generate.
            store: Takes the images.
            validate: Check against the catalogue first.
            timeout_s: Limit for each attempt, instead of the client's.
            hooks: What to do around the attempts; the batch keeps its journal with them.
        """
        run = functools.partial(
            self._run, request, store, validate=validate, timeout_s=timeout_s, hooks=hooks
        )
        return await self._observers.around(request, run) if self._observers else await run()

    async def _run(
        self,
        request: ImageRequest,
        store: ImageStore,
        *,
        validate: bool,
        timeout_s: float | None,
        hooks: AttemptHooks,
    ) -> GenerationResult:
        if not self._has_key:
            raise ConfigurationError(
                "no API key: pass api_key= or set NANOGPT_API_KEY.",
                advice="To try without one, run the sandbox: nanogpt-images sandbox.",
                says_charge=True,
            )
        needs_model = bool(request.model) and (validate or self._spending is not None)
        model = await self._model(request) if needs_model else self._catalog.cached(request.model)
        if validate and model is not None:
            request = checked(request, model)
        warnings = tuple(find_warnings(request, model)) if model is not None else ()
        self._warn(warnings)
        body = await load_body(request, model if validate else None, self._references)
        store.made_from(body.digests)
        count = asked_count(request)
        n = count if isinstance(count, int) and count > 0 else None
        expected = model.count_rule.images(n) if model is not None else n
        asked = expected or 1
        read = functools.partial(
            receive,
            store=store,
            model=target_of(request),
            max_image_bytes=self._max_image_bytes,
            as_result=functools.partial(self._result, request, asked=asked, warnings=warnings),
            expected=expected,
            redact=self._sender.redact,
        )
        send = functools.partial(
            self._sender.post_paid,
            PATHS[request.route],
            body.content,
            read,
            target=target_of(request),
            timeout_s=self._timeout_s if timeout_s is None else timeout_s,
        )
        if self._spending is None:
            return await send(hooks=hooks)
        if model is not None:
            model = await self._catalog.priced(model.id)
            if self._spending.assume_price_usd is None:
                model = await self._catalog.filled(model, request)
        async with self._spending.around(request, model, hooks) as (watched, costs):
            result = await send(hooks=watched)
            costs(result.cost_usd)
        return result

    def _warn(self, warnings: Sequence[str]) -> None:
        for text in warnings:
            if text not in self._warned and len(self._warned) < _MOST_WARNINGS:
                self._warned.add(text)
                _log.warning("%s (logged once)", text)

    def provenance_of(self, request: ImageRequest) -> Provenance:
        """Return what an image of *request* says about how it was made; the request's ID is added on arrival."""
        return Provenance.of(request, service=self._service)

    @property
    def download_retry(self) -> RetryPolicy:
        """How downloads of signed URLs are repeated."""
        return self._downloads.retry

    async def in_memory(
        self,
        request: ImageRequest,
        *,
        key: CallKey | None = None,
        sample: int | None = None,
        validate: bool = True,
        timeout_s: float | None = None,
    ) -> GenerationResult:
        """Carry out *request* and keep its images in memory; with *key*, once. See `Images.generate` for the rest."""
        run = functools.partial(self.run, request, validate=validate, timeout_s=timeout_s)
        if key is None:
            refuse_sample(sample)
            return await run(MemoryStore())
        caller = ToMemory(run=run, fetch=self.downloaded)
        return await self.keyed.call(request, caller, key=key, sample=sample)

    async def to_directory(
        self,
        request: ImageRequest,
        directory: str | os.PathLike[str],
        *,
        name: str | None = None,
        overwrite: bool = False,
        provenance: bool = False,
        validate: bool = True,
        timeout_s: float | None = None,
        key: CallKey | None = None,
        sample: int | None = None,
    ) -> GenerationResult:
        """
        Carry out *request* and stream its images to files, those behind signed URLs too.

        Args:
            request: What to generate.
            directory: See `Images.generate_to`, as for all that follow.
            name: See `Images.generate_to`.
            overwrite: See `Images.generate_to`.
            provenance: See `Images.generate_to`.
            validate: Check against the catalogue first.
            timeout_s: Limit for each attempt, instead of the client's.
            key: See `Images.generate_to`.
            sample: See `Images.generate_to`.

        Raises:
            OutputError: The directory cannot be written, or files of that name exist.
            NanoGPTError: As for `run` and `downloaded`.
        """
        folder, stem = Path(directory), prompt_slug(request.prompt) if name is None else safe_name(name)
        # Under a name of its own making, a second call adds a number instead of failing.
        guarded = name is not None and not overwrite
        count = request.n if isinstance(request.n, int) else 1  # the checks refuse what is not a number
        made = self.provenance_of(request) if provenance else None
        if key is not None:
            files = ToDirectory(
                run=functools.partial(self.run, request, validate=validate, timeout_s=timeout_s),
                fetch=self.downloaded,
                folder=folder,
                stem=stem,
                guarded=guarded,
                overwrite=overwrite,
                count=count,
                provenance=made,
            )
            return await self.keyed.call(request, files, key=key, sample=sample)
        refuse_sample(sample)
        _prepare(folder, stem, count if guarded else 0)
        store = DirectoryStore(
            folder,
            functools.partial(image_stem, stem),
            overwrite=overwrite,
            provenance=made,
        )
        try:
            result = await self.run(request, store, validate=validate, timeout_s=timeout_s)
        except (OutputError, ResponseDecodeError, TransportError) as error:
            if isinstance(error.partial, GenerationResult):
                error.partial = await self._download_partial(error.partial, store)
            raise
        return await self.downloaded(result, store)

    async def _download_partial(self, partial: GenerationResult, store: ImageStore) -> object:
        """Download the links of an answer that broke off; those that cannot be downloaded stay links."""
        try:
            return await self.downloaded(partial, store)
        except NanoGPTError as error:
            return partial if error.partial is None else error.partial

    async def downloaded(
        self, result: GenerationResult, store: ImageStore, *, received_at: float | None = None
    ) -> GenerationResult:
        """
        Put the images behind the URLs of *result* into *store*; images that were received stay as they are.

        Args:
            result: What the request brought.
            store: Takes the images.
            received_at: When the URLs came (seconds since the epoch); by default now.
        """
        linked = [image for image in result.images if image.url is not None]
        if not linked:
            return result
        try:
            stored = await self._downloads.fetch_all(
                [(image.index, image.url or "") for image in linked],
                store,
                request_id=result.request_id,
                received_at=received_at,
            )
        except NanoGPTError as error:
            # Once a URL is lost for good, what the others brought will not come again.
            lost = isinstance(error, DownloadError) and error.expired
            waiting = {image.index for image in linked}
            kept = [image for image in store.kept if image.index in waiting] if lost else []
            error.partial = _with_stored(result, kept)
            if isinstance(error, OutputError):
                # The disk does not know that its images are paid for.
                error.charge, error.says_charge = Charge.CHARGED, True
            raise
        return _with_stored(result, stored)

    async def _model(self, request: ImageRequest) -> Model | None:
        try:
            return await self._catalog.get(request.model)
        except (ConfigurationError, NotFoundError):
            raise
        except NanoGPTError as error:
            _log.warning(
                "%s is sent unchecked, because the catalogue is not available: %s",
                request.model,
                error.message,
            )
            return None

    def _result(
        self, request: ImageRequest, received: Received, asked: int, warnings: Sequence[str]
    ) -> GenerationResult:
        answer = received.answer
        received_at = self._downloads.clock()
        downloader = Downloader(functools.partial(self._downloads.read, received_at=received_at))
        extras = {entry.index: entry.extra for entry in answer.entries}
        images = [
            Image.stored(stored, extra=extras.get(stored.index, {}), downloader=downloader)
            for stored in received.stored
        ]
        images += [
            Image(index=entry.index, url=entry.url, extra=entry.extra, downloader=downloader)
            for entry in answer.entries
            if entry.url is not None
        ]
        images.sort(key=lambda image: image.index)
        return GenerationResult(
            images=tuple(images),
            model=request.model,
            prompt=request.prompt,
            asked=asked,
            cost_usd=answer.cost_usd,
            cost=answer.cost,
            remaining_balance=answer.remaining_balance,
            payment_source=answer.payment_source,
            request_id=answer.request_id,
            created=answer.created,
            problems=(
                *_problems(images, asked),
                *answer.problems,
                *(s.problem for s in received.stored if s.problem is not None),
                *warnings,
                *((received.problem,) if received.problem is not None else ()),
            ),
            extra=answer.extra,
        )


def _with_stored(result: GenerationResult, stored: Sequence[ReceivedImage]) -> GenerationResult:
    by_index = {image.index: Image.stored(image) for image in stored}
    return attrs.evolve(
        result,
        images=tuple(by_index.get(image.index, image) for image in result.images),
        problems=(*result.problems, *(image.problem for image in stored if image.problem is not None)),
    )


def _prepare(directory: Path, stem: str, images: int) -> None:
    """Make *directory*, and check before anything is paid that no file has the name of an image to come."""
    make_directory(directory)
    if images and (files := existing_images(directory, stem, images)):
        raise OutputError(
            f"{files[0]} exists; choose another name or pass overwrite=True (--overwrite).", says_charge=True
        )


def _problems(images: Sequence[Image], asked: int) -> list[str]:
    problems: list[str] = []
    if len(images) != asked:
        problems.append(f"{len(images)} images came where {asked} were asked for")
    problems += [
        f"image {image.index} is of no known format"
        for image in images
        if image.url is None and image.media_type is None
    ]
    return problems
