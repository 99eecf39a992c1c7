"""The ledger of a client: opened on first use, asked, kept in bounds, closed with the client."""

from __future__ import annotations

import asyncio
import functools
import os
import sqlite3
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from pathlib import Path
from typing import Final, TypeVar

from ..._base.database.writer import Writer
from ..._base.threads import in_thread
from ...errors import ConfigurationError, LedgerError
from .ledger_store import LedgerStore, images_folder
from .paid_entries import LedgerEntry
from .upkeep import LedgerCheck, Pruned, check, prune, sweep

T = TypeVar("T")
_NO_FILES: Final[Mapping[str, bytes]] = {}


class PaidLedger:
    """
    Calls that were paid for, by key, in one SQLite file with their images beside it. Reach it as `client.ledger`.

    Any number of processes may use one ledger at the same time. It opens on first use.

    Attributes:
        path: The database file; the images are in the folder of its name with `.images`.
        token: What marks as this client's what it has in hand; empty before it is opened.
    """

    path: Path
    token: str

    def __init__(
        self,
        path: str | os.PathLike[str],
        service: Callable[[], Awaitable[str]],
        *,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.path = Path(path)
        if not self.path.name:
            raise ConfigurationError(
                f"ledger must be the name of a file, not {os.fspath(path)!r}. Nothing was sent."
            )
        self.folder = images_folder(self.path)
        self.flights: dict[str, asyncio.Event] = {}
        self._find_service = service
        self._clock = clock
        self._opening = asyncio.Lock()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._writer: Writer[LedgerStore] | None = None
        self._reader: LedgerStore | None = None
        self._service = ""
        self.token = ""

    async def open(self) -> str:
        """
        Open the ledger where it is not open, and return the service that it is bound to.

        Raises:
            LedgerError: It is damaged, of a newer version or of another service.
            OutputError: It cannot be made or written.
            ConfigurationError: It is open on another event loop.
        """
        if self._reader is not None and self._loop is asyncio.get_running_loop():
            return self._service
        async with self._opening:
            if self._reader is None or self._loop is not asyncio.get_running_loop():
                await self._open()
        return self._service

    async def _open(self) -> None:
        loop = asyncio.get_running_loop()
        if self._loop is not None and self._loop is not loop and not self._loop.is_closed():
            raise ConfigurationError("this ledger is open on another event loop; use one client for each.")
        service = await self._find_service()

        def make_store() -> LedgerStore:
            store = LedgerStore(self.path, service=service, clock=self._clock)
            self.token = store.token
            return store

        writer = Writer(
            make_store,
            name="ledger",
            make_error=LedgerError,
        )
        await writer.start()
        try:
            reader = await in_thread(self._open_reader)
        except BaseException:
            await writer.stop()
            raise
        self._loop, self._service, self._writer, self._reader = loop, service, writer, reader

    def _open_reader(self) -> LedgerStore:
        reader = LedgerStore(self.path, service=None, read_only=True, clock=self._clock)
        reader.connection.execute("PRAGMA busy_timeout = 0")
        return reader

    async def aclose(self) -> None:
        """Close the ledger; calls in flight become unknown. It opens again on its next use."""
        writer, reader, self._writer, self._reader = self._writer, self._reader, None, None
        if self._loop is not asyncio.get_running_loop():
            return
        self._loop = None
        try:
            if reader is not None:
                reader.connection.close()
        finally:
            if writer is not None:
                await writer.stop()

    async def read(self, work: Callable[[LedgerStore], T]) -> T:
        """
        Carry out *work*, which reads a few rows by their index: in place.

        Nothing is waited for: a write-ahead log keeps readers and writers apart, and where SQLite asks for patience all
        the same the ledger's own thread does the reading.
        """
        if self._reader is None or self._loop is not asyncio.get_running_loop():
            await self.open()
        assert self._reader is not None
        try:
            with self._reader.transaction():
                return work(self._reader)
        except sqlite3.OperationalError:
            return await self.write(work)
        except sqlite3.Error as error:
            raise self._reader.translate(error) from error

    async def write(
        self,
        work: Callable[[LedgerStore], T],
        files: Sequence[Path] = (),
        unwritten: Mapping[str, bytes] = _NO_FILES,
    ) -> T:
        """Carry out *work* in the ledger's own thread, and return once it is on the disk; see `Writer.run`."""
        if self._writer is None or self._loop is not asyncio.get_running_loop():
            await self.open()
        assert self._writer is not None
        return await self._writer.run(work, files, unwritten)

    async def entry(self, key: str) -> LedgerEntry | None:
        """The call with the caller's *key*; None where there is none."""
        return await self.read(lambda store: store.find(f"key:{key}"))

    async def entries(self, *, unknown: bool = False) -> list[LedgerEntry]:
        """
        All calls, in the order of their first attempt; what a dead process had sent is listed as unknown.

        Args:
            unknown: Only those whose outcome is not known.
        """
        return await self.write(functools.partial(LedgerStore.listed, unknown=unknown))

    async def forget(self, key: str) -> bool:
        """
        Forget the call with the caller's *key*: the next one with it pays.

        Returns:
            Whether there was one.

        Raises:
            LedgerError: The call is in flight in a living process.
        """
        return await self.write(lambda store: store.forget(f"key:{key}"))

    async def verify(self) -> LedgerCheck:
        """Compare every stored image with its digest, and find files that no call has."""
        entries = await self.entries()
        return await in_thread(check, self.folder, entries)

    async def prune(self, *, max_bytes: int | None = None, max_age_s: float | None = None) -> Pruned:
        """
        Remove images until the ledger is within its bounds, the oldest first, and files that no call has.

        A call of an automatic key is forgotten with its images. One of a caller's key stays: it is never paid for
        again, and says that its images are gone.

        Args:
            max_bytes: Most bytes of all images together.
            max_age_s: Seconds for which images are kept.

        Raises:
            ParameterError: A bound is negative.
        """
        calls = await self.write(functools.partial(prune, max_bytes=max_bytes, max_age_s=max_age_s))
        files = await self.write(sweep)
        return Pruned(calls=calls, files=len(files), bytes=sum(files))
