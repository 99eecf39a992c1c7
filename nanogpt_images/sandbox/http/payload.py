"""The success body, kept as parts that a fault can alter before it becomes an Answer."""

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
        headers: Headers beside the body.
        content_type: What the answer claims to be.
    """

    data: list[Pieces] | None
    fields: JsonObject
    headers: dict[str, str] = attrs.field(factory=dict[str, str])
    content_type: str = "application/json; charset=utf-8"
    data_last: bool = False

    def answer(self) -> Response:
        """The answer with these parts; `created` comes before `data`, everything else after it."""
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
    """An entry of `data` that holds the image itself; *base64_text* is not copied."""
    return (b'{"b64_json":"', base64_text, b'"}')


def url_entry(url: str) -> Pieces:
    """An entry of `data` that holds a link to the image."""
    return (json_bytes({"url": url}),)
