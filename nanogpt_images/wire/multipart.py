"""A `multipart/form-data` body in pieces: the text around its files, which are not read here."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Final, Generic, TypeVar

import attrs

from ..errors import ParameterError

FileT = TypeVar("FileT")

_ESCAPES: Final = str.maketrans({'"': "%22", "\r": "%0D", "\n": "%0A"})


@attrs.frozen(kw_only=True)
class FormFile(Generic[FileT]):
    """
    A file of a form, or a field that occurs several times.

    Attributes:
        name: Name of the field.
        content: Its bytes, or what stands for them.
        filename: Name that the service sees, not that on this machine's disk; None for a field of text.
        media_type: Such as `image/png`.
    """

    name: str
    content: FileT
    filename: str | None = None
    media_type: str | None = None


def content_type(boundary: str) -> str:
    """Return the `Content-Type` of a form whose parts *boundary* divides."""
    return f"multipart/form-data; boundary={boundary}"


def form_pieces(
    fields: Mapping[str, object], files: Sequence[FormFile[FileT]], boundary: str
) -> tuple[bytes | FileT, ...]:
    """
    Write the body of a form, in order.

    Args:
        fields: Name → value; text goes as it is, anything else as JSON would write it, None is left out.
        files: The files, behind the fields.
        boundary: Text that occurs in no part.

    Raises:
        ParameterError: A value cannot be written.

    Source: RFC 7578; WHATWG HTML, "Multipart form data", for the escapes of names.
    """
    head = bytearray()
    pieces: list[bytes | FileT] = []
    for name, value in fields.items():
        if value is not None:
            head += _head(boundary, name) + b"\r\n\r\n" + _text(name, value) + b"\r\n"
    for file in files:
        head += _head(boundary, file.name)
        if file.filename is not None:
            head += f'; filename="{file.filename}"\r\nContent-Type: {file.media_type}'.encode()
        head += b"\r\n\r\n"
        pieces += [bytes(head), file.content]
        head = bytearray(b"\r\n")
    return (*pieces, bytes(head) + f"--{boundary}--\r\n".encode())


def _head(boundary: str, name: str) -> bytes:
    return f'--{boundary}\r\nContent-Disposition: form-data; name="{name.translate(_ESCAPES)}"'.encode()


def _text(name: str, value: object) -> bytes:
    if isinstance(value, str):
        return value.encode("utf-8", "replace")
    try:
        return json.dumps(value, ensure_ascii=False, allow_nan=False).encode("utf-8", "replace")
    except (TypeError, ValueError, RecursionError) as error:
        raise ParameterError(
            f"{name} cannot be written as a field of a form ({error}).", parameter=name
        ) from error
