"""Where no thread can be started any more, as in a thread that outlives the main one from Python 3.12 on."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest

from nanogpt_images import JournalError
from nanogpt_images._base.threads import in_thread
from nanogpt_images.batch.journal import Journal


@pytest.fixture
def no_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    """Starting a thread fails as it does while the interpreter ends."""

    def start(thread: threading.Thread) -> None:
        raise RuntimeError("can't create new thread at interpreter shutdown")

    monkeypatch.setattr(threading.Thread, "start", start)


async def test_work_is_done_in_a_thread() -> None:
    """The event loop's thread is left alone."""
    assert await in_thread(threading.get_ident) != threading.get_ident()


async def test_without_threads_work_is_done_in_place(no_threads: None) -> None:
    """A request that was paid for comes to its end."""
    assert await in_thread(divmod, 7, 2) == (3, 1)


async def test_an_error_of_the_work_itself_passes() -> None:
    """It is not taken for a missing thread, and the work is not done twice."""
    calls: list[int] = []

    def fail() -> None:
        calls.append(1)
        raise RuntimeError("of its own")

    with pytest.raises(RuntimeError, match="of its own"):
        await in_thread(fail)
    assert calls == [1]


async def test_a_journal_says_that_it_has_no_thread(no_threads: None, tmp_path: Path) -> None:
    """A batch cannot do without; it says so before anything is sent."""
    with pytest.raises(JournalError, match=r"thread cannot start.*Nothing was sent"):
        await Journal.open(tmp_path / "out", service="s")
