"""A request → the body that goes over the wire, with its input images loaded and checked."""

from __future__ import annotations

import secrets

import attrs

from ..references import ReferenceLoader
from ..references.upload import load_uploads
from ..transport.protocol import StreamedBody
from ..types.model import Model
from ..types.request import EditRequest, ImageRequest
from ..wire.requests import encode_body, form_fields


@attrs.frozen(kw_only=True)
class RequestBody:
    """
    A body, ready to be sent.

    Attributes:
        content: JSON, or a form whose files are streamed.
        digests: SHA-256 of the images that are edited.
    """

    content: bytes | StreamedBody = attrs.field(repr=False)
    digests: tuple[str, ...] = ()


async def load_body(request: ImageRequest, model: Model | None, references: ReferenceLoader) -> RequestBody:
    """
    Load the input images of *request* and write its body.

    Args:
        request: What the caller asks for.
        model: What its images are checked against; None checks no more than that they are images.
        references: Loads those of a JSON body.

    Raises:
        ParameterError: An image or a field is not one that can be sent.
        ReferenceImageError: An image cannot be read. Nothing was sent.

    Source: docs/service.md, "Generate"; "Generate, OpenAI-compatible"; "Edit".
    """
    if not isinstance(request, EditRequest):
        loaded = await references.load(request, model)
        return RequestBody(content=encode_body(request, loaded.urls, loaded.mask))
    fields = form_fields(request)
    uploads = await load_uploads(request, model)
    return RequestBody(content=uploads.form(fields, secrets.token_hex(16)), digests=uploads.digests)
