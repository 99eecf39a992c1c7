"""Draw images off the event loop, with a small cache."""

from __future__ import annotations

import asyncio
import base64
import threading
from collections import OrderedDict
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

from .draw import Sketch, encoded
from .padding import padded

CACHE_BYTES = 48 * 1024 * 1024


class DrawingPool:
    """Draws sketches in two worker threads and caches the latest files."""

    def __init__(self, *, image_bytes: int | None = None) -> None:
        self._image_bytes = image_bytes
        self._workers: ThreadPoolExecutor | None = None
        self._lock = threading.Lock()
        self._cache: OrderedDict[tuple[bool, Sketch], bytes] = OrderedDict()
        self._cached_bytes = 0

    async def image(self, sketch: Sketch) -> bytes:
        """Return the file of *sketch*."""
        return await self._drawn(False, sketch, self._file)

    async def base64(self, sketch: Sketch) -> bytes:
        """Return the file of *sketch* as base64."""
        return await self._drawn(True, sketch, lambda wanted: base64.b64encode(self._file(wanted)))

    def close(self) -> None:
        """Finish the images being drawn and stop the workers; the next image starts them again."""
        if self._workers is not None:
            self._workers.shutdown(wait=True, cancel_futures=True)
            self._workers = None

    async def _drawn(self, as_text: bool, sketch: Sketch, make: Callable[[Sketch], bytes]) -> bytes:
        key = (as_text, sketch)
        with self._lock:
            if key in self._cache:
                self._cache.move_to_end(key)
                return self._cache[key]
        if self._workers is None:
            self._workers = ThreadPoolExecutor(2, thread_name_prefix="sandbox-draw")
        data = await asyncio.get_running_loop().run_in_executor(self._workers, make, sketch)
        self._remember(key, data)
        return data

    def _file(self, sketch: Sketch) -> bytes:
        data = encoded(sketch)
        return data if self._image_bytes is None else padded(data, sketch.image_format, self._image_bytes)

    def _remember(self, key: tuple[bool, Sketch], data: bytes) -> None:
        with self._lock:
            # An edit's key holds its input images.
            if key in self._cache or key[1].inputs is not None or len(data) > CACHE_BYTES // 2:
                return
            self._cache[key] = data
            self._cached_bytes += len(data)
            while self._cached_bytes > CACHE_BYTES:
                self._cached_bytes -= len(self._cache.popitem(last=False)[1])
