"""All input images of a request: side by side, in order, within the limits of their sum."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import Final, Literal, Protocol

import anyio
import attrs

from ..errors import NanoGPTError, ParameterError
from ..types.model import Model, ReferenceLimits
from ..types.reference import (
    MAX_BODY_BYTES,
    MAX_OPENAI_ENCODED_BYTES,
    AllowPrivate,
    FetchBytes,
    Reference,
    ReferenceInput,
    Remote,
)
from .one import ImageLoader

_MOST_AT_ONCE: Final = 8


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
    loader = ImageLoader(
        remote=remote,
        limits=limits or ReferenceLimits(),
        max_encoded_bytes=max_encoded_bytes,
        fetch=fetch,
        allow_private=allow_private,
        model=model,
        parameter=parameter,
    )
    loader.check_count(len(sources))
    references = await side_by_side(loader, sources)
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
    loader = ImageLoader(
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
    def route(self) -> Literal["images", "openai", "edit"]: ...
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
        # The OpenAI-compatible route takes no links. Source: docs/service.md, "Generate, OpenAI-compatible".
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


async def side_by_side(loader: ImageLoader, sources: Sequence[ReferenceInput]) -> tuple[Reference, ...]:
    """Load *sources* side by side, and give them back in order."""
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
