"""
The floor: a bare asyncio protocol that decodes what arrives and writes it.

It knows where the image begins and ends, checks nothing, and parses no HTTP but the length: what is left is
the kernel, the event loop, base64 and the file.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
from collections.abc import AsyncIterator
from pathlib import Path
from urllib.parse import urlsplit

import pybase64
from harness import Keep, Run, fan_out
from stub import AFTER_IMAGE, BEFORE_IMAGE

LENGTH = re.compile(rb"Content-Length: (\d+)")


class Floor(asyncio.BufferedProtocol):
    """One connection, one request at a time. All share one buffer: what it holds is used up at once."""

    buffer = memoryview(bytearray(256 * 1024))

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def request(self, data: bytes, path: str) -> asyncio.Future[None]:
        self._file = os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o666)
        self._carry = b""
        self._body_left = -1
        self._done = asyncio.get_running_loop().create_future()
        self._transport.write(data)
        return self._done

    def get_buffer(self, sizehint: int) -> memoryview:
        return self.buffer

    def buffer_updated(self, nbytes: int) -> None:
        data = self.buffer[:nbytes]
        if self._body_left < 0:
            # The stub's head and the start of its body come in one piece.
            head = bytes(data[:512])
            length = LENGTH.search(head)
            assert length is not None
            self._body_left = int(length[1]) - len(BEFORE_IMAGE)
            self._text_left = self._body_left - len(AFTER_IMAGE)
            data = data[head.index(b"\r\n\r\n") + 4 + len(BEFORE_IMAGE) :]
        self._body_left -= len(data)
        data = data[: self._text_left]
        self._text_left -= len(data)
        text = b"".join((self._carry, data)) if self._carry else data
        count = len(text) & ~3
        self._carry = bytes(text[count:])
        if count:
            os.write(self._file, pybase64.b64decode(text[:count], None, True))
        if self._body_left == 0:
            os.close(self._file)
            self._done.set_result(None)


@contextlib.asynccontextmanager
async def opened(url: str, directory: Path, keep: Keep) -> AsyncIterator[Run]:
    del keep
    place = urlsplit(url)
    free: list[Floor] = []
    made: list[asyncio.BaseTransport] = []

    async def call(model: str, number: int) -> None:
        if free:
            protocol = free.pop()
        else:
            loop = asyncio.get_running_loop()
            transport, protocol = await loop.create_connection(Floor, place.hostname, place.port)
            made.append(transport)
        body = f'{{"model":"{model}","prompt":"a red fox"}}'
        head = f"POST /v1/images/generations HTTP/1.1\r\nHost: {place.netloc}\r\nContent-Length: {len(body)}"
        await protocol.request(f"{head}\r\n\r\n{body}".encode(), str(directory / f"{number:06}.png"))
        free.append(protocol)

    try:
        yield fan_out(call)
    finally:
        for transport in made:
            transport.close()


CLIENTS = {"floor": opened}
