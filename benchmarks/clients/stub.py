"""
The server of `compare.py`: answers rendered beforehand, sent as fast as the client takes them.

    python stub.py SIZE...

The model's ID says how large the image is: `bench-65536` makes one of 64 KiB. Prints its port and the SHA-256
of each size as one JSON line, and ends when its standard input does.
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import json
import random
import re
import struct
import sys

SEND_BYTES = 256 * 1024
MODEL = re.compile(rb'"model":\s*"bench-(\d+)"')
BEFORE_IMAGE = b'{"created":1700000000,"data":[{"b64_json":"'
AFTER_IMAGE = b'"}],"cost":0.0123,"paymentSource":"USD","remainingBalance":12.345}'
LENGTH = re.compile(rb"content-length:\s*(\d+)", re.IGNORECASE)
PNG_HEAD = b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR" + struct.pack(">IIBBBBB", 1024, 1024, 8, 2, 0, 0, 0)


def picture(size: int) -> bytes:
    """*size* bytes that begin like a PNG."""
    return PNG_HEAD + random.Random(size).randbytes(size - len(PNG_HEAD))


def answer(body: bytes) -> bytes:
    """*body* as a whole HTTP answer."""
    head = f"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    return head.encode() + body


def generation(image: bytes) -> bytes:
    """The documented answer of success."""
    return answer(BEFORE_IMAGE + base64.b64encode(image) + AFTER_IMAGE)


def listing(sizes: list[int]) -> bytes:
    """A catalogue that fits both listings."""
    parameters = {"resolutions": ["1024x1024"], "max_images": 1}
    models = [
        {
            "id": f"bench-{size}",
            "name": f"Bench {size}",
            "pricing": {"per_image": {"1024x1024": 0.0123}},
            "supported_parameters": parameters,
        }
        for size in sizes
    ]
    return answer(json.dumps({"object": "list", "data": models}).encode())


class Stub(asyncio.Protocol):
    """One connection."""

    def __init__(self, images: dict[bytes, bytes], catalog: bytes) -> None:
        self._images = images
        self._catalog = catalog
        self._request = b""
        self._left = memoryview(b"")
        self._paused = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        self._request += data
        head, blank, body = self._request.partition(b"\r\n\r\n")
        length = LENGTH.search(head)
        if not blank or len(body) < (int(length[1]) if length else 0):
            return
        self._request = b""
        if head.startswith(b"GET"):
            self._left = memoryview(self._catalog)
        else:
            model = MODEL.search(body)
            assert model is not None
            self._left = memoryview(self._images[model[1]])
        self._send()

    def _send(self) -> None:
        while self._left and not self._paused:
            piece, self._left = self._left[:SEND_BYTES], self._left[SEND_BYTES:]
            self._transport.write(piece)

    def pause_writing(self) -> None:
        self._paused = True

    def resume_writing(self) -> None:
        self._paused = False
        self._send()


async def main() -> None:
    sizes = [int(size) for size in sys.argv[1:]]
    pictures = {size: picture(size) for size in sizes}
    images = {str(size).encode(): generation(image) for size, image in pictures.items()}
    digests = {size: hashlib.sha256(image).hexdigest() for size, image in pictures.items()}
    pictures.clear()
    catalog = listing(sizes)
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: Stub(images, catalog), "127.0.0.1", 0, backlog=256)
    print(json.dumps({"port": server.sockets[0].getsockname()[1], "sha256": digests}), flush=True)
    await loop.run_in_executor(None, sys.stdin.read)


if __name__ == "__main__":
    asyncio.run(main())
