"""The body of a success in parts, which a fault can alter before they become a Response."""

from __future__ import annotations

import attrs

from .responses import JsonObject, Response, json_bytes

Pieces = tuple[bytes, ...]


@attrs.define(kw_only=True)
class Payload:
    """
    The parts of a success body.

    Args:
        data: The JSON of each entry of `data`, in pieces; None leaves the field out.
        fields: The other fields.
        headers: Headers of the answer.
        content_type: Value of `Content-Type`.
        data_last: Put `data` after all other fields.
    """

    data: list[Pieces] | None
    fields: JsonObject
    headers: dict[str, str] = attrs.field(factory=dict[str, str])
    content_type: str = "application/json; charset=utf-8"
    data_last: bool = False

    def answer(self) -> Response:
        """Join the parts into an answer: `created` before `data`, all other fields after it."""
        first = {name: value for name, value in self.fields.items() if name == "created" or self.data_last}
        rest = {name: value for name, value in self.fields.items() if name not in first}
        pieces: list[bytes] = [json_bytes(first)[:-1]]
        if self.data is not None:
            pieces.append(b',"data":[' if first else b'"data":[')
            for number, entry in enumerate(self.data):
                pieces.extend((b",", *entry) if number else entry)
            pieces.append(b"]")
        if rest:
            pieces.append((b"," if first or self.data is not None else b"") + json_bytes(rest)[1:-1])
        pieces.append(b"}")
        return Response(body=tuple(pieces), headers=self.headers, content_type=self.content_type)


def b64_entry(base64_text: bytes) -> Pieces:
    """Make an entry of `data` with the image itself; *base64_text* is not copied."""
    return (b'{"b64_json":"', base64_text, b'"}')


def url_entry(url: str) -> Pieces:
    """Make an entry of `data` with a link to the image."""
    return (json_bytes({"url": url}),)
