"""
Walk over the structure of an image file, with a generator that does no I/O.

A walk asks for the next bytes (`Take`), skips some (`Skip`) or all but the last (`Rest`), reports the texts that it
finds, and raises `UnfitError` if the file is damaged. `Push` drives a walk with bytes as they arrive, `pull` with a
file.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Generator
from typing import BinaryIO, Final, TypeAlias

import attrs

MAX_TEXT_BYTES: Final = 4 * 2**20
"""Larger texts are skipped."""
CUT_SHORT: Final = "it is cut short"


class UnfitError(Exception):
    """The image cannot take a record: it is damaged or has no room for one."""


@attrs.frozen
class Take:
    """Ask for the next `count` bytes."""

    count: int


@attrs.frozen
class Skip:
    """Skip the next `count` bytes."""

    count: int


@attrs.frozen
class Rest:
    """Skip to the last `count` bytes and ask for them."""

    count: int


Step: TypeAlias = Take | Skip | Rest
Walk: TypeAlias = Generator[Step, bytes, None]


@attrs.frozen(kw_only=True)
class Edit:
    """
    The change to a file that inserts a record.

    Attributes:
        taken: Number of bytes at the beginning that are replaced.
        head: Bytes that replace them.
        tail: Bytes appended to the file.
    """

    taken: int
    head: bytes
    tail: bytes = b""


class Push:
    """Drives a walk with the bytes of a file as they arrive."""

    def __init__(self, walk: Walk) -> None:
        self._walk = walk
        self._failure: UnfitError | None = None
        self._held = bytearray()
        self._step: Step | None = next(walk)
        self._missing = self._step.count

    def feed(self, data: bytes) -> None:
        """Take the next bytes; `close` raises the error if they are damaged."""
        position = 0
        while self._step is not None and position < len(data):
            if isinstance(self._step, Rest):
                self._held += data[position:]
                del self._held[: -self._step.count]
                return
            passed = min(self._missing, len(data) - position)
            if isinstance(self._step, Take):
                self._held += data[position : position + passed]
            position += passed
            self._missing -= passed
            self._go_on()
        if position < len(data):
            self._failure = self._failure or UnfitError("it continues after its end")

    def close(self) -> None:
        """
        Check that the file ends here.

        Raises:
            UnfitError: The file is not what the walk expects.
        """
        if isinstance(self._step, Rest):
            self._missing = 0
            self._go_on()
        if self._failure is not None:
            raise self._failure
        if self._step is not None:
            raise UnfitError(CUT_SHORT)

    def _go_on(self) -> None:
        """Ask for steps until one needs bytes."""
        while self._step is not None and not self._missing:
            held, self._held = bytes(self._held), bytearray()
            try:
                self._step = self._walk.send(held)
                self._missing = self._step.count
            except StopIteration:
                self._step = None
            except UnfitError as error:
                self._failure, self._step = error, None


def pull(file: BinaryIO, walk: Walk) -> None:
    """
    Walk *walk* over *file*, from its beginning.

    Raises:
        UnfitError: The file is not what the walk expects.
        OSError: The file cannot be read.
    """
    end = file.seek(0, os.SEEK_END)
    file.seek(0)
    step = next(walk)
    with contextlib.suppress(StopIteration):
        while True:
            if isinstance(step, Rest):
                file.seek(max(file.tell(), end - step.count))
            if file.tell() + step.count > end:
                raise UnfitError(CUT_SHORT)
            if isinstance(step, Skip):
                file.seek(step.count, os.SEEK_CUR)
            step = walk.send(b"" if isinstance(step, Skip) else file.read(step.count))
