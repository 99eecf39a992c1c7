"""What a caller asks for, one class for each generation route."""

from __future__ import annotations

import operator
from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar, Final, Literal, SupportsIndex, TypeAlias, cast

import attrs

from .._base.display import shown
from ..errors import ParameterError
from .reference import ReferenceInput

Route: TypeAlias = Literal["images", "openai", "edit"]
ResponseFormat: TypeAlias = Literal["b64_json", "url"]
_Json = Mapping[str, object]


def _references(sources: ReferenceInput | Sequence[ReferenceInput] | None) -> tuple[ReferenceInput, ...]:
    # One image is a common case, and a string is a sequence of strings: both must not be taken apart.
    if sources is None:
        return ()
    if isinstance(sources, list | tuple):
        return tuple(sources)
    return (cast("ReferenceInput", sources),)


def _whole(value: int | None) -> int | None:
    """Return *value* as an int where it is a whole number, also of a type such as numpy's."""
    if value is None:  # what most calls leave out; a check against a protocol takes 20 µs
        return None
    given = cast("object", value)
    if isinstance(given, float):
        return int(given) if given.is_integer() else value
    return (
        operator.index(given) if isinstance(given, SupportsIndex) and not isinstance(given, bool) else value
    )


def _named(model: str | None) -> str:
    return "" if model is None else model


def _must_be(what: str, *kinds: type) -> Callable[[Any, attrs.Attribute[Any], Any], None]:
    """Return a validator: the value is None or of one of *kinds*; callers need not check their annotations."""

    def check(request: ImageRequest, field: attrs.Attribute[object], value: object) -> None:
        model = cast("object", request.model)
        optional = field.name not in ("prompt", "model", "extra")
        fits = isinstance(value, kinds) and (not isinstance(value, bool) or bool in kinds)
        if not (fits or (value is None and optional)):
            raise ParameterError(
                f"{field.name} must be {what}, not {shown(value)}.",
                model=model if isinstance(model, str) else None,
                parameter=field.name,
            )

    return check


_PROMPT: Final = _must_be("text (several prompts are rows of a batch; without one, leave it out)", str)
_MODEL: Final = _must_be("the ID of a model, such as client.catalog.list() gives", str)
# A scale factor is a number in code and text in the listing.
_TOKEN: Final = _must_be("text, a token that the model lists", str, int, float)
_TEXT: Final = _must_be("text", str)
_WHOLE: Final = _must_be("a whole number", int)
_NUMBER: Final = _must_be("a number", int, float)
_SWITCH: Final = _must_be("True or False", bool)
_EXTRA: Final = _must_be("a mapping of further fields", Mapping)


@attrs.frozen(kw_only=True)
class GenerateRequest:
    """
    A request to the normalized route, `POST /api/v1/images`.

    Attributes:
        model: ID from the catalogue.
        prompt: Text or edit instruction; models that take only input images go without.
        n: Images wanted; None leaves it to the service (and is a must for fixed-count models).
        resolution: A token that the model lists.
        aspect_ratio: A token that the model lists.
        quality: A tier that the model lists.
        output_format: `png`, `jpeg` or `webp`, where the model supports it.
        seed: Sent to models that take one; the service does not promise the same image for it.
        input_references: Images to work from, in any of the forms of `ReferenceInput`.
        extra: Further fields of the body, such as `rendering_speed`, sent as they are.

    Source: docs/service.md, "Generate".
    """

    model: str = attrs.field(validator=_MODEL)
    prompt: str = attrs.field(default="", validator=_PROMPT)
    n: int | None = None
    resolution: str | None = attrs.field(default=None, validator=_TOKEN)
    aspect_ratio: str | None = attrs.field(default=None, validator=_TOKEN)
    quality: str | None = attrs.field(default=None, validator=_TOKEN)
    output_format: str | None = attrs.field(default=None, validator=_TOKEN)
    seed: int | None = attrs.field(default=None, converter=_whole, validator=_WHOLE)
    input_references: tuple[ReferenceInput, ...] = attrs.field(default=(), converter=_references, repr=False)
    extra: _Json = attrs.field(factory=dict[str, object], repr=shown, validator=_EXTRA)

    route: Route = attrs.field(default="images", init=False, repr=False)
    response_format: ResponseFormat | None = attrs.field(default=None, init=False, repr=False)
    size_name: ClassVar[str] = "resolution"
    input_name: ClassVar[str] = "input_references"

    @property
    def references(self) -> tuple[ReferenceInput, ...]:
        """All input images."""
        return self.input_references

    @property
    def mask_input(self) -> ReferenceInput | None:
        """The mask; this route has none."""
        return None


@attrs.frozen(kw_only=True)
class OpenAIRequest:
    """
    A request to the OpenAI-compatible route, `POST /v1/images/generations`.

    Attributes:
        prompt: Text to generate an image from; models that take only input images go without.
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
        seed: Sent as it is; the service does not promise the same image for it.
        kontext_max_mode: Enhanced context mode of flux-kontext.
        extra: Further fields of the body, sent as they are.

    Source: docs/service.md, "Generate, OpenAI-compatible".
    """

    prompt: str = attrs.field(default="", validator=_PROMPT)
    model: str = attrs.field(default="hidream", validator=_MODEL)
    n: int | None = None
    size: str | None = attrs.field(default=None, validator=_TOKEN)
    response_format: ResponseFormat | None = None
    user: str | None = attrs.field(default=None, validator=_TEXT)
    image_data_url: ReferenceInput | None = attrs.field(default=None, repr=False)
    image_data_urls: tuple[ReferenceInput, ...] = attrs.field(default=(), converter=_references, repr=False)
    mask_data_url: ReferenceInput | None = attrs.field(default=None, repr=False)
    strength: float | None = attrs.field(default=None, validator=_NUMBER)
    guidance_scale: float | None = attrs.field(default=None, validator=_NUMBER)
    num_inference_steps: int | None = attrs.field(default=None, converter=_whole, validator=_WHOLE)
    seed: int | None = attrs.field(default=None, converter=_whole, validator=_WHOLE)
    kontext_max_mode: bool | None = attrs.field(default=None, validator=_SWITCH)
    extra: _Json = attrs.field(factory=dict[str, object], repr=shown, validator=_EXTRA)

    route: Route = attrs.field(default="openai", init=False, repr=False)
    size_name: ClassVar[str] = "size"
    input_name: ClassVar[str] = "image_data_url"

    @property
    def resolution(self) -> str | None:
        """`size`, under the name of the other route."""
        return self.size

    @property
    def references(self) -> tuple[ReferenceInput, ...]:
        """All input images but the mask."""
        single = () if self.image_data_url is None else (self.image_data_url,)
        return (*single, *self.image_data_urls)

    @property
    def mask_input(self) -> ReferenceInput | None:
        """The mask, under the name that all routes share."""
        return self.mask_data_url


@attrs.frozen(kw_only=True)
class EditRequest:
    """
    A request to the route of edits, `POST /api/v1/images/edits`.

    Attributes:
        prompt: What is to be changed.
        image: The image to edit, or several, in any of the forms of `ReferenceInput`; files are streamed from the disk.
        mask: Where the first image may change, an image of the same size.
        model: ID from the catalogue; empty leaves it to the service.
        n: Images wanted; None leaves it to the service.
        size: One of the model's resolutions.
        response_format: `b64_json` or `url`, as for `OpenAIRequest`.
        user: Identifier of the end user.
        strength: From 0 to 1; lower values stay closer to the input image.
        guidance_scale: From 0 to 20; higher values follow the prompt more closely.
        num_inference_steps: From 1 to 100.
        seed: Sent as it is; the service does not promise the same image for it.
        extra: Further fields, such as `quality`, sent as they are.

    Source: docs/service.md, "Edit".
    """

    prompt: str = attrs.field(default="", validator=_PROMPT)
    image: tuple[ReferenceInput, ...] = attrs.field(default=(), converter=_references, repr=False)
    mask: ReferenceInput | None = attrs.field(default=None, repr=False)
    model: str = attrs.field(default="", converter=_named, validator=_MODEL)
    n: int | None = None
    size: str | None = attrs.field(default=None, validator=_TOKEN)
    response_format: ResponseFormat | None = None
    user: str | None = attrs.field(default=None, validator=_TEXT)
    strength: float | None = attrs.field(default=None, validator=_NUMBER)
    guidance_scale: float | None = attrs.field(default=None, validator=_NUMBER)
    num_inference_steps: int | None = attrs.field(default=None, converter=_whole, validator=_WHOLE)
    seed: int | None = attrs.field(default=None, converter=_whole, validator=_WHOLE)
    extra: _Json = attrs.field(factory=dict[str, object], repr=shown, validator=_EXTRA)

    route: Route = attrs.field(default="edit", init=False, repr=False)
    size_name: ClassVar[str] = "size"
    input_name: ClassVar[str] = "image"

    @property
    def resolution(self) -> str | None:
        """`size`, under the name of the normalized route."""
        return self.size

    @property
    def references(self) -> tuple[ReferenceInput, ...]:
        """All input images but the mask."""
        return self.image

    @property
    def mask_input(self) -> ReferenceInput | None:
        """The mask, under the name that all routes share."""
        return self.mask


ImageRequest: TypeAlias = GenerateRequest | OpenAIRequest | EditRequest


def target_of(request: ImageRequest) -> str:
    """Return the model's ID for the texts of errors; an edit may leave the model to the service."""
    return request.model or "the service's default model for edits"


INPUT_FIELDS: Final = ("imageDataUrl", "imageDataUrls", "image_url", "images", "input_references")
"""Fields by which `extra` can hold input images."""
MASK_FIELD: Final = "maskDataUrl"


def has_images(request: ImageRequest) -> bool:
    """Return whether *request* has input images, also in `extra`; such a request may go without a prompt."""
    return bool(request.references) or any(map(request.extra.get, INPUT_FIELDS))


def stream_refusal(request: ImageRequest) -> ParameterError | None:
    """
    Return why *request* cannot be sent where it asks for a stream, also an unchecked one; None where it does not.

    Source: docs/service.md, "Generate", "Unsupported Features".
    """
    if request.extra.get("stream") in (None, False, "false"):
        return None
    return ParameterError(
        f"{request.model}: stream is not supported, an answer is one JSON document; leave it out.",
        model=request.model,
        parameter="stream",
    )


def asked_counts(request: ImageRequest) -> tuple[object, ...]:
    """
    Return the counts of a request, of whatever types the caller gave them; the service goes by the first.

    Source: docs/service.md, "Generate", `n`: `nImages` takes precedence.
    """
    counts = (request.extra.get("nImages"), request.n, request.extra.get("n"))
    return tuple([count for count in counts if count is not None])


def asked_count(request: ImageRequest) -> object:
    """Return the count that the service will go by; None where there is none."""
    return next(iter(asked_counts(request)), None)
