"""
What is put in the place of the machine while a simulation runs: clock, threads, randomness, disk, process numbers.

`install` is called once, before the package is imported. Without a current world, and outside of simulated processes,
everything is what it was.
"""

from __future__ import annotations

import asyncio
import errno
import fcntl
import os
import random
import secrets
import sqlite3
import stat
import sys
import time
import uuid
from collections import deque
from pathlib import Path

from world import PROCESS, Killed, World

world: World | None = None

_real = {
    name: getattr(os, name)
    for name in ("open", "close", "write", "fsync", "link", "unlink", "replace", "mkdir", "kill", "getpid")
}
_connect = sqlite3.connect
_real_time = {name: getattr(time, name) for name in ("time", "monotonic", "sleep")}
_WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT
_LOST = "lost at the power cut"


class Disk:
    """The file system of one world: it can be full or broken, and forgets at a power cut what was not synced."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.root = str(world.root)
        self.is_volatile = False
        self.full_until = -1.0
        self.broken_percent = 0.0
        # By inode, how many bytes are on the disk itself; by path, names that are not.
        self.synced: dict[int, int] = {}
        self.loose: dict[str, None] = {}
        # By path of a database, the length of its log that was synced.
        self.logs: dict[str, int] = {}

    def fails(self, what: str, path: object) -> int:
        """The error number with which a write fails now; 0 where it does not."""
        if self.full_until > self.world.loop.now:
            self.world.meet("disk full", what, path)
            return errno.ENOSPC
        if self.broken_percent and self.world.choices.chance(self.broken_percent):
            self.world.meet("disk error", what, path)
            return errno.EIO
        return 0

    def before(self, what: str, path: object) -> None:
        """Pass the point before a change of the disk."""
        process = PROCESS.get()
        process.point(what)
        if number := self.fails(what, path):
            raise OSError(number, os.strerror(number), str(path))

    def release(self, processes) -> None:
        """Close what dead *processes* have open."""
        for process in processes:
            for connection in process.connections:
                connection.abandon()
            for descriptor in process.descriptors:
                _real["close"](descriptor)
            process.connections, process.descriptors = [], set()

    def lose_power(self, processes) -> None:
        """Let *processes* end and the disk keep what it had to keep."""
        below = self.world.choices.below
        images: dict[str, tuple[bytes, bytes]] = {}
        for process in processes:
            for connection in process.connections:
                path = connection.path
                if path in images:
                    continue
                database, log = Path(path), Path(f"{path}-wal")
                kept = self.logs.get(path, -1)
                content = log.read_bytes() if log.exists() else b""
                tail = len(content) - max(kept, 0)
                more = below(tail + 1) if tail > 0 and below(2) else 0
                if tail > 0:
                    self.world.note(_LOST, f"{tail - more} of {len(content)} bytes of the log of", path)
                images[path] = (
                    database.read_bytes() if kept >= 0 and database.exists() else b"",
                    content[: max(kept, 0) + more] if kept >= 0 else b"",
                )
        self.release(processes)
        for path, (database, log) in images.items():
            for suffix in ("-shm", "-wal"):
                Path(path + suffix).unlink(missing_ok=True)
            if database or log:
                Path(path).write_bytes(database)
                if log:
                    Path(f"{path}-wal").write_bytes(log)
            else:
                Path(path).unlink(missing_ok=True)
        for name in list(self.loose):
            # Each entry of a directory that was not synced is there or not, by itself.
            if below(2) and os.path.lexists(name):
                self.world.note(_LOST, "the name", name)
                _real["unlink"](name)
        self.loose.clear()
        for folder, _, files in os.walk(self.root):
            for file in sorted(files):
                path = os.path.join(folder, file)
                if file.endswith((".db", ".db-wal", ".db-shm")):
                    continue
                info = os.lstat(path)
                kept = self.synced.get(info.st_ino, 0)
                if kept < info.st_size:
                    self._forget_bytes(path, kept, info.st_size)

    def _forget_bytes(self, path: str, kept: int, size: int) -> None:
        below = self.world.choices.below
        how = below(3)
        if how == 0:
            return
        at = kept + below(size - kept + 1)
        self.world.note(_LOST, f"bytes {at} to {size} of", path)
        os.truncate(path, at)
        if how == 2:
            os.truncate(path, size)  # the size was on the disk, the bytes were not: zeros

    def is_here(self, path: object) -> bool:
        return os.fspath(path).startswith(self.root)


class Connection(sqlite3.Connection):
    """A connection at whose statements a process can die, and a disk fail."""

    def __init__(self, *args, **options) -> None:
        super().__init__(*args, **options)
        self.process = PROCESS.get()
        self.world = world
        if self.process is not None:
            self.process.point("opening a database")
            self.process.connections.append(self)
            self.path = str(args[0]).removeprefix("file://").partition("?")[0]
            self.writing = False

    def execute(self, sql, *args):
        process = self.process
        if process is None:
            return super().execute(sql, *args)
        changes = sql[0] in "BCIUDSP" and not sql.startswith(("SELECT", "PRAGMA", "SAVEPOINT"))
        process.point(sql)
        if sql == "BEGIN IMMEDIATE":
            self.writing = True
        elif sql == "BEGIN":
            self.writing = False
        if changes and self.writing:
            disk = self.world.disk
            if disk.full_until > 0 or disk.broken_percent:
                self._fail(sql)
        if sql != "COMMIT":
            return super().execute(sql, *args)
        done = super().execute(sql)
        disk = self.world.disk
        if disk.is_volatile and super().execute("PRAGMA synchronous").fetchone()[0] >= 2:
            disk.logs[self.path] = _size(f"{self.path}-wal")
        process.point("after COMMIT")
        return done

    def _fail(self, sql: str) -> None:
        number = self.world.disk.fails(sql[:20], Path(self.path).name)
        if not number:
            return
        full = number == errno.ENOSPC
        error = sqlite3.OperationalError("database or disk is full" if full else "disk I/O error")
        error.sqlite_errorcode = sqlite3.SQLITE_FULL if full else sqlite3.SQLITE_IOERR
        error.sqlite_errorname = "SQLITE_FULL" if full else "SQLITE_IOERR_WRITE"
        # SQLite itself takes the whole transaction back where a commit fails, and may do so elsewhere.
        if self.in_transaction and (sql == "COMMIT" or self.world.choices.below(2)):
            super().execute("ROLLBACK")
        raise error

    def close(self) -> None:
        process = self.process
        if process is not None:
            if process.dead:
                raise Killed
            if self in process.connections:
                process.connections.remove(self)
        super().close()
        if process is not None and self.world.disk.is_volatile and not os.path.exists(f"{self.path}-wal"):
            # The last one to leave has moved the log into the database, and synced that.
            self.world.disk.logs[self.path] = 0

    def abandon(self) -> None:
        """End as the connection of a dead process does."""
        super().close()


class Queue:
    """A queue of one simulated thread: what comes in makes the thread run soon."""

    def __init__(self) -> None:
        self._entries: deque = deque()
        self.notify = None

    def put(self, entry) -> None:
        self._entries.append(entry)
        if self.notify is not None:
            self.notify()

    def get(self):
        return self._entries.popleft()

    def get_nowait(self):
        from queue import Empty

        if not self._entries:
            raise Empty
        return self._entries.popleft()

    def __len__(self) -> int:
        return len(self._entries)


class Thread:
    """The thread of a database, taken one step at a time by the loop."""

    def __init__(self, *, target, name: str, daemon: bool) -> None:
        self._writer = target.__self__
        self._queue: Queue = self._writer._queue
        self._steps = self._writer._steps()
        self._waits = False

    def start(self) -> None:
        self._queue.notify = self._soon
        self._waits = True
        world.loop.call_later(self._delay(), self._step)

    def _delay(self) -> float:
        choices = world.choices
        return choices.magnitude(1e-4, 3.0) if choices.chance(world.slow_percent) else 2e-4

    def _soon(self) -> None:
        if not self._waits:
            self._waits = True
            world.loop.call_later(self._delay(), self._step)

    def _step(self) -> None:
        self._waits = False
        try:
            next(self._steps)
        except StopIteration:
            self._queue.notify = None
            return
        if self._queue:
            self._soon()


async def _run_sync(function, *args, abandon_on_cancel=False, cancellable=None, limiter=None):
    """Call *function* as a worker thread would, at some moment from now on."""
    import anyio

    choices = world.choices
    with anyio.CancelScope(shield=True):
        await asyncio.sleep(choices.magnitude(1e-4, 1.0) if choices.chance(world.slow_percent) else 1e-4)
    return function(*args)


def install() -> None:
    """Put the stand-ins in place."""
    assert not any(name.startswith("nanogpt_images") for name in sys.modules)
    time.time = lambda: _real_time["time"]() if world is None else world.wall()
    time.monotonic = lambda: _real_time["monotonic"]() if world is None else world.monotonic()
    time.sleep = _sleep
    secrets.token_hex = lambda n=16: f"{world.token():032x}"[: 2 * n] if world else os.urandom(n).hex()
    uuid.uuid4 = lambda: uuid.UUID(int=world.token() if world else random.getrandbits(128))
    os.open, os.close, os.write, os.fsync = _open, _close, _write, _fsync
    os.link, os.unlink, os.replace, os.mkdir = _link, _unlink, _replace, _mkdir
    os.kill, os.getpid = _kill, _getpid
    sqlite3.connect = lambda *args, **options: _connect(
        *args, **options, **({} if PROCESS.get() is None else {"factory": Connection})
    )
    from anyio import to_thread
    from anyio._backends import _asyncio

    to_thread.run_sync = _run_sync

    class CancelScope(_asyncio.CancelScope):
        """A scope whose hash does not depend on its address."""

        __slots__ = ("_number",)

        def __hash__(self) -> int:
            try:
                return self._number
            except AttributeError:
                self._number = number = id(self) if world is None else world.token() & 0xFFFFFFFF
                return number

    _asyncio.CancelScope = CancelScope
    from nanogpt_images._base.database import writer

    writer.SimpleQueue = Queue
    writer.threading = type("threading", (), {"Thread": Thread})


def _sleep(seconds: float) -> None:
    if world is None:
        _real_time["sleep"](seconds)
    else:
        world.loop.now += seconds


def _size(path: str) -> int:
    try:
        return os.stat(path).st_size
    except FileNotFoundError:
        return 0


def _simulated(path: object) -> Disk | None:
    """The disk that *path* is on, where a simulated process asks."""
    if world is None or PROCESS.get() is None:
        return None
    return world.disk if world.disk.is_here(path) else None


def _open(path, flags, mode=0o777, *, dir_fd=None):
    disk = _simulated(path)
    if disk is None:
        return _real["open"](path, flags, mode, dir_fd=dir_fd)
    if flags & _WRITING:
        disk.before("open", path)
    else:
        PROCESS.get().point("open")
    is_new = disk.is_volatile and flags & os.O_CREAT and not os.path.lexists(path)
    descriptor = _real["open"](path, flags, mode)
    PROCESS.get().descriptors.add(descriptor)
    if is_new:
        disk.loose[os.fspath(path)] = None
    return descriptor


def _close(descriptor) -> None:
    process = None if world is None else PROCESS.get()
    if process is not None:
        if process.dead:
            raise Killed
        process.descriptors.discard(descriptor)
    _real["close"](descriptor)


def _write(descriptor, data):
    process = None if world is None else PROCESS.get()
    if process is None or descriptor not in process.descriptors:
        return _real["write"](descriptor, data)
    disk = world.disk
    process.point("write")
    if disk.fails("write", "a file"):
        # Some of it may have been written before the disk was full.
        part = world.choices.below(len(data))
        if part:
            return _real["write"](descriptor, memoryview(data)[:part])
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    return _real["write"](descriptor, data)


def _fsync(descriptor) -> None:
    process = None if world is None else PROCESS.get()
    if process is None:
        _real["fsync"](descriptor)
        return
    disk = world.disk
    disk.before("fsync", "a file")
    if disk.is_volatile:
        info = os.fstat(descriptor)
        if stat.S_ISDIR(info.st_mode):
            folder = os.readlink(f"/proc/self/fd/{descriptor}")
            for name in [name for name in disk.loose if os.path.dirname(name) == folder]:
                del disk.loose[name]
        else:
            disk.synced[info.st_ino] = info.st_size


def _link(source, target, **options) -> None:
    disk = _simulated(target)
    if disk is None:
        _real["link"](source, target, **options)
        return
    disk.before("link", target)
    _real["link"](source, target)
    if disk.is_volatile:
        disk.loose[os.fspath(target)] = None


def _replace(source, target, **options) -> None:
    disk = _simulated(target)
    if disk is None:
        _real["replace"](source, target, **options)
        return
    disk.before("rename", target)
    _real["replace"](source, target)
    if disk.is_volatile:
        disk.loose[os.fspath(target)] = None
        disk.loose.pop(os.fspath(source), None)


def _unlink(path, **options) -> None:
    disk = _simulated(path)
    if disk is not None:
        PROCESS.get().point("unlink")
        if disk.is_volatile:
            disk.loose.pop(os.fspath(path), None)
    _real["unlink"](path, **options)


def _mkdir(path, mode=0o777, **options) -> None:
    disk = _simulated(path)
    if disk is not None:
        disk.before("mkdir", path)
    _real["mkdir"](path, mode, **options)


def _kill(pid, signal) -> None:
    if world is None or pid < 5_000_000:
        _real["kill"](pid, signal)
        return
    alive = any(each.pid == pid and not each.dead and not each.ended.done() for each in world.processes)
    if not alive:
        raise ProcessLookupError(errno.ESRCH, os.strerror(errno.ESRCH))


def _getpid() -> int:
    process = PROCESS.get()
    return _real["getpid"]() if process is None else process.pid


def unlocked(path: Path) -> bool:
    """Whether the kernel would give a lock on *path*."""
    descriptor = _real["open"](path, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    finally:
        _real["close"](descriptor)
    return True
