"""The parts of a `multipart/form-data` body."""

from __future__ import annotations

import re
from collections.abc import Iterator
from email.message import Message
from email.parser import BytesHeaderParser

import attrs

from .refusals import Refusal, refuse

_END_OF_HEAD = b"\r\n\r\n"
_TOKEN = re.compile(r"[0-9A-Za-z'()+_,./:=? -]{1,70}")


@attrs.frozen(kw_only=True)
class Part:
    """
    One field of a form.

    Args:
        name: Name of the field.
        filename: Name of the file that was uploaded; None for a field of text.
        data: Its bytes.
    """

    name: str
    filename: str | None
    data: bytes = attrs.field(repr=False)

    @property
    def text(self) -> str:
        """The bytes as text."""
        return self.data.decode("utf-8", "replace")


def parts_of(content_type: str, raw: bytes) -> Iterator[Part]:
    """
    Yield the fields of a form in order.

    Raises:
        Refusal: 400 `invalid_multipart_body`.

    Source: RFC 7578; RFC 2046, 5.1.
    """
    head = Message()
    head["Content-Type"] = content_type
    boundary = head.get_boundary("")
    if not boundary or not _TOKEN.fullmatch(boundary):
        raise _invalid("the Content-Type names no boundary")
    opening, *pieces = (b"\r\n" + raw).split(b"\r\n--" + boundary.encode())
    if not pieces or opening.strip() or not pieces[-1].startswith(b"--"):
        raise _invalid("the body does not end with its boundary")
    for piece in pieces[:-1]:
        yield _part(piece.removeprefix(b"\r\n"))


def _part(piece: bytes) -> Part:
    start, found, data = piece.partition(_END_OF_HEAD)
    headers = BytesHeaderParser().parsebytes(start)
    name = headers.get_param("name", header="content-disposition")
    if not found or not isinstance(name, str) or headers.get_content_disposition() != "form-data":
        raise _invalid("a part has no name")
    return Part(name=name, filename=headers.get_filename(), data=data)


def _invalid(fault: str) -> Refusal:
    return refuse(400, "invalid_multipart_body", f"The multipart body is invalid: {fault}.", route="edit")
