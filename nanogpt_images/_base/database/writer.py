"""The thread that owns a database and commits all waiting operations together."""

from __future__ import annotations

import asyncio
import contextlib
import sqlite3
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from functools import partial
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import Final, Generic, ParamSpec, Protocol, TypeVar

import anyio

from ...errors import JournalError, NanoGPTError
from .. import durable

ResultT = TypeVar("ResultT")
ArgumentsP = ParamSpec("ArgumentsP")
_MAX_GROUP = 1_000
_NO_FILES: Final[Mapping[str, bytes]] = {}


class Store(Protocol):
    """A database, as far as its thread is concerned: a connection and what belongs to it."""

    @property
    def connection(self) -> sqlite3.Connection: ...
    def transaction(self) -> AbstractContextManager[None]: ...
    def savepoint(self) -> AbstractContextManager[None]: ...
    def translate(self, error: sqlite3.Error) -> NanoGPTError: ...
    def close(self) -> None: ...


StoreT = TypeVar("StoreT", bound=Store)
WorkStoreT = TypeVar("WorkStoreT", bound=Store, contravariant=True)


class _Waiting(Protocol[WorkStoreT]):
    files: Sequence[Path]
    unwritten: Mapping[str, bytes]
    error: BaseException | None

    def run(self, store: WorkStoreT) -> None: ...
    def deliver(self) -> None: ...


class _Job(Generic[StoreT, ResultT]):
    """An operation, the files that must be on disk before it is committed, and the future of its caller."""

    def __init__(
        self,
        work: Callable[[StoreT], ResultT],
        files: Sequence[Path],
        unwritten: Mapping[str, bytes],
        future: asyncio.Future[ResultT],
    ) -> None:
        self.files = files
        self.unwritten = unwritten
        self.error: BaseException | None = None
        self._work = work
        self._future = future
        self._results: list[ResultT] = []

    def run(self, store: StoreT) -> None:
        self._results.append(self._work(store))

    def deliver(self) -> None:
        # A caller that was cancelled no longer waits; its operation was executed anyway.
        if self._future.done():
            return
        if self.error is not None:
            self._future.set_exception(self.error)
        else:
            self._future.set_result(self._results[0])


class Writer(Generic[StoreT]):
    """Runs operations on a store in its own thread, in one transaction for all that wait."""

    def __init__(
        self,
        make_store: Callable[[], StoreT],
        *,
        fsync_images: bool = True,
        name: str = "journal",
        make_error: Callable[[str], NanoGPTError] = JournalError,
    ) -> None:
        """
        Prepare only: `start` opens the store.

        Args:
            make_store: Called in the thread.
            fsync_images: Put the files of an operation on the disk before it is committed.
            name: What the database is, for texts.
            make_error: Makes the error where it can take no operation.
        """
        self._name = name
        self._make_error = make_error
        self._make_store = make_store
        self._fsync_images = fsync_images
        self._queue: SimpleQueue[_Waiting[StoreT] | None] = SimpleQueue()
        self._loop = asyncio.get_running_loop()
        self._opened: asyncio.Future[None] = self._loop.create_future()
        self._closed: asyncio.Future[None] = self._loop.create_future()
        self._stopping = False

    async def start(self) -> None:
        """
        Open the store.

        Raises:
            JournalError: As for the store; also where no thread can be started.
            OutputError: As for the store.
        """
        # A daemon, so that a journal left open does not keep the interpreter: it is safe against a kill.
        try:
            threading.Thread(target=self._main, name="nanogpt-journal", daemon=True).start()
        except RuntimeError as error:
            failure = self._make_error(f"the {self._name}'s thread cannot start: {error}.")
            failure.says_charge = True
            raise failure from error
        try:
            await asyncio.shield(self._opened)
        except asyncio.CancelledError:
            await self.stop()
            raise

    async def run(
        self,
        work: Callable[[StoreT], ResultT],
        files: Sequence[Path] = (),
        unwritten: Mapping[str, bytes] = _NO_FILES,
    ) -> ResultT:
        """
        Execute *work* and return once it is committed.

        A cancelled caller stops waiting; the work is done nevertheless.

        Args:
            work: Reads or changes the store.
            files: Images that must be on the disk before it is committed.
            unwritten: Images that are not in their files yet, by file: written and put on the disk likewise.

        Raises:
            JournalError: The journal is closed, or cannot be written.
            OutputError: An image is not on disk.
        """
        if self._stopping:
            raise self._make_error(f"the {self._name} is closed. Nothing was recorded.")
        future: asyncio.Future[ResultT] = self._loop.create_future()
        self._queue.put(_Job(work, files, unwritten, future))
        return await future

    async def stop(self) -> None:
        """
        Execute what waits, and close the store. Cancelling the caller does not cut this short.

        Raises:
            JournalError: The store could not record that it was left; the next one to open it will.
        """
        if not self._stopping:
            self._stopping = True
            self._queue.put(None)
        interrupted: asyncio.CancelledError | None = None
        with anyio.CancelScope(shield=True):
            # The scope holds off anyio's cancellation; that of a plain task.cancel() is passed on at the end.
            while not self._closed.done():
                try:
                    await asyncio.wait([self._closed])
                except asyncio.CancelledError as error:
                    interrupted = error
        if self._opened.done() and not self._opened.cancelled():
            self._opened.exception()
        self._closed.result()
        if interrupted is not None:
            raise interrupted

    def _main(self) -> None:
        for _ in self._steps():
            pass

    def _steps(self) -> Iterator[None]:
        """Open the store, execute one group of operations after the other, and close it; a step waits for its group."""
        try:
            store = self._make_store()
        except BaseException as error:
            # In this order: a caller cancelled while the store opened waits for `_closed` and then looks at the error.
            self._in_loop(_settle, self._opened, error)
            self._in_loop(_settle, self._closed, None)
            return
        self._in_loop(_settle, self._opened, None)
        failure: BaseException | None = None
        try:
            yield
            while jobs := self._next_group():
                self._execute(store, jobs)
                self._in_loop(_deliver, jobs)
                yield
        finally:
            try:
                store.close()
            except NanoGPTError as error:
                failure = error
            self._in_loop(_settle, self._closed, failure)

    def _next_group(self) -> list[_Waiting[StoreT]]:
        """Take what waits, at least one job; nothing at the end, which is the last entry of the queue."""
        first = self._queue.get()
        if first is None:
            return []
        group = [first]
        with contextlib.suppress(Empty):
            while len(group) < _MAX_GROUP:
                following = self._queue.get_nowait()
                if following is None:
                    self._queue.put(None)
                    break
                group.append(following)
        return group

    def _execute(self, store: StoreT, group: Sequence[_Waiting[StoreT]]) -> None:
        if self._fsync_images or any(job.unwritten for job in group):
            _make_durable(group)
        ready = [job for job in group if job.error is None]
        try:
            with store.transaction():
                if len(ready) == 1:
                    ready[0].run(store)  # what fails alone needs no savepoint
                else:
                    for job in ready:
                        _step(store, job)
        except sqlite3.Error as error:
            failure = store.translate(error)
            for job in ready:
                job.error = job.error or failure
        except Exception as error:
            for job in ready:
                job.error = job.error or error

    def _in_loop(
        self, call: Callable[ArgumentsP, None], *args: ArgumentsP.args, **named: ArgumentsP.kwargs
    ) -> None:
        # The loop may have ended without closing the journal; then no caller waits.
        with contextlib.suppress(RuntimeError):
            self._loop.call_soon_threadsafe(partial(call, *args, **named))


def _deliver(group: Sequence[_Waiting[StoreT]]) -> None:
    for job in group:
        job.deliver()


def _step(store: StoreT, job: _Waiting[StoreT]) -> None:
    try:
        with store.savepoint():
            job.run(store)
    except sqlite3.Error as error:
        if not store.connection.in_transaction:
            raise  # the whole group is lost with the transaction
        job.error = store.translate(error)
    except Exception as error:
        job.error = error


def _make_durable(group: Sequence[_Waiting[StoreT]]) -> None:
    """Write and sync the files of all jobs, then sync each directory once; a job whose files are not there fails alone."""
    synced: list[Path | str] = []
    for job in group:
        try:
            durable.sync_files(job.files)
            durable.write_files(job.unwritten)
        except OSError as error:
            job.error = durable.not_on_disk(error)
        else:
            synced += (*job.files, *job.unwritten)
    try:
        durable.sync_directories(synced)
    except OSError as error:
        for job in group:
            if job.files or job.unwritten:
                job.error = job.error or durable.not_on_disk(error)


def _settle(future: asyncio.Future[None], error: BaseException | None) -> None:
    if future.done():
        return
    if error is None:
        future.set_result(None)
    else:
        future.set_exception(error)
