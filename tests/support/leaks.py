"""What an operation may not leave behind: tasks, threads, descriptors, connections, half-written files, reservations."""

from __future__ import annotations

import asyncio
import os
import threading
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path

import attrs

from nanogpt_images import AsyncClient
from nanogpt_images._base.owner import PART_SUFFIX

# The other end of a socket, or a thread that was told to end, may need a moment of another thread's time.
PATIENCE_S = 10
# Pools that live as long as their event loop or process, whatever used them.
_POOLED = ("AnyIO worker thread", "asyncio_", "sandbox", "MainThread", "pytest", "execnet")


@attrs.frozen
class Holdings:
    """What this process holds: open descriptors, threads, and the tasks of the running loop."""

    descriptors: frozenset[str]
    threads: frozenset[threading.Thread]
    tasks: frozenset[asyncio.Task[object]]

    @classmethod
    def now(cls) -> Holdings:
        """What is held at this moment."""
        threads = {thread for thread in threading.enumerate() if not thread.name.startswith(_POOLED)}
        return cls(_descriptors(), frozenset(threads), _tasks())

    def beyond(self, before: Holdings) -> list[str]:
        """What is held that was not held *before*, in words."""
        return [
            *sorted(self.descriptors - before.descriptors),
            *(f"thread {thread.name}" for thread in self.threads - before.threads if thread.is_alive()),
            *(f"task {task!r}" for task in self.tasks - before.tasks if not task.done()),
        ]


@contextmanager
def nothing_left() -> Iterator[None]:
    """Fail when the block leaves something open, for blocking code."""
    before = Holdings.now()
    yield
    deadline = time.monotonic() + PATIENCE_S
    while (left := Holdings.now().beyond(before)) and time.monotonic() < deadline:
        time.sleep(0.001)
    assert not left, left


@asynccontextmanager
async def nothing_left_open() -> AsyncIterator[None]:
    """Fail when the block leaves something open, for async code; its tasks must be over at once."""
    before = Holdings.now()
    yield
    tasks = [task for task in _tasks() - before.tasks if not task.done()]
    assert not tasks, tasks
    deadline = time.monotonic() + PATIENCE_S
    while (left := Holdings.now().beyond(before)) and time.monotonic() < deadline:
        await asyncio.sleep(0.001)
    assert not left, left


def assert_idle(client: AsyncClient) -> None:
    """Fail when *client*, between calls, has a connection in use, a request in a slot, a load or a reservation open."""
    session = getattr(client._transport, "_own", None)
    if session is not None and session.connector is not None:
        in_use = set(session.connector._acquired)
        assert not in_use, f"connections in use: {in_use}"
    slots = client._sender.slots
    assert slots._semaphore is None or slots._semaphore._value == slots._count, "a slot is still taken"
    for cache in (client.catalog._image_models, client.catalog._models, client.catalog._endpoints):
        assert not cache._flights, f"{cache._name} is still being loaded"
    if client._pipeline._spending is not None:
        assert reserved(client) == 0, "money is still reserved"


def reserved(client: AsyncClient) -> int:
    """Nano-USD that *client*'s own budget has set aside."""
    return client._pipeline._spending.reserves._budget.reserved


def spent(client: AsyncClient) -> int:
    """Nano-USD that *client*'s own budget counts as spent."""
    return client._pipeline._spending.reserves._budget.spent


def unfinished_files(directory: Path) -> list[Path]:
    """Files below *directory* that were being written and never got their name."""
    return sorted(path for path in directory.rglob("*") if path.name.endswith(PART_SUFFIX))


def _tasks() -> frozenset[asyncio.Task[object]]:
    try:
        return frozenset(asyncio.all_tasks())
    except RuntimeError:
        return frozenset()  # There is no loop.


def _descriptors() -> frozenset[str]:
    """The open descriptors, each with what it is where the system tells."""
    for folder in ("/proc/self/fd", "/dev/fd"):
        if os.path.isdir(folder):
            return frozenset(filter(None, (_described(folder, name) for name in os.listdir(folder))))
    return frozenset()


def _described(folder: str, name: str) -> str:
    try:
        return f"descriptor {name}: {os.readlink(os.path.join(folder, name))}"
    except OSError:
        return ""  # The listing's own, closed by now.
