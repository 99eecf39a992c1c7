"""Interrupts of a batch: the first lets requests in flight end, the second stops at once."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Callable, Generator
from contextlib import contextmanager
from typing import Final

_SIGNALS: Final = (signal.SIGINT, signal.SIGTERM)


class Interrupts:
    """
    Counts interrupts and acts on them.

    Args:
        drain: Called at the first.
        cancel: Called at the second.

    Attributes:
        count: How many there were.
    """

    def __init__(self, drain: Callable[[], None], cancel: Callable[[], object]) -> None:
        self.count = 0
        self._drain = drain
        self._cancel = cancel

    def __call__(self) -> None:
        """Record an interrupt."""
        self.count += 1
        if self.count == 1:
            self._drain()
        elif self.count == 2:
            self._cancel()


def _interrupt(number: int, frame: object) -> None:
    del number, frame
    raise KeyboardInterrupt


@contextmanager
def interrupting(interrupts: Interrupts) -> Generator[None]:
    """Send SIGINT and SIGTERM to *interrupts*, on the running event loop."""
    loop = asyncio.get_running_loop()

    def forward(number: int, frame: object) -> None:
        del number, frame
        loop.call_soon_threadsafe(interrupts)

    before = {number: signal.getsignal(number) for number in _SIGNALS}
    try:
        for number in _SIGNALS:
            loop.add_signal_handler(number, interrupts)
    except NotImplementedError:
        # Windows: no loop has signal handlers there.
        for number in _SIGNALS:
            signal.signal(number, forward)
    try:
        yield
    finally:
        for number, handler in before.items():
            try:
                loop.remove_signal_handler(number)
            except NotImplementedError:
                signal.signal(number, handler)
            # An interrupt while the summary is written must end neither in a traceback nor without the exit code. The
            # loop's own handler of SIGTERM does nothing once the loop has let go of the signal.
            if handler is not None:
                loops_own = number == signal.SIGTERM and callable(handler)
                signal.signal(number, _interrupt if loops_own else handler)
