"""The methods that a caller generates with: arguments → request → pipeline."""

from __future__ import annotations

import difflib
import functools
import inspect
import os
from collections.abc import Callable, Coroutine, Mapping, Sequence
from typing import Any, Final, ParamSpec, TypeVar

from ..references import ReferenceInput
from ..types.request import EditRequest, GenerateRequest, OpenAIRequest, ResponseFormat
from ..types.result import GenerationResult
from .ledger.fingerprint import CallKey
from .pipeline import Pipeline

P = ParamSpec("P")
R = TypeVar("R")

_NO_EXTRA: Final[Mapping[str, object]] = {}


def _with_hint(
    **others: str,
) -> Callable[[Callable[P, Coroutine[Any, Any, R]]], Callable[P, Coroutine[Any, Any, R]]]:
    """Let a call that is given a misspelt parameter, or by the names in *others* one of another route, say which is meant."""

    def decorate(method: Callable[P, Coroutine[Any, Any, R]]) -> Callable[P, Coroutine[Any, Any, R]]:
        names = inspect.signature(method).parameters.keys()

        @functools.wraps(method)
        async def call(*args: P.args, **kwargs: P.kwargs) -> R:
            for name in kwargs.keys() - names:
                near = difflib.get_close_matches(name, names, n=1)
                if hint := others.get(name) or (near and f"did you mean {near[0]}=?"):
                    raise TypeError(f"{method.__name__}() takes no {name}=; {hint}")
            return await method(*args, **kwargs)

        return call

    return decorate


_NORMALIZED: Final = "use resolution=, or call generate_openai(), which takes size=."
_OPENAI: Final = "use size=, or call generate(), which takes resolution=."


class Images:
    """
    Generation and edits. Reach it as `client.images`.

    Every call makes one paid request; what is repeated, and when, is the client's `RetryPolicy`.
    """

    def __init__(self, pipeline: Pipeline) -> None:
        self._pipeline = pipeline

    @_with_hint(size=_NORMALIZED)
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
            key: With a client's `ledger`: pay once for this key, however many callers use it. `AUTO` makes it of the
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
        return await self._pipeline.in_memory(
            request, key=key, sample=sample, validate=validate, timeout_s=timeout_s
        )

    @_with_hint(resolution=_OPENAI)
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
            key: With a client's `ledger`: pay once for this key, however many callers use it. `AUTO` makes it of the
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
        return await self._pipeline.in_memory(
            request, key=key, sample=sample, validate=validate, timeout_s=timeout_s
        )

    @_with_hint(size=_NORMALIZED)
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
                (`read_provenance` reads it). Everyone who gets the file can read that too.
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
        return await self._pipeline.to_directory(
            request,
            directory,
            name=name,
            overwrite=overwrite,
            provenance=provenance,
            validate=validate,
            timeout_s=timeout_s,
            key=key,
            sample=sample,
        )

    async def edit(
        self,
        prompt: str,
        *,
        image: ReferenceInput | Sequence[ReferenceInput],
        mask: ReferenceInput | None = None,
        model: str | None = None,
        n: int | None = None,
        size: str | None = None,
        response_format: ResponseFormat | None = None,
        user: str | None = None,
        strength: float | None = None,
        guidance_scale: float | None = None,
        num_inference_steps: int | None = None,
        seed: int | None = None,
        extra: Mapping[str, object] = _NO_EXTRA,
        validate: bool = True,
        timeout_s: float | None = None,
        key: CallKey | None = None,
        sample: int | None = None,
    ) -> GenerationResult:
        """
        Edit an image and keep what comes in memory.

        The input images are checked first and then sent as they are: a file is streamed from the disk, again for each
        attempt, and one that has changed since the check is not sent.

        Args:
            prompt: What is to be changed.
            image: The image to edit, or several: paths, bytes, URLs, data URLs, Pillow images. A URL is sent as it is.
            mask: An image of the same size as the first one, for models that inpaint. Assumption: white areas are edited,
                or, where it has an alpha channel, transparent ones.
            model: ID from the catalogue; None leaves it to the service, and then nothing is checked against the catalogue.
            n: Images wanted from this one request.
            size: A token that the model lists in `resolutions`.
            response_format: `b64_json` or `url`; see `generate_openai`.
            user: Identifier of your end user.
            strength: From 0 to 1; lower values stay closer to the input image.
            guidance_scale: From 0 to 20; higher values follow the prompt more closely.
            num_inference_steps: From 1 to 100.
            seed: Sent as it is; the service does not promise the same image for it.
            extra: Further fields, such as `quality`, sent as they are.
            validate: Check the request against the cached catalogue before anything is sent.
            timeout_s: Limit for each attempt, instead of the client's.
            key: See `generate`; the bytes of the input images are part of the request.
            sample: See `generate`.

        Returns:
            The images in the order of the answer, with what they cost.

        Raises:
            ParameterError: The model does not accept the request, or the mask has another size; nothing was sent.
            ReferenceImageError: An image cannot be read, is none, or has changed since the check.
            NanoGPTError: Any other of the tree in `nanogpt_images.errors`, with its `charge`.

        Source: docs/service.md, "Edit".
        """
        request = EditRequest(
            prompt=prompt,
            image=image,
            mask=mask,
            model=model,
            n=n,
            size=size,
            response_format=response_format,
            user=user,
            strength=strength,
            guidance_scale=guidance_scale,
            num_inference_steps=num_inference_steps,
            seed=seed,
            extra=extra,
        )
        return await self._pipeline.in_memory(
            request, key=key, sample=sample, validate=validate, timeout_s=timeout_s
        )

    async def edit_to(
        self,
        directory: str | os.PathLike[str],
        prompt: str,
        *,
        image: ReferenceInput | Sequence[ReferenceInput],
        mask: ReferenceInput | None = None,
        model: str | None = None,
        name: str | None = None,
        overwrite: bool = False,
        provenance: bool = False,
        n: int | None = None,
        size: str | None = None,
        response_format: ResponseFormat | None = None,
        user: str | None = None,
        strength: float | None = None,
        guidance_scale: float | None = None,
        num_inference_steps: int | None = None,
        seed: int | None = None,
        extra: Mapping[str, object] = _NO_EXTRA,
        validate: bool = True,
        timeout_s: float | None = None,
        key: CallKey | None = None,
        sample: int | None = None,
    ) -> GenerationResult:
        """
        Edit an image and stream what comes to files; see `edit` and `generate_to`.

        Args:
            directory: Where to write; it is made if missing.
            prompt: What is to be changed.
            image: See `edit`.
            mask: See `edit`.
            model: See `edit`.
            name: File name without suffix; by default a few words of the prompt.
            overwrite: Replace files of that name; see `generate_to`.
            provenance: Write into each file how it was made, the digests of the input images included.
            n: See `edit`, as for all that follow.
            size: See `edit`.
            response_format: See `edit`.
            user: See `edit`.
            strength: See `edit`.
            guidance_scale: See `edit`.
            num_inference_steps: See `edit`.
            seed: See `edit`.
            extra: See `edit`.
            validate: See `edit`.
            timeout_s: See `edit`.
            key: See `edit`. A file that an earlier call with it wrote is not written twice.
            sample: See `edit`.

        Returns:
            The result; each image has its `path` and no `data`.

        Raises:
            OutputError: The directory cannot be written, or files of that name exist.
            NanoGPTError: As for `edit`.

        Source: docs/service.md, "Edit".
        """
        request = EditRequest(
            prompt=prompt,
            image=image,
            mask=mask,
            model=model,
            n=n,
            size=size,
            response_format=response_format,
            user=user,
            strength=strength,
            guidance_scale=guidance_scale,
            num_inference_steps=num_inference_steps,
            seed=seed,
            extra=extra,
        )
        return await self._pipeline.to_directory(
            request,
            directory,
            name=name,
            overwrite=overwrite,
            provenance=provenance,
            validate=validate,
            timeout_s=timeout_s,
            key=key,
            sample=sample,
        )
