"""Load all input images of a request concurrently, in order and within their total size."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import anyio
import attrs

from ..errors import NanoGPTError
from ..types.model import Model, ReferenceLimits
from ..types.reference import (
    MAX_BODY_BYTES,
    MAX_OPENAI_ENCODED_BYTES,
    AllowPrivate,
    FetchBytes,
    Reference,
    ReferenceInput,
)
from ..types.request import ImageRequest, OpenAIRequest
from .one import ImageLoader

_MOST_AT_ONCE: Final = 8


@attrs.frozen
class LoadedReferences:
    """The input images of a request, ready for its body: links or data URLs in order, and the mask's URL."""

    urls: tuple[str, ...] = attrs.field(default=(), repr=False)
    mask: str | None = attrs.field(default=None, repr=False)


class ReferenceLoader:
    """
    Loads the input images of requests in the form that each route accepts.

    Args:
        allow_private: Allow fetched URLs on private addresses.
        fetch: Replaces this package's download of URLs.
    """

    def __init__(self, *, allow_private: AllowPrivate = False, fetch: FetchBytes | None = None) -> None:
        self._allow_private = allow_private
        self._fetch = fetch

    async def load(self, request: ImageRequest, model: Model | None) -> LoadedReferences:
        """
        Load the input images of *request* and check them against *model* (None checks only the size).

        Raises:
            ParameterError: Too many images, or one outside the limits; nothing was sent.
            ReferenceImageError: An image cannot be read or fetched, or is not an image; nothing was sent.
        """
        openai = isinstance(request, OpenAIRequest)
        mask = request.mask_data_url if isinstance(request, OpenAIRequest) else None
        if not request.references and mask is None:
            return LoadedReferences()
        limits = None if model is None else model.references
        loader = ImageLoader(
            # The OpenAI-compatible route accepts no links. Source: docs/service.md, "Generate, OpenAI-compatible".
            remote="fetch" if openai else "link",
            limits=limits or ReferenceLimits(),
            max_encoded_bytes=MAX_OPENAI_ENCODED_BYTES if openai else MAX_BODY_BYTES,
            fetch=self._fetch,
            allow_private=self._allow_private,
            model=request.model,
            parameter="image_data_url" if openai else "input_references",
        )
        images = await load_all(loader, request.references)
        if mask is None:
            return LoadedReferences(tuple(image.url for image in images))
        # The model's limits apply to input images; no listing has limits for masks.
        loaded = await attrs.evolve(loader, limits=ReferenceLimits(), parameter="mask_data_url").load(mask)
        check_total(loader, [*images, loaded])
        return LoadedReferences(tuple(image.url for image in images), loaded.url)


async def load_all(loader: ImageLoader, sources: Sequence[ReferenceInput]) -> tuple[Reference, ...]:
    """
    Load *sources* concurrently and return them in order.

    Raises:
        ParameterError: Too many images, or one outside the limits; nothing was sent.
        ReferenceImageError: An image cannot be read or fetched, or is not an image; nothing was sent.
    """
    most = loader.limits.max_items
    if most is not None and len(sources) > most:
        raise loader.refusal(
            f"{loader.parameter} holds {len(sources)} images; {loader.taker} takes at most {most}."
        )
    loaded: dict[int, Reference] = {}
    failed: list[NanoGPTError] = []
    slots = anyio.CapacityLimiter(_MOST_AT_ONCE)

    async def load(position: int, source: ReferenceInput) -> None:
        try:
            async with slots:
                loaded[position] = await loader.load(source, position)
        except NanoGPTError as error:
            # Raise it below: the task group would wrap it in an ExceptionGroup.
            failed.append(error)
            group.cancel_scope.cancel()

    async with anyio.create_task_group() as group:
        for position, source in enumerate(sources):
            group.start_soon(load, position, source)
    if failed:
        raise failed[0]
    references = tuple(loaded[position] for position in range(len(sources)))
    check_total(loader, references)
    return references


def check_total(loader: ImageLoader, references: Sequence[Reference]) -> None:
    """
    Check that images together fit into one request.

    Raises:
        ParameterError: The images are larger than the loader's limit after encoding.
    """
    total = sum(reference.encoded_bytes for reference in references)
    if loader.max_encoded_bytes is not None and total > loader.max_encoded_bytes:
        raise loader.refusal(
            f"{loader.parameter}: {len(references)} images are {total:,} bytes after encoding; one request takes "
            f"{loader.max_encoded_bytes:,} in all. Compress them or scale them down."
        )
