"""What a caller asks for, one class for each generation route."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal, TypeAlias, cast

import attrs

from ._display import shown
from .errors import ParameterError
from .references import ReferenceInput

Route: TypeAlias = Literal["images", "openai"]
ResponseFormat: TypeAlias = Literal["b64_json", "url"]
_Json = Mapping[str, object]


def _references(sources: ReferenceInput | Sequence[ReferenceInput] | None) -> tuple[ReferenceInput, ...]:
    # One image is a common case, and a string is a sequence of strings: both must not be taken apart.
    if sources is None:
        return ()
    if isinstance(sources, list | tuple):
        return tuple(sources)
    return (cast("ReferenceInput", sources),)


@attrs.frozen(kw_only=True)
class GenerateRequest:
    """
    A request to the normalized route, `POST /api/v1/images`.

    Attributes:
        model: ID from the catalogue.
        prompt: Text or edit instruction.
        n: Images wanted; None leaves it to the service (and is a must for fixed-count models).
        resolution: A token that the model lists.
        aspect_ratio: A token that the model lists.
        quality: A tier that the model lists.
        output_format: `png`, `jpeg` or `webp`, where the model supports it.
        seed: For reproducible output, where the model supports it.
        input_references: Images to work from, in any of the forms of `ReferenceInput`.
        extra: Further fields of the body, such as `rendering_speed`, sent as they are.

    Source: seeds/images-generate.txt.
    """

    model: str
    prompt: str
    n: int | None = None
    resolution: str | None = None
    aspect_ratio: str | None = None
    quality: str | None = None
    output_format: str | None = None
    seed: int | None = None
    input_references: tuple[ReferenceInput, ...] = attrs.field(default=(), converter=_references, repr=False)
    extra: _Json = attrs.field(factory=dict[str, object], repr=shown)

    route: Route = attrs.field(default="images", init=False, repr=False)
    response_format: ResponseFormat | None = attrs.field(default=None, init=False, repr=False)

    @property
    def references(self) -> tuple[ReferenceInput, ...]:
        """All input images."""
        return self.input_references


@attrs.frozen(kw_only=True)
class OpenAIRequest:
    """
    A request to the OpenAI-compatible route, `POST /v1/images/generations`.

    Attributes:
        prompt: Text to generate an image from.
        model: ID from the catalogue; the service's default is `hidream`.
        n: Images wanted; None leaves it to the service.
        size: One of the model's resolutions.
        response_format: `b64_json` (the default) or `url`, a signed URL that lives about an hour.
        user: Identifier of the end user.
        image_data_url: One input image, in any of the forms of `ReferenceInput`; sent as a data URL.
        image_data_urls: Several input images, for models that support it.
        mask_data_url: Mask for inpainting; white areas are edited.
        strength: From 0 to 1; lower values stay closer to the input image.
        guidance_scale: From 0 to 20; higher values follow the prompt more closely.
        num_inference_steps: From 1 to 100.
        seed: For reproducible output.
        kontext_max_mode: Enhanced context mode of flux-kontext.
        extra: Further fields of the body, sent as they are.

    Source: seeds/openai-compatible-generations.txt.
    """

    prompt: str
    model: str = "hidream"
    n: int | None = None
    size: str | None = None
    response_format: ResponseFormat | None = None
    user: str | None = None
    image_data_url: ReferenceInput | None = attrs.field(default=None, repr=False)
    image_data_urls: tuple[ReferenceInput, ...] = attrs.field(default=(), converter=_references, repr=False)
    mask_data_url: ReferenceInput | None = attrs.field(default=None, repr=False)
    strength: float | None = None
    guidance_scale: float | None = None
    num_inference_steps: int | None = None
    seed: int | None = None
    kontext_max_mode: bool | None = None
    extra: _Json = attrs.field(factory=dict[str, object], repr=shown)

    route: Route = attrs.field(default="openai", init=False, repr=False)

    @property
    def resolution(self) -> str | None:
        """`size`, under the name of the other route."""
        return self.size

    @property
    def references(self) -> tuple[ReferenceInput, ...]:
        """All input images but the mask."""
        single = () if self.image_data_url is None else (self.image_data_url,)
        return (*single, *self.image_data_urls)


ImageRequest: TypeAlias = GenerateRequest | OpenAIRequest


def stream_refusal(request: ImageRequest) -> ParameterError | None:
    """
    Return why *request* cannot be sent where it asks for a stream, also an unchecked one; None where it does not.

    Source: seeds/images-generate.txt, "Unsupported Features".
    """
    if request.extra.get("stream") in (None, False, "false"):
        return None
    return ParameterError(
        f"{request.model}: stream is not supported, an answer is one JSON document; leave it out. Nothing was sent.",
        model=request.model,
        parameter="stream",
    )


def asked_count(request: ImageRequest) -> object:
    """
    The count that the service will go by, of whatever type the caller gave it; None where there is none.

    Source: seeds/images-generate.txt, `n`: `nImages` takes precedence.
    """
    counts = (request.extra.get("nImages"), request.n, request.extra.get("n"))
    return next((count for count in counts if count is not None), None)


def asked_resolution(request: ImageRequest) -> str | None:
    """The resolution that decides the price, also where it stands in `extra`."""
    name = "size" if isinstance(request, OpenAIRequest) else "resolution"
    token = request.extra.get(name) if request.resolution is None else request.resolution
    return None if token is None else str(token)
