"""Generation: arguments → checked request → wire → stream → result."""

from __future__ import annotations

import functools
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

import attrs

from .._base.logs import get_logger
from .._base.names import image_stem, prompt_slug, safe_name
from ..errors import ConfigurationError, DownloadError, NanoGPTError, NotFoundError, OutputError
from ..events import Observers
from ..outputs import DirectoryStore, ImageStore, MemoryStore, ReceivedImage, existing_images, make_directory
from ..provenance.record import Provenance
from ..references import ReferenceInput, ReferenceLoader
from ..transport.retry import RetryPolicy
from ..transport.sender import NO_HOOKS, AttemptHooks, Sender
from ..types.model import Model
from ..types.request import GenerateRequest, ImageRequest, OpenAIRequest, ResponseFormat, asked_count
from ..types.result import Downloader, GenerationResult, Image
from ..wire.requests import PATHS, encode_body
from .catalog import Catalog
from .checks import checked, find_warnings
from .download import Downloads
from .ledger.fingerprint import CallKey
from .ledger.keyed_images import KeyedImages, ToDirectory, ToMemory, refuse_sample
from .ledger.paid_ledger import PaidLedger
from .pricing import needs_offers
from .receive import Received, receive
from .spending import Spending

_log = get_logger()
_MOST_WARNINGS: Final = 1_000
_NO_EXTRA: Final[Mapping[str, object]] = {}


class Images:
    """
    The two generation routes. Reach it as `client.images`.

    Every call makes one paid request; what is repeated, and when, is the client's `RetryPolicy`.
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
        ledger: PaidLedger | None = None,
    ) -> None:
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
        self.keyed = KeyedImages(ledger, references)
        self._warned: set[str] = set()

    async def generate(
        self,
        prompt: str = "",
        *,
        model: str,
        n: int | None = None,
        resolution: str | None = None,
        aspect_ratio: str | None = None,
        quality: str | None = None,
        output_format: str | None = None,
        seed: int | None = None,
        input_references: ReferenceInput | Sequence[ReferenceInput] = (),
        extra: Mapping[str, object] = _NO_EXTRA,
        validate: bool = True,
        timeout_s: float | None = None,
        key: CallKey | None = None,
        sample: int | None = None,
    ) -> GenerationResult:
        """
        Generate images on the normalized route and keep them in memory.

        Args:
            prompt: Text or edit instruction; leave it out for a model that takes only `input_references`.
            model: ID from the catalogue.
            n: Images wanted from this one request; leave it out for fixed-count models.
            resolution: A token that the model lists in `resolutions`.
            aspect_ratio: A token that the model lists in `aspect_ratios`.
            quality: A tier that the model lists in `qualities`.
            output_format: Such as `png`, where the model supports it.
            seed: Sent to models that take one; the service does not promise the same image for it.
            input_references: Images to work from: paths, bytes, URLs, data URLs, Pillow images.
            extra: Further fields of the body, sent as they are.
            validate: Check the request against the cached catalogue before anything is sent.
            timeout_s: Limit for each attempt, instead of the client's.
            key: With a client's `ledger`: pay once for this key, whoever calls and however often. `AUTO` makes it of the
                request, so that an equal request with a seed or a *sample* is paid for once.
            sample: A number from 0 that tells images of one request apart.

        Returns:
            The images in the order of the answer, with what they cost.

        Raises:
            ParameterError: The model does not accept the request; nothing was sent.
            NotFoundError: No such model; the text names near matches.
            NanoGPTError: Any other of the tree in `nanogpt_images.errors`, with its `charge`.

        Source: docs/service.md, "Generate".
        """
        request = GenerateRequest(
            model=model,
            prompt=prompt,
            n=n,
            resolution=resolution,
            aspect_ratio=aspect_ratio,
            quality=quality,
            output_format=output_format,
            seed=seed,
            input_references=input_references,
            extra=extra,
        )
        return await self._in_memory(request, key, sample, validate=validate, timeout_s=timeout_s)

    async def generate_openai(
        self,
        prompt: str = "",
        *,
        model: str = "hidream",
        n: int | None = None,
        size: str | None = None,
        response_format: ResponseFormat | None = None,
        user: str | None = None,
        image_data_url: ReferenceInput | None = None,
        image_data_urls: Sequence[ReferenceInput] = (),
        mask_data_url: ReferenceInput | None = None,
        strength: float | None = None,
        guidance_scale: float | None = None,
        num_inference_steps: int | None = None,
        seed: int | None = None,
        kontext_max_mode: bool | None = None,
        extra: Mapping[str, object] = _NO_EXTRA,
        validate: bool = True,
        timeout_s: float | None = None,
        key: CallKey | None = None,
        sample: int | None = None,
    ) -> GenerationResult:
        """
        Generate images on the OpenAI-compatible route.

        Args:
            prompt: Text to generate an image from; leave it out for a model that takes only input images.
            model: ID from the catalogue.
            n: Images wanted from this one request; leave it out for fixed-count models.
            size: A token that the model lists in `resolutions`.
            response_format: `b64_json` (the default: bytes in `data`) or `url` (a signed URL that lives
                about an hour in `url`; the service may send bytes all the same).
            user: Identifier of your end user.
            image_data_url: One input image, in any form; it is fetched and converted to a data URL here.
            image_data_urls: Several input images, for models that support it.
            mask_data_url: Mask for inpainting; white areas are edited.
            strength: From 0 to 1; lower values stay closer to the input image.
            guidance_scale: From 0 to 20; higher values follow the prompt more closely.
            num_inference_steps: From 1 to 100.
            seed: Sent as it is; the service does not promise the same image for it.
            kontext_max_mode: Enhanced context mode of flux-kontext.
            extra: Further fields of the body, sent as they are.
            validate: Check the request against the cached catalogue before anything is sent.
            timeout_s: Limit for each attempt, instead of the client's.
            key: With a client's `ledger`: pay once for this key, whoever calls and however often. `AUTO` makes it of the
                request, so that an equal request with a seed or a *sample* is paid for once.
            sample: A number from 0 that tells images of one request apart.

        Returns:
            The images in the order of the answer, with what they cost.

        Raises:
            ParameterError: The model does not accept the request; nothing was sent.
            NanoGPTError: Any other of the tree in `nanogpt_images.errors`, with its `charge`.

        Source: docs/service.md, "Generate, OpenAI-compatible".
        """
        request = OpenAIRequest(
            prompt=prompt,
            model=model,
            n=n,
            size=size,
            response_format=response_format,
            user=user,
            image_data_url=image_data_url,
            image_data_urls=image_data_urls,
            mask_data_url=mask_data_url,
            strength=strength,
            guidance_scale=guidance_scale,
            num_inference_steps=num_inference_steps,
            seed=seed,
            kontext_max_mode=kontext_max_mode,
            extra=extra,
        )
        return await self._in_memory(request, key, sample, validate=validate, timeout_s=timeout_s)

    async def generate_to(
        self,
        directory: str | os.PathLike[str],
        prompt: str = "",
        *,
        model: str,
        name: str | None = None,
        overwrite: bool = False,
        provenance: bool = False,
        n: int | None = None,
        resolution: str | None = None,
        aspect_ratio: str | None = None,
        quality: str | None = None,
        output_format: str | None = None,
        seed: int | None = None,
        input_references: ReferenceInput | Sequence[ReferenceInput] = (),
        extra: Mapping[str, object] = _NO_EXTRA,
        validate: bool = True,
        timeout_s: float | None = None,
        key: CallKey | None = None,
        sample: int | None = None,
    ) -> GenerationResult:
        """
        Generate images on the normalized route and stream them to files.

        No image is held in memory. A file appears only when it is whole: one image becomes `fox.png`,
        several become `fox-0.png`, `fox-1.png`; the suffix follows from the bytes.

        Args:
            directory: Where to write; it is made if missing.
            prompt: Text or edit instruction.
            model: ID from the catalogue.
            name: File name without suffix; by default a few words of the prompt.
            overwrite: Replace files of that name. Otherwise they stop the call before anything is sent, or,
                where no *name* was given, a number is added to the new ones.
            provenance: Write into each file how it was made: prompt, model, parameters, seed, request ID
                (`read_provenance` reads it). Whoever gets the file can read that too.
            n: See `generate`, as for all that follow.
            resolution: See `generate`.
            aspect_ratio: See `generate`.
            quality: See `generate`.
            output_format: See `generate`.
            seed: See `generate`.
            input_references: See `generate`.
            extra: See `generate`.
            validate: See `generate`.
            timeout_s: See `generate`.
            key: See `generate`. A file that an earlier call with it wrote is not written twice.
            sample: See `generate`.

        Returns:
            The result; each image has its `path` and no `data`.

        Raises:
            OutputError: The directory cannot be written, or files of that name exist.
            NanoGPTError: As for `generate`.
        """
        request = GenerateRequest(
            model=model,
            prompt=prompt,
            n=n,
            resolution=resolution,
            aspect_ratio=aspect_ratio,
            quality=quality,
            output_format=output_format,
            seed=seed,
            input_references=input_references,
            extra=extra,
        )
        folder, stem = Path(directory), prompt_slug(prompt) if name is None else safe_name(name)
        # Under a name of its own making, a second call adds a number instead of failing.
        guarded = name is not None and not overwrite
        count = n if isinstance(n, int) else 1  # what is no number is told of by the checks
        made = self.provenance_of(request) if provenance else None
        run = functools.partial(self.run, request, validate=validate, timeout_s=timeout_s)
        if key is not None:
            files = ToDirectory(
                run=run,
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
        return await self.downloaded(await run(store), store)

    async def _in_memory(
        self,
        request: ImageRequest,
        key: CallKey | None,
        sample: int | None,
        *,
        validate: bool,
        timeout_s: float | None,
    ) -> GenerationResult:
        run = functools.partial(self.run, request, validate=validate, timeout_s=timeout_s)
        if key is None:
            refuse_sample(sample)
            return await run(MemoryStore())
        return await self.keyed.call(
            request, ToMemory(run=run, fetch=self.downloaded), key=key, sample=sample
        )

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
        The whole way of one paid request: check, load references, encode, send, receive.

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
                "no API key: pass api_key= or set NANOGPT_API_KEY. Nothing was sent. "
                "To try without one, run the sandbox: nanogpt-images sandbox."
            )
        needs_model = validate or self._spending is not None
        model = await self._model(request) if needs_model else self._catalog.cached(request.model)
        if validate and model is not None:
            request = checked(request, model)
        warnings = tuple(find_warnings(request, model)) if model is not None else ()
        self._warn(warnings)
        loaded = await self._references.load(request, model if validate else None)
        body = encode_body(request, loaded.urls, loaded.mask)
        count = asked_count(request)
        n = count if isinstance(count, int) and count > 0 else None
        expected = model.count_rule.images(n) if model is not None else n
        asked = expected or 1
        read = functools.partial(
            receive,
            store=store,
            model=request.model,
            max_image_bytes=self._max_image_bytes,
            expected=expected,
            redact=self._sender.redact,
        )
        send = functools.partial(
            self._sender.post_paid,
            PATHS[request.route],
            body,
            read,
            target=request.model,
            timeout_s=self._timeout_s if timeout_s is None else timeout_s,
        )
        try:
            if self._spending is None:
                received = await send(hooks=hooks)
            else:
                if model is not None and needs_offers(model, request):
                    model = await self._catalog.priced(model.id)
                async with self._spending.around(request, model, hooks) as (watched, costs):
                    received = await send(hooks=watched)
                    costs(received.answer.cost_usd)
        except NanoGPTError as error:
            partial = getattr(error, "partial", None)
            if isinstance(partial, Received):
                error.partial = self._result(request, partial, asked, warnings)  # type: ignore[attr-defined]
            raise
        return self._result(request, received, asked, warnings)

    def _warn(self, warnings: Sequence[str]) -> None:
        for text in warnings:
            if text not in self._warned and len(self._warned) < _MOST_WARNINGS:
                self._warned.add(text)
                _log.warning("%s (logged once)", text)

    def provenance_of(self, request: ImageRequest) -> Provenance:
        """What an image of *request* is to say about its making; the ID of the request is added on arrival."""
        return Provenance.of(request, service=self._service)

    @property
    def download_retry(self) -> RetryPolicy:
        """How downloads of signed URLs are repeated."""
        return self._downloads.retry

    async def downloaded(
        self, result: GenerationResult, store: ImageStore, *, received_at: float | None = None
    ) -> GenerationResult:
        """
        *result* with the images behind its URLs in *store*; what was received already stays as it is.

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
            kept = error.partial if isinstance(error, DownloadError) else None
            error.partial = _with_stored(result, kept) if isinstance(kept, tuple) else result  # type: ignore[attr-defined]
            raise
        return _with_stored(result, stored)

    async def _model(self, request: ImageRequest) -> Model | None:
        try:
            return await self._catalog.get(request.model)
        except (ConfigurationError, NotFoundError):
            raise
        except NanoGPTError as error:
            _log.warning("%s goes out unchecked, the catalogue cannot be had: %s", request.model, error)
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
    """Make *directory*, and see before anything is paid that no file is in the way of so many images."""
    make_directory(directory)
    if images and (files := existing_images(directory, stem, images)):
        raise OutputError(f"{files[0]} exists; choose another name or pass overwrite=True. Nothing was sent.")


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
