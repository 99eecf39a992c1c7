"""The pacing window that processes share."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nanogpt_images.errors import JournalError, ParameterError
from nanogpt_images.transport.pacing import shared_window as pace
from nanogpt_images.transport.pacing.shared_window import SharedWindow


class Clock:
    """A clock that stands until it is set forward."""

    def __init__(self, now: float = 1000.0) -> None:
        self.now = now

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "pace"


def test_a_window_lets_exactly_its_limit_through(path: Path) -> None:
    """After `limit` starts the next must wait until the first of them is a window old."""
    clock = Clock()
    window = SharedWindow(path, 3, clock=clock)
    assert [window.try_start() for _ in range(3)] == [0.0, 0.0, 0.0]
    clock.now += 0.25
    assert window.try_start() == 0.75
    clock.now += 0.75
    assert window.try_start() == 0.0
    window.close()


def test_two_windows_on_one_file_share_the_limit(path: Path) -> None:
    """What one of them started counts for the other."""
    clock = Clock()
    one, other = (SharedWindow(path, 2, clock=clock) for _ in range(2))
    assert [one.try_start(), other.try_start()] == [0.0, 0.0]
    assert one.try_start() > 0
    assert other.try_start() > 0
    one.close()
    other.close()


def test_a_later_process_knows_the_starts_of_a_dead_one(path: Path) -> None:
    """Closing, or dying, does not forget what was started."""
    clock = Clock()
    first = SharedWindow(path, 1, clock=clock)
    assert first.try_start() == 0.0
    first.close()
    second = SharedWindow(path, 1, clock=clock)
    assert second.try_start() == 1.0
    second.close()


@given(st.lists(st.floats(0, 0.7), min_size=1, max_size=60), st.integers(1, 5), st.integers(1, 3))
def test_no_window_holds_more_than_the_limit(
    tmp_path_factory: pytest.TempPathFactory, pauses: list[float], limit: int, processes: int
) -> None:
    """Whatever the pace of the callers, no stretch of one second holds more starts than the limit."""
    clock = Clock()
    file = tmp_path_factory.mktemp("pace") / "pace"
    windows = [SharedWindow(file, limit, clock=clock) for _ in range(processes)]
    starts: list[float] = []
    for turn, pause in enumerate(pauses):
        clock.now += pause
        if windows[turn % processes].try_start() == 0.0:
            starts.append(clock.now)
    for window in windows:
        window.close()
    for first, after in zip(starts, starts[limit:], strict=False):
        assert first + 1.0 <= after


def test_the_returned_wait_is_enough(path: Path) -> None:
    """Whoever waits as long as told gets through."""
    clock = Clock(0.1)
    window = SharedWindow(path, 1, 0.3, clock=clock)
    for _ in range(1000):
        while (wait_s := window.try_start()) > 0:
            clock.now += wait_s
    assert clock.now == pytest.approx(0.1 + 999 * 0.3)
    window.close()


def test_the_clock_is_read_under_the_lock(path: Path) -> None:
    """A start is never recorded as earlier than the moment in which the lock was had."""
    states: list[bool] = []

    def clock() -> float:
        fd = os.open(path, os.O_RDWR)
        try:
            states.append(pace.lock(fd))
        finally:
            os.close(fd)
        return 1.0

    window = SharedWindow(path, 1, clock=clock)
    assert window.try_start() == 0.0
    assert states == [False]
    window.close()


def test_a_held_lock_is_not_waited_for(path: Path) -> None:
    """While another process is at the file, the answer is to ask again shortly, and nothing is recorded."""
    clock = Clock()
    window = SharedWindow(path, 1, clock=clock)
    fd = os.open(path, os.O_RDWR | os.O_CREAT)
    assert pace.lock(fd)
    assert 0 < window.try_start() < 0.1
    os.close(fd)
    assert window.try_start() == 0.0
    window.close()


def test_a_pause_holds_for_everybody(path: Path) -> None:
    """The service told one of them to rest, and it told the key: none starts before that is over."""
    clock = Clock()
    one, other = (SharedWindow(path, 3, clock=clock) for _ in range(2))
    one.pause(5.0)
    assert other.try_start() == 5.0
    clock.now += 2.0
    other.pause(1.0)
    assert one.try_start() == 3.0
    clock.now += 3.0
    assert [one.try_start(), other.try_start()] == [0.0, 0.0]
    one.close()
    other.close()


def test_a_pause_outlives_a_busy_lock(path: Path) -> None:
    """A pause that could not be written at once is written by the next call."""
    clock = Clock()
    one, other = (SharedWindow(path, 3, clock=clock) for _ in range(2))
    assert other.try_start() == 0.0
    fd = os.open(path, os.O_RDWR)
    assert pace.lock(fd)
    one.pause(5.0)
    os.close(fd)
    assert one.record()
    assert other.try_start() == 5.0
    one.close()
    other.close()


def test_no_pause_lasts_for_ever(path: Path) -> None:
    """Ten minutes at the most, and one from before a restart of the machine is dropped."""
    clock = Clock(900_000.0)
    window = SharedWindow(path, 3, clock=clock)
    window.pause(1e9)
    assert window.try_start() == 600.0
    clock.now = 5.0
    assert window.try_start() == 0.0
    window.close()


def test_times_from_before_a_restart_are_dropped(path: Path) -> None:
    """The monotonic clock begins again at boot; what it recorded before does not block for days."""
    clock = Clock(900_000.0)
    window = SharedWindow(path, 1, clock=clock)
    assert window.try_start() == 0.0
    clock.now = 5.0
    assert window.try_start() == 0.0
    window.close()


@pytest.mark.parametrize("spoil", [b"x", b"garbage" * 9, b"\0" * 40])
def test_a_damaged_file_costs_one_window(path: Path, spoil: bytes) -> None:
    """What cannot be read may hide a full window of starts, so one is waited for; then it goes on."""
    path.write_bytes(spoil)
    clock = Clock()
    window = SharedWindow(path, 2, clock=clock)
    assert window.try_start() == 1.0
    clock.now += 1.0
    assert [window.try_start() for _ in range(2)] == [0.0, 0.0]
    assert window.try_start() > 0
    window.close()


def test_a_changed_byte_is_noticed(path: Path) -> None:
    """Times that were tampered with are not believed."""
    clock = Clock()
    window = SharedWindow(path, 5, clock=clock)
    assert window.try_start() == 0.0
    content = bytearray(path.read_bytes())
    content[-1] ^= 0x40
    path.write_bytes(content)
    assert window.try_start() == 1.0
    window.close()


def test_a_file_that_cannot_be_used_is_a_journal_error(tmp_path: Path) -> None:
    """A directory that is missing is named in the error."""
    window = SharedWindow(tmp_path / "none" / "pace", 1)
    with pytest.raises(JournalError, match="pacing file"):
        window.try_start()


@pytest.mark.parametrize(
    ("limit", "window_s"), [(0, 1.0), (-1, 1.0), (10**9, 1.0), (1, 0.0), (1, float("inf"))]
)
def test_an_impossible_window_is_refused(path: Path, limit: int, window_s: float) -> None:
    """Limits below one and windows without a length raise a ParameterError."""
    with pytest.raises(ParameterError):
        SharedWindow(path, limit, window_s)


STARTER = """
import sys, time
from nanogpt_images.transport.pacing.shared_window import SharedWindow
window = SharedWindow(sys.argv[1], 5, 0.2)
for _ in range(15):
    while (wait_s := window.try_start()) > 0:
        time.sleep(wait_s)
    print(time.monotonic(), flush=True)
"""


def test_processes_keep_the_limit_together(path: Path) -> None:
    """Three processes that start as fast as they may never put more than the limit into one window of the file."""
    running = [
        subprocess.Popen([sys.executable, "-c", STARTER, str(path)], stdout=subprocess.PIPE, text=True)
        for _ in range(3)
    ]
    outputs = [process.communicate(timeout=60)[0] for process in running]
    starts = sorted(float(line) for output in outputs for line in output.split())
    assert len(starts) == 45
    # Nine windows of five: the ninth cannot begin before eight windows have passed.
    assert starts[-1] - starts[0] > 8 * 0.2 - 0.1


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_forked_child_takes_its_own_lock(path: Path) -> None:
    """A child that inherited the open file does not share its parent's lock."""
    window = SharedWindow(path, 5)
    assert window.try_start() == 0.0
    assert window._fd is not None
    assert pace.lock(window._fd)
    child = os.fork()
    if child == 0:
        os._exit(0 if window.try_start() == pace._BUSY_S else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    window.close()


def test_an_open_start_counts_until_it_has_happened(path: Path) -> None:
    """A start that is kept open blocks the window, and its second begins only when it happens."""
    clock = Clock()
    slow, other = (SharedWindow(path, 1, clock=clock) for _ in range(2))
    assert slow.try_start(open_s=10) == 0.0
    clock.now += 5
    assert 0 < other.try_start() < 0.1
    slow.started()
    clock.now += 0.75
    assert other.try_start() == 0.25
    clock.now += 0.25
    assert other.try_start() == 0.0
    slow.close()
    other.close()


def test_the_open_start_of_a_dead_process_ends_by_itself(path: Path) -> None:
    """Nobody says that it happened, so it falls out of the window after its time."""
    clock = Clock()
    dead = SharedWindow(path, 1, clock=clock)
    assert dead.try_start(open_s=10) == 0.0
    dead.close()
    clock.now += 11
    other = SharedWindow(path, 1, clock=clock)
    assert other.try_start() == 0.0
    other.close()


def test_a_start_is_corrected_later_when_the_lock_was_busy(path: Path) -> None:
    """`started` never waits; what it could not write is written by the next call, with the time it happened."""
    clock = Clock()
    window = SharedWindow(path, 1, clock=clock)
    assert window.try_start(open_s=10) == 0.0
    fd = os.open(path, os.O_RDWR)
    assert pace.lock(fd)
    window.started()
    os.close(fd)
    clock.now += 1
    assert window.try_start() == 0.0
    window.close()


def test_started_without_an_open_start_changes_nothing(path: Path) -> None:
    """A start that was not kept open stays where it is."""
    clock = Clock()
    window = SharedWindow(path, 1, clock=clock)
    assert window.try_start() == 0.0
    clock.now += 0.5
    window.started()
    assert window.try_start() == 0.5
    window.close()


@given(
    st.lists(st.tuples(st.sampled_from(["ask", "start"]), st.floats(0, 0.6), st.integers(0, 2)), max_size=80),
    st.integers(1, 4),
)
def test_starts_that_were_kept_open_keep_the_limit(
    tmp_path_factory: pytest.TempPathFactory, steps: list[tuple[str, float, int]], limit: int
) -> None:
    """However long starts stay open, no second holds more of them than the limit, counted when they happen."""
    clock = Clock()
    file = tmp_path_factory.mktemp("pace") / "pace"
    windows = [SharedWindow(file, limit, clock=clock) for _ in range(3)]
    opened = [0, 0, 0]
    starts: list[float] = []
    for what, pause, which in steps:
        clock.now += min(pause, 30 / 80)
        if what == "ask":
            opened[which] += windows[which].try_start(open_s=30) == 0.0
        elif opened[which]:
            opened[which] -= 1
            starts.append(clock.now)
            windows[which].started()
    for window in windows:
        window.close()
    for first, after in zip(starts, starts[limit:], strict=False):
        assert first + 1.0 <= after


@given(
    st.lists(st.tuples(st.sampled_from(["ask", "start"]), st.floats(0, 20), st.integers(0, 2)), max_size=60),
    st.integers(1, 4),
)
def test_starts_that_hang_for_longer_than_their_time_keep_the_limit(
    tmp_path_factory: pytest.TempPathFactory, steps: list[tuple[str, float, int]], limit: int
) -> None:
    """Whatever the time between a place and its start: as long as its owner renews it, it stays in the window."""
    clock = Clock()
    file = tmp_path_factory.mktemp("pace") / "pace"
    windows = [SharedWindow(file, limit, clock=clock) for _ in range(3)]
    opened = [0, 0, 0]
    starts: list[float] = []
    for what, pause, which in steps:
        for seconds in [2.5] * int(pause / 2.5) + [pause % 2.5]:
            clock.now += seconds
            for window in windows:
                window.renew(10)
        assert [window.has_open for window in windows] == [count > 0 for count in opened]
        if what == "ask":
            opened[which] += windows[which].try_start(open_s=10) == 0.0
        while what == "start" and opened[which]:
            opened[which] -= 1
            starts.append(clock.now)
            windows[which].started()
    for window in windows:
        window.close()
    for first, after in zip(starts, starts[limit:], strict=False):
        assert first + 1.0 <= after


def test_a_start_is_not_kept_open_for_ever(path: Path) -> None:
    """More than half a minute is refused: a dead process would block the job for as long."""
    with pytest.raises(ParameterError):
        SharedWindow(path, 1).try_start(open_s=31)


def test_a_correction_is_made_once(path: Path) -> None:
    """What corrected an earlier start does not touch a later one that is open until the same moment."""
    clock = Clock()
    window, other = (SharedWindow(path, 1, clock=clock) for _ in range(2))
    assert window.try_start(open_s=10) == 0.0
    window.started()
    clock.now += 2
    assert window.try_start(open_s=8) == 0.0
    clock.now += 2
    assert window.try_start() > 0
    assert other.try_start() > 0
    window.close()
    other.close()
