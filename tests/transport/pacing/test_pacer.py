"""The pace of a batch over all processes of its job."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

import pytest

from nanogpt_images.errors import JournalError
from nanogpt_images.transport.pacing import pacer as pacer_module
from nanogpt_images.transport.pacing import shared_window as pace
from nanogpt_images.transport.pacing.pacer import FILE_NAME, Pacer
from nanogpt_images.transport.pacing.shared_window import SharedWindow


class Time:
    """A clock that its own sleep sets forward."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now

    async def sleep(self, seconds: float) -> None:
        self.now += seconds
        await asyncio.sleep(0)


def pacer_of(directory: Path, limit: int, time: Time) -> Pacer:
    """A pacer on a clock of its own."""
    pacer = Pacer(directory, limit, 1.0, sleep=time.sleep)
    pacer._window = SharedWindow(directory / FILE_NAME, limit, clock=time)
    return pacer


async def test_starts_keep_to_the_limit_in_the_order_of_their_callers(tmp_path: Path) -> None:
    """Two fit into each second, first come first served."""
    time = Time()
    pacer = pacer_of(tmp_path, 2, time)
    starts: list[tuple[int, float]] = []

    async def start(number: int) -> None:
        await pacer.take()
        starts.append((number, time.now))
        pacer.started()

    await asyncio.gather(*(start(number) for number in range(6)))
    assert [number for number, _ in starts] == list(range(6))
    seconds = [at for _, at in starts]
    assert all(later - earlier >= 1.0 for earlier, later in zip(seconds, seconds[2:], strict=False))
    assert seconds[-1] == pytest.approx(1002.0)
    pacer.close()


async def test_a_second_begins_when_the_request_leaves(tmp_path: Path) -> None:
    """Time between the place and the first byte, for the journal or the connection, is not counted as passed."""
    time = Time()
    pacer, other = pacer_of(tmp_path, 1, time), SharedWindow(tmp_path / FILE_NAME, 1, clock=time)
    await pacer.take()
    time.now += 5
    assert other.try_start() > 0
    pacer.started()
    assert other.try_start() == 1.0
    pacer.close()
    other.close()


async def test_a_start_that_was_open_for_longer_than_its_time_counts_all_the_same(tmp_path: Path) -> None:
    """A very slow connection does not let one too many into the window."""
    time = Time()
    pacer, other = pacer_of(tmp_path, 1, time), SharedWindow(tmp_path / FILE_NAME, 1, clock=time)
    await pacer.take()
    time.now += 60
    pacer.started()
    assert other.try_start() == 1.0
    pacer.close()
    other.close()


async def test_places_stay_in_the_window_while_their_connections_hang(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two processes never start more than the limit together, although connections hang for longer than a place lasts."""
    monkeypatch.setattr(pacer_module, "_RENEW_S", 0.0)
    time = Time()
    one, other = pacer_of(tmp_path, 2, time), pacer_of(tmp_path, 2, time)
    await one.take()
    await one.take()
    for _ in range(15):
        time.now += 1
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        assert other._window.try_start(open_s=10) > 0
    one.started()
    one.started()
    assert other._window.try_start() == 1.0
    one.close()
    other.close()


async def test_a_place_whose_process_went_away_is_not_renewed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Closing ends the renewal, so the place leaves the window after its time."""
    monkeypatch.setattr(pacer_module, "_RENEW_S", 0.0)
    time = Time()
    gone, other = pacer_of(tmp_path, 1, time), pacer_of(tmp_path, 1, time)
    await gone.take()
    gone.close()
    time.now += 12
    await asyncio.sleep(0)
    assert other._window.try_start() == 0.0
    other.close()


async def test_a_start_that_met_a_busy_lock_is_written_soon(tmp_path: Path) -> None:
    """Nobody waits ten seconds for a place because its owner had no further request to make."""
    pacer, other = Pacer(tmp_path, 1, 0.001), SharedWindow(tmp_path / FILE_NAME, 1, 0.001)
    await pacer.take()
    fd = os.open(tmp_path / FILE_NAME, os.O_RDWR)
    assert pace.lock(fd)
    pacer.started()
    os.close(fd)
    async with asyncio.timeout(5):
        while other.try_start() > 0:
            await asyncio.sleep(0.001)
    pacer.close()
    other.close()


async def test_a_file_that_is_gone_stops_the_next_start_and_not_the_one_that_leaves(tmp_path: Path) -> None:
    """A request whose body is being written is not broken by its own bookkeeping."""
    directory = tmp_path / "out"
    directory.mkdir()
    pacer = Pacer(directory, 1, 1.0)
    await pacer.take()
    pacer.close()
    (directory / FILE_NAME).unlink()
    directory.rmdir()
    pacer.started()
    with pytest.raises(JournalError, match="pacing file"):
        await pacer.take()
