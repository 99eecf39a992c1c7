"""The thread: what waits is committed together, and nothing that was queued is lost."""

import asyncio
import sqlite3
import threading
from collections.abc import AsyncIterator, Callable
from contextlib import closing
from pathlib import Path

import pytest

from nanogpt_images._base import durable
from nanogpt_images._base.database.writer import Writer
from nanogpt_images.batch.journal import ImageRecord, Journal
from nanogpt_images.batch.journal.database.store import Store
from nanogpt_images.batch.outcomes import Done
from nanogpt_images.batch.rows import BatchRow
from nanogpt_images.errors import JournalError, OutputError
from nanogpt_images.types.parameters import CountRule


class Stopped:
    """A writer whose thread waits inside an operation until it is released."""

    def __init__(self, writer: Writer) -> None:
        self.writer = writer
        self.reached = asyncio.Event()
        self._concurrency_limit = threading.Event()

    async def start(self) -> asyncio.Task[None]:
        loop = asyncio.get_running_loop()

        def wait(store: Store) -> None:
            loop.call_soon_threadsafe(self.reached.set)
            assert self._concurrency_limit.wait(20)

        task = asyncio.create_task(self.writer.run(wait))
        await self.reached.wait()
        return task

    def release(self) -> None:
        self._concurrency_limit.set()


@pytest.fixture
async def writer(out: Path) -> AsyncIterator[Writer]:
    writer = Writer(lambda: Store(out, service=None))
    await writer.start()
    yield writer
    await writer.stop()


def note(text: str) -> Callable[[Store], None]:
    def work(store: Store) -> None:
        store.connection.execute("INSERT INTO meta VALUES (?, '')", (text,))

    return work


async def notes(writer: Writer) -> set[str]:
    found = await writer.run(
        lambda store: store.connection.execute("SELECT name FROM meta WHERE name != 'metadata'").fetchall()
    )
    return {name for (name,) in found}


async def test_what_waits_shares_one_commit(writer: Writer) -> None:
    """Fifty operations that wait while the thread is busy are one transaction."""
    statements: list[str] = []
    stopped = Stopped(writer)
    first = await stopped.start()
    trace = writer.run(lambda store: store.connection.set_trace_callback(statements.append))
    waiting = [asyncio.create_task(trace)]
    waiting += [asyncio.create_task(writer.run(note(f"{number}"))) for number in range(50)]
    await asyncio.sleep(0)
    stopped.release()
    await asyncio.gather(*waiting)
    await first
    assert await notes(writer) >= {f"{number}" for number in range(50)}
    inserts = [
        text for text in statements[: statements.index("COMMIT")] if text.startswith("INSERT INTO meta")
    ]
    assert len(inserts) == 50


async def test_a_failing_operation_fails_alone(writer: Writer) -> None:
    """Of several operations in one commit the broken one is undone, and the others stand."""

    def broken(store: Store) -> None:
        note("half")(store)
        raise JournalError("broken")

    stopped = Stopped(writer)
    first = await stopped.start()
    works = [note("before"), broken, note("after")]
    waiting = [asyncio.create_task(writer.run(work)) for work in works]
    await asyncio.sleep(0)
    stopped.release()
    outcomes = await asyncio.gather(*waiting, return_exceptions=True)
    await first
    assert [isinstance(outcome, JournalError) for outcome in outcomes] == [False, True, False]
    assert await notes(writer) == {"before", "after"}


async def test_an_operation_alone_is_undone_where_it_fails(writer: Writer) -> None:
    """Nothing half is committed of it, and the next one stands."""

    def broken(store: Store) -> None:
        note("half")(store)
        raise JournalError("broken")

    with pytest.raises(JournalError, match="broken"):
        await writer.run(broken)
    await writer.run(note("next"))
    assert await notes(writer) == {"next"}


async def test_bytes_reach_their_files_before_the_commit(writer: Writer, tmp_path: Path) -> None:
    """Whole, over what had the name, in a directory that may be missing; where they cannot be written nothing is committed."""
    old, new = tmp_path / "old.png", tmp_path / "made" / "new.png"
    old.write_bytes(b"longer than the new bytes")
    seen: list[bytes] = []
    await writer.run(
        lambda _: seen.extend(path.read_bytes() for path in (old, new)),
        unwritten={str(old): b"one", str(new): b"two"},
    )
    assert seen == [b"one", b"two"]
    with pytest.raises(OutputError, match="could not be put on the disk"):
        await writer.run(note("lost"), unwritten={str(old / "in-a-file.png"): b"three"})
    assert await notes(writer) == set()
    assert sorted(path.name for path in tmp_path.iterdir() if path.suffix == ".part") == []


async def test_a_cancelled_caller_does_not_undo_its_operation(writer: Writer) -> None:
    """What was queued is carried out, although nobody waits for it any more."""
    stopped = Stopped(writer)
    first = await stopped.start()
    task = asyncio.create_task(writer.run(note("kept")))
    await asyncio.sleep(0)
    task.cancel()
    stopped.release()
    with pytest.raises(asyncio.CancelledError):
        await task
    await first
    assert await notes(writer) == {"kept"}


async def test_a_failing_commit_fails_the_whole_group(writer: Writer) -> None:
    """When the disk is full every caller of the commit is told, with the way out, and nothing half is left."""

    def fill(store: Store) -> None:
        pages = store.connection.execute("PRAGMA page_count").fetchone()[0]
        store.connection.execute(f"PRAGMA max_page_count = {pages}")

    def large(store: Store) -> None:
        store.connection.execute("INSERT INTO meta VALUES ('large', ?)", ("x" * 200_000,))

    await writer.run(fill)
    stopped = Stopped(writer)
    first = await stopped.start()
    waiting = [asyncio.create_task(writer.run(work)) for work in (note("small"), large)]
    await asyncio.sleep(0)
    stopped.release()
    outcomes = await asyncio.gather(*waiting, return_exceptions=True)
    await first
    assert "Free space" in str(outcomes[1])
    kept = await notes(writer)
    assert "large" not in kept
    assert ("small" in kept) == (not isinstance(outcomes[0], Exception))


async def test_a_closed_journal_takes_nothing(out: Path) -> None:
    """After closing, an operation fails instead of waiting for ever; closing twice is fine."""
    journal = await Journal.open(out, service=None)
    await journal.aclose()
    await journal.aclose()
    with pytest.raises(JournalError, match="closed"):
        await journal.totals()


async def test_closing_carries_out_what_waits(out: Path) -> None:
    """Operations that are queued when the journal closes are committed first."""
    writer = Writer(lambda: Store(out, service=None))
    await writer.start()
    task = asyncio.create_task(writer.run(note("queued")))
    await asyncio.sleep(0)
    await writer.stop()
    await task
    with closing(sqlite3.connect(out / "journal.db")) as connection, connection:
        assert connection.execute("SELECT count(*) FROM meta WHERE name != 'metadata'").fetchone() == (1,)
    connection.close()


async def test_a_cancelled_caller_does_not_leave_before_the_store_is_closed(out: Path) -> None:
    """A program that ends then would take the thread, and what waits for its commit, with it."""
    writer = Writer(lambda: Store(out, service=None))
    await writer.start()
    stopped = Stopped(writer)
    waiting = await stopped.start()
    leaving = asyncio.create_task(writer.stop())
    for _ in range(2):
        await asyncio.sleep(0)
        leaving.cancel()
    await asyncio.sleep(0)
    assert not leaving.done()
    stopped.release()
    await asyncio.wait([leaving])
    assert leaving.cancelled()
    assert writer._closed.done()
    await waiting


async def test_a_cancelled_opening_leaves_nothing_open(out: Path) -> None:
    """Cancelling while the journal is being opened gives its lock back."""
    task = asyncio.create_task(Journal.open(out, service=None))
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await (await Journal.open(out, service=None)).aclose()


async def test_images_are_synced_before_the_commit(
    out: Path, image: Callable[..., ImageRecord], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Files and their directory reach the disk while the journal still calls the unit sent."""
    seen: list[tuple[str, str]] = []

    def watch(path: Path | str, flags: int, sync: object) -> None:
        with closing(sqlite3.connect(out / "journal.db")) as connection, connection:
            (state,) = connection.execute("SELECT state FROM unit").fetchone()
        connection.close()
        seen.append((Path(path).name, state))

    async with await Journal.open(out, service=None) as journal:
        (admission,) = await journal.admit([(BatchRow("a", "m", key="k"), CountRule())])
        await journal.sent(admission.unit.id, 1)
        monkeypatch.setattr(durable, "_sync", watch)
        await journal.record(admission.unit.id, Done(images=[image("k")]))
        monkeypatch.undo()
    assert seen == [("k.png", "sent"), ("images", "sent")]
