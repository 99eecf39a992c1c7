"""Any body in any chunks: the same images and rest as fed at once and as the standard library reads, or the same refusal."""

from __future__ import annotations

import binascii
import io
import json

from _target import fuzz, instrumented

with instrumented():
    from nanogpt_images.wire.b64stream import ImageStream, StreamDecodeError

LIMITS = {"max_image_bytes": 512, "max_rest_bytes": 2048, "max_depth": 16, "slice_bytes": 64}


def decode(chunks: list[bytes]) -> tuple[dict[int, bytes | None], bytes] | None:
    sinks: dict[int, io.BytesIO] = {}

    def open_sink(index: int) -> io.BytesIO:
        sinks[index] = io.BytesIO()
        return sinks[index]

    stream = ImageStream(open_sink, **LIMITS)
    try:
        for chunk in chunks:
            stream.feed(chunk)
        rest = stream.close()
    except StreamDecodeError as error:
        if len(error.excerpt) > 200:
            raise AssertionError("the excerpt is too long") from error
        return None
    assert len(rest) <= LIMITS["max_rest_bytes"]
    images: dict[int, bytes | None] = {index: sinks[index].getvalue() for index in stream.sizes}
    assert {index: len(data or b"") for index, data in images.items()} == stream.sizes
    assert images.keys().isdisjoint(stream.broken)
    return images | dict.fromkeys(stream.broken), rest


def check(data: bytes) -> None:
    """The first byte says how long chunks are; the others are the body."""
    size, body = (data[0] % 64 + 1, data[1:]) if data else (1, b"")
    whole = decode([body])
    pieces = decode([body[start : start + size] for start in range(0, len(body), size)])
    if whole != pieces:
        raise AssertionError(f"chunks of {size} bytes change the outcome")
    if whole is None:
        return
    images, rest = whole
    try:
        entries = json.loads(rest)["data"]
    except (ValueError, RecursionError, KeyError):
        return
    # Bytes of a byte order mark are skipped one by one, in any order.
    try:
        document = json.loads(body.lstrip(b" \t\r\n\xef\xbb\xbf"))
    except ValueError:
        return  # the text of an image that cannot be used need not be a JSON string
    for index, image in images.items():
        key = "b64_json" if entries[index].get("b64_json") is True else "url"
        assert entries[index][key] is True
        if image is not None:
            assert of_base64(document["data"][index][key]) == image


def of_base64(text: str) -> bytes:
    if text.lstrip()[:5].lower() == "data:":
        text = text.partition(",")[2]
    text = "".join(text.split()).translate(str.maketrans("-_", "+/"))
    return binascii.a2b_base64(text + "=" * (-len(text) % 4), strict_mode=True)


IMAGE = b'{"data":[{"b64_json":"%b"},{"url":"https:\\/\\/x"}],"cost":0.1}'
SEEDS = [
    b"\x00" + IMAGE % b"QUJD",
    b"\x01" + IMAGE % b"QUI=",
    b"\x02" + IMAGE % b"Q\\u0055I\\/ QUJD",
    b'\x03\xef\xbb\xbf {"a":{"b":[1,"\\"",null]},"data":[{"\\u006264_json":"QQ=="},{"b64_json":null}]}',
    b'\x04{"data":[{"b64_json":"QUJD","b64_json":"QQ=="}],"data":[]}',
    b'\x05{"data":[{"b64_json":"*\\""},{"url":"data:image\\/png;base64,-_8"},{"b64_json":""}]}',
]
WORDS = [
    '"data":[{"b64_json":"',
    '"b64_json"',
    '"data"',
    '"}]}',
    "\\u0041",
    "\\/",
    "QUJD",
    "QQ==",
    "null,",
    '"url":"data:;base64,',
    "-_",
]

if __name__ == "__main__":
    fuzz(check, SEEDS, WORDS)
