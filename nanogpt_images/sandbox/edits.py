"""Input images of an edit: from a form or from JSON, opened as far as it takes to know their size."""

from __future__ import annotations

import base64
import binascii
import io
import re
from collections.abc import Callable, Mapping
from typing import cast

import attrs

from .catalog.definitions import SandboxModel
from .http.form import Part, parts_of
from .http.refusals import Refusal, refuse
from .http.responses import JsonObject

DEFAULT_EDIT_MODEL = "qwen-image-edit"
# Assumption: the limits of an upload are not stated; an image may be as large as the catalogue says of references.
MAX_IMAGE_BYTES = 31_457_280
MAX_UPLOAD_BYTES = 2 * MAX_IMAGE_BYTES
_MAX_PIXELS = 64_000_000
_DATA_URL = re.compile(r"data:image/[\w.+-]+;base64,", re.IGNORECASE)
_LINK = ("http://", "https://")


def _switch(text: str) -> bool:
    return {"true": True, "1": True, "false": False, "0": False}[text.lower()]


# A form has no types: these fields are read as JSON would have them.
_TYPES: Mapping[str, Callable[[str], object]] = {
    **dict.fromkeys(("n", "nImages", "seed", "num_inference_steps"), int),
    **dict.fromkeys(("strength", "guidance_scale"), float),
    **dict.fromkeys(("stream", "kontext_max_mode"), _switch),
}


@attrs.frozen(kw_only=True)
class InputImage:
    """An input image; a link is not followed, so it has neither bytes nor a size."""

    data: bytes | None = attrs.field(repr=False)
    size: tuple[int, int] | None


@attrs.frozen(kw_only=True)
class EditInputs:
    """The images of an edit, and where the first of them may change."""

    images: tuple[InputImage, ...]
    mask: InputImage | None = None


def is_form(content_type: str) -> bool:
    """Whether a body of this type is an upload."""
    return content_type.partition(";")[0].strip().lower() == "multipart/form-data"


def read_form(content_type: str, raw: bytes) -> tuple[JsonObject, EditInputs]:
    """
    Read the fields and the images of a form.

    Raises:
        Refusal: The form is damaged, or an image is.
    """
    body: JsonObject = {}
    images: list[InputImage] = []
    mask: InputImage | None = None
    for part in parts_of(content_type, raw):
        if part.name in ("image", "image[]"):
            images.append(_uploaded(part))
        elif part.name == "mask":
            mask = _uploaded(part)
        else:
            body[part.name] = _typed(part.name, part.text)
    return body, EditInputs(images=tuple(images), mask=mask)


def read_fields(body: JsonObject) -> EditInputs:
    """
    Read the images of a JSON body.

    Raises:
        Refusal: A field is not an image.
    """
    several = body.get("imageDataUrls")
    entries = cast("list[object]", several) if isinstance(several, list) else []
    given = [body["imageDataUrl"]] if body.get("imageDataUrl") is not None else entries
    mask = body.get("maskDataUrl")
    return EditInputs(
        images=tuple(_from_text(entry, "imageDataUrl") for entry in given),
        mask=None if mask is None else _from_text(mask, "maskDataUrl"),
    )


def checked_inputs(inputs: EditInputs, model: SandboxModel) -> int:
    """
    Return the number of input images that are paid for.

    Raises:
        Refusal: None, too many, or a mask of another size.
    """
    if not inputs.images:
        raise refuse(
            400, "missing_image_input", "An image to edit is required.", parameter="image", route="edit"
        )
    if len(inputs.images) > model.references_max:
        message = f"{model.id} accepts at most {model.references_max} input images; got {len(inputs.images)}."
        raise refuse(400, "IMAGE_INPUT_TOO_MANY", message)
    size = inputs.images[0].size
    if inputs.mask is not None and size is not None and inputs.mask.size not in (None, size):
        # Assumption: this refusal is not documented.
        message = "The mask must have the size of the image."
        raise refuse(400, "invalid_mask", message, parameter="mask", route="edit")
    return len(inputs.images)


def _typed(name: str, text: str) -> object:
    try:
        return _TYPES.get(name, str)(text)
    except (ValueError, KeyError):
        return text


def _uploaded(part: Part) -> InputImage:
    return _from_text(part.text, part.name) if part.filename is None else _opened(part.data, part.name)


def _from_text(text: object, name: str) -> InputImage:
    if isinstance(text, str) and text.startswith(_LINK):
        return InputImage(data=None, size=None)
    match = _DATA_URL.match(text) if isinstance(text, str) else None
    if match is None or not isinstance(text, str):
        raise _no_image(name)
    try:
        return _opened(base64.b64decode(text[match.end() :], validate=True), name)
    except binascii.Error:
        raise _no_image(name) from None


def _opened(data: bytes, name: str) -> InputImage:
    from PIL import Image, UnidentifiedImageError

    if len(data) > MAX_IMAGE_BYTES:
        raise too_large(f"{name} is {len(data):,} bytes; {MAX_IMAGE_BYTES:,} are the most.")
    try:
        with Image.open(io.BytesIO(data)) as image:
            size = image.size
    except (UnidentifiedImageError, OSError, ValueError, Image.DecompressionBombError):
        raise _no_image(name) from None
    if size[0] * size[1] > _MAX_PIXELS:
        raise too_large(f"{name} is {size[0]}x{size[1]} pixels.")
    return InputImage(data=data, size=size)


def too_large(message: str) -> Refusal:
    """Refuse, with 413, an upload that is larger than the service takes."""
    return refuse(413, "image_input_too_large", message, parameter="image", route="edit")


def _no_image(name: str) -> Refusal:
    # Assumption: this refusal is not documented.
    return refuse(400, "invalid_image_input", f"{name} is not an image.", parameter="image", route="edit")
