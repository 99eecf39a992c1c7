"""Any body in any chunks: the same images and rest as fed at once and as the standard library reads, or the same refusal."""

from __future__ import annotations

import binascii
import io
import json

from _target import fuzz, instrumented

with instrumented():
    from nanogpt_images._b64stream import ImageStream, StreamDecodeError

LIMITS = {"max_image_bytes": 512, "max_rest_bytes": 2048, "max_depth": 16, "slice_bytes": 64}


def decode(chunks: list[bytes]) -> tuple[dict[int, bytes], bytes] | None:
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
    images = {index: sinks[index].getvalue() for index in stream.sizes}
    assert {index: len(data) for index, data in images.items()} == stream.sizes
    return images, rest


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
    document = json.loads(body.lstrip(b" \t\r\n\xef\xbb\xbf"))
    texts = {index: document["data"][index]["b64_json"] for index in images}
    for index, text in texts.items():
        assert entries[index]["b64_json"] is True
        assert binascii.a2b_base64("".join(text.split()), strict_mode=True) == images[index]


IMAGE = b'{"data":[{"b64_json":"%b"},{"url":"https:\\/\\/x"}],"cost":0.1}'
SEEDS = [
    b"\x00" + IMAGE % b"QUJD",
    b"\x01" + IMAGE % b"QUI=",
    b"\x02" + IMAGE % b"Q\\u0055I\\/ QUJD",
    b'\x03\xef\xbb\xbf {"a":{"b":[1,"\\"",null]},"data":[{"\\u006264_json":"QQ=="},{"b64_json":null}]}',
    b'\x04{"data":[{"b64_json":"QUJD","b64_json":"QQ=="}],"data":[]}',
]
WORDS = ['"data":[{"b64_json":"', '"b64_json"', '"data"', '"}]}', "\\u0041", "\\/", "QUJD", "QQ==", "null,"]

if __name__ == "__main__":
    fuzz(check, SEEDS, WORDS)
