"""Who may open a journal, and which files are refused with which way out."""

import contextlib
import os
import shutil
import sqlite3
import threading
from contextlib import closing
from pathlib import Path

import pytest

from nanogpt_images.batch.journal import Journal
from nanogpt_images.batch.journal.database import schema
from nanogpt_images.batch.journal.database.schema import VERSION
from nanogpt_images.batch.journal.database.store import Store
from nanogpt_images.batch.rows import BatchRow
from nanogpt_images.batch.states import State
from nanogpt_images.errors import JournalError, OutputError
from nanogpt_images.types.parameters import CountRule

ROW = (BatchRow("a fox", "m", count=3), CountRule())


def make_journal(out: Path) -> Path:
    """A closed journal in *out*."""
    Store(out, service="sandbox").close()
    return out / "journal.db"


def test_a_second_process_is_told_who_holds_it(out: Path) -> None:
    """Without join the journal of a living process is refused; the text names it and the way on."""
    first = Store(out, service="sandbox")
    with pytest.raises(JournalError, match=f"process {os.getpid()} on .* since .* UTC.*--join"):
        Store(out, service="sandbox")
    first.close()
    Store(out, service="sandbox").close()


def test_of_many_starts_at_once_one_wins(out: Path) -> None:
    """Processes that start in the same moment do not all believe to be alone."""
    barrier = threading.Barrier(6)
    outcomes: list[str] = []

    def start() -> None:
        barrier.wait()
        try:
            store = Store(out, service="sandbox")
        except JournalError:
            outcomes.append("refused")
        else:
            outcomes.append("won")
        barrier.wait()
        if outcomes and "store" in locals():
            store.close()

    threads = [threading.Thread(target=start) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(outcomes) == ["refused"] * 5 + ["won"]


async def test_joined_processes_do_not_share_units(out: Path) -> None:
    """A unit that one process has claimed is not another's, neither to claim nor to send."""
    async with await Journal.open(out, service=None) as first:
        units = [found.unit for found in await first.admit([ROW])]
        async with await Journal.open(out, service=None, join=True) as second:
            assert [found.claimed for found in await second.admit([ROW])] == [False] * 3
            assert [found async for found in second.pending()] == []
            assert len(await second.holders()) == 2
            with pytest.raises(JournalError, match="not this process's"):
                await second.sent(units[0].id, 1)


async def test_a_peer_that_leaves_passes_its_units_on(out: Path) -> None:
    """What a joined process left behind can be taken over; what an earlier run left is not touched by that."""
    async with await Journal.open(out, service=None) as earlier:
        await earlier.admit([(BatchRow("of another manifest", "m"), CountRule())])
    async with await Journal.open(out, service=None) as first:
        async with await Journal.open(out, service=None, join=True) as second:
            claimed = {found.unit.id for found in await second.admit([ROW])}
            assert [found async for found in first.pending(left_by_peers=True)] == []
        assert {found.unit.id async for found in first.pending(left_by_peers=True)} == claimed


async def test_a_reader_changes_nothing_and_disturbs_nobody(out: Path) -> None:
    """Totals can be read while a batch runs; the reader holds nothing and may not write."""
    async with await Journal.open(out, service="sandbox") as journal:
        await journal.admit([ROW])
        async with await Journal.open(out, service=None, read_only=True) as reader:
            assert (await reader.totals()).units[State.PENDING] == 3
            assert len(await reader.holders()) == 1
            assert await reader.service() == "sandbox"
            with pytest.raises((JournalError, OutputError)):
                await reader.admit([ROW])
        assert len(await journal.holders()) == 1


def test_reading_without_a_journal(out: Path) -> None:
    """A status of a directory without a journal says so, and makes neither file nor directory."""
    with pytest.raises(JournalError, match="no journal"):
        Store(out, service=None, read_only=True)
    assert not out.exists()


def test_another_service_is_refused(out: Path) -> None:
    """A journal made with the sandbox does not go on with the real service, where nothing of it is paid for."""
    make_journal(out)
    with pytest.raises(JournalError, match=r"sandbox.*https://nano-gpt\.com"):
        Store(out, service="https://nano-gpt.com")


def test_a_newer_version_is_refused(out: Path) -> None:
    """A journal of a newer package is left alone."""
    path = make_journal(out)
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute(f"PRAGMA user_version = {VERSION + 1}")
    connection.close()
    with pytest.raises(JournalError, match=r"newer version.*\. Nothing was sent\. Upgrade"):
        Store(out, service="sandbox")
    with pytest.raises(JournalError, match=r"newer version.*\)\. Upgrade"):
        Store(out, service=None, read_only=True)


def test_an_older_version_is_refused(out: Path) -> None:
    """A journal whose tables are older is left alone, with the way out."""
    path = make_journal(out)
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute(f"PRAGMA user_version = {VERSION - 1}")
    with pytest.raises(JournalError, match=r"older version.*Finish it with that version"):
        Store(out, service="sandbox")


def test_another_database_is_refused(out: Path) -> None:
    """A SQLite file of something else is not turned into a journal."""
    out.mkdir()
    with closing(sqlite3.connect(out / "journal.db")) as connection, connection:
        connection.execute("CREATE TABLE theirs (x)")
    connection.close()
    with pytest.raises(JournalError, match="not the journal of a batch"):
        Store(out, service="sandbox")


@pytest.mark.parametrize("content", [b"not a database, and long enough to have a header" * 9, b"\0" * 5000])
def test_a_file_that_is_no_database_is_refused(out: Path, content: bytes) -> None:
    """A file that SQLite cannot read is called damaged, with the way out, and stays as it is."""
    out.mkdir()
    (out / "journal.db").write_bytes(content)
    with pytest.raises(JournalError, match=r"damaged.*Restore a copy"):
        Store(out, service="sandbox")
    assert (out / "journal.db").read_bytes() == content


async def test_a_damaged_page_is_found_at_opening(out: Path) -> None:
    """A journal with overwritten pages is refused before anything is sent."""
    async with await Journal.open(out, service=None) as journal:
        await journal.admit([(BatchRow(f"a fox {number}", "m"), CountRule()) for number in range(500)])
    path = out / "journal.db"
    content = bytearray(path.read_bytes())
    content[len(content) // 2 : len(content) // 2 + 8192] = b"\x5a" * 8192
    path.write_bytes(content)
    with pytest.raises(JournalError, match="damaged"):
        await Journal.open(out, service=None)


def test_an_empty_file_becomes_a_journal(out: Path) -> None:
    """A process that died while making its journal does not block the directory."""
    out.mkdir()
    (out / "journal.db").touch()
    make_journal(out)


def test_a_directory_that_cannot_be_made(tmp_path: Path) -> None:
    """A path below a file is an output error that names it."""
    (tmp_path / "file").touch()
    with pytest.raises(OutputError, match=r"cannot write to .*Nothing was sent\. .*choose another directory"):
        Store(tmp_path / "file" / "out", service=None)


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may write everywhere")
def test_a_directory_that_cannot_be_written(out: Path) -> None:
    """A directory without write permission is an output error."""
    out.mkdir(mode=0o555)
    with pytest.raises(OutputError, match="permissions"):
        Store(out, service=None)


def test_nothing_stays_behind_but_the_journal(out: Path) -> None:
    """A clean end leaves neither locks nor write-ahead files."""
    make_journal(out)
    assert [path.name for path in out.iterdir()] == ["journal.db"]


async def test_a_closed_journal_can_be_moved(out: Path, tmp_path: Path) -> None:
    """A directory that was moved to another place goes on there."""
    async with await Journal.open(out, service=None) as journal:
        await journal.admit([ROW])
    shutil.move(out, tmp_path / "elsewhere")
    async with await Journal.open(tmp_path / "elsewhere", service=None) as journal:
        assert len([found async for found in journal.pending()]) == 3


@pytest.mark.parametrize("looks", [1, 2, 3])
def test_identity_is_read_in_one_snapshot(
    looks: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A journal that another process makes between two looks at the file is not taken for a stranger's."""
    path = tmp_path / schema.FILE_NAME
    number = schema._number
    left = looks

    def meddle(connection: sqlite3.Connection, query: str) -> int:
        nonlocal left
        found = number(connection, query)
        left -= 1
        if left == 0:
            monkeypatch.setattr(schema, "_number", number)
            other = sqlite3.connect(path, timeout=0, isolation_level=None)
            with contextlib.suppress(sqlite3.OperationalError):
                other.execute("BEGIN IMMEDIATE")
                schema._create(other)
                other.execute("COMMIT")
            other.close()
        return found

    monkeypatch.setattr(schema, "_number", meddle)
    schema.connect(path).close()
