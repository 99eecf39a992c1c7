"""
The server of `compare.py` and `pace.py`: answers rendered beforehand, sent as fast as the client takes them.

    python stub.py [--mean-s SECONDS --sigma SIGMA] SIZE...

The model's ID says how large the image is: `bench-65536` makes one of 64 KiB. Prints its port and the SHA-256
of each size as one JSON line, and ends when its standard input does. With --mean-s each answer comes after a log-normal
time, and a second line has, for each key, how many requests came, over how many seconds, how many in the busiest second
(of windows that begin with a request), and how many were under way at once at the most.
"""

from __future__ import annotations

import argparse
import asyncio
import base64
import hashlib
import json
import random
import re
import struct
import sys
import time
from collections import deque

SEND_BYTES = 256 * 1024
MODEL = re.compile(rb'"model":\s*"bench-(\d+)"')
BEFORE_IMAGE = b'{"created":1700000000,"data":[{"b64_json":"'
AFTER_IMAGE = b'"}],"cost":0.0123,"paymentSource":"USD","remainingBalance":12.345}'
KEY = re.compile(rb"authorization:\s*bearer\s+(\S+)", re.IGNORECASE)
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


class Arrivals:
    """When the requests of one key came."""

    def __init__(self) -> None:
        self.count = self.busiest = self.under_way = self.most = 0
        self.first = self.last = 0.0
        self._recent: deque[float] = deque()

    def begin(self, now: float) -> None:
        self.first = self.first or now
        self.last = now
        self.count += 1
        self.under_way += 1
        self.most = max(self.most, self.under_way)
        self._recent.append(now)
        while self._recent[0] <= now - 1.0:
            self._recent.popleft()
        self.busiest = max(self.busiest, len(self._recent))

    def figures(self) -> dict[str, float]:
        return {
            "requests": self.count,
            "seconds": round(self.last - self.first, 3),
            "busiest_second": self.busiest,
            "most_at_once": self.most,
        }


class Latency:
    """How long answers take, and what came."""

    def __init__(self, mean_s: float, sigma: float) -> None:
        self._chance = random.Random(7)
        self._mean_s = mean_s
        self._sigma = sigma
        self.keys: dict[str, Arrivals] = {}

    def draw(self) -> float:
        # The mean of a log-normal draw is its median times exp(sigma² / 2).
        return self._mean_s * self._chance.lognormvariate(-(self._sigma**2) / 2, self._sigma)


class Stub(asyncio.Protocol):
    """One connection."""

    def __init__(self, images: dict[bytes, bytes], catalog: bytes, latency: Latency | None) -> None:
        self._latency = latency
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
            if self._latency is not None:
                self._later(head, memoryview(self._images[model[1]]))
                return
            self._left = memoryview(self._images[model[1]])
        self._send()

    def _later(self, head: bytes, body: memoryview) -> None:
        assert self._latency is not None
        key = KEY.search(head)
        arrivals = self._latency.keys.setdefault(key[1].decode() if key else "", Arrivals())
        arrivals.begin(time.monotonic())

        def send() -> None:
            arrivals.under_way -= 1
            self._left = body
            self._send()

        asyncio.get_running_loop().call_later(self._latency.draw(), send)

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
    parser = argparse.ArgumentParser()
    parser.add_argument("sizes", nargs="+", type=int)
    parser.add_argument("--mean-s", type=float)
    parser.add_argument("--sigma", type=float, default=0.5)
    arguments = parser.parse_args()
    sizes = arguments.sizes
    latency = None if arguments.mean_s is None else Latency(arguments.mean_s, arguments.sigma)
    pictures = {size: picture(size) for size in sizes}
    images = {str(size).encode(): generation(image) for size, image in pictures.items()}
    digests = {size: hashlib.sha256(image).hexdigest() for size, image in pictures.items()}
    pictures.clear()
    catalog = listing(sizes)
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: Stub(images, catalog, latency), "127.0.0.1", 0, backlog=4096)
    print(json.dumps({"port": server.sockets[0].getsockname()[1], "sha256": digests}), flush=True)
    await loop.run_in_executor(None, sys.stdin.read)
    if latency is not None:
        print(json.dumps({key: arrivals.figures() for key, arrivals in latency.keys.items()}), flush=True)


if __name__ == "__main__":
    asyncio.run(main())
