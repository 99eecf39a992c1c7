"""The lock by which a living process is known."""

import os
import signal
import subprocess
import sys
from pathlib import Path

from nanogpt_images._base.file_lock import ProcessLock, forget, is_alive

HOLD = """
import sys, pathlib
from nanogpt_images._base.file_lock import ProcessLock
lease = ProcessLock(pathlib.Path(sys.argv[1]), "token")
print("held", flush=True)
sys.stdin.read()
"""


def test_held_and_given_back(tmp_path: Path) -> None:
    """A lease is alive until it is given back, also for its own process."""
    lease = ProcessLock(tmp_path, "token")
    assert is_alive(tmp_path, "token")
    assert is_alive(tmp_path, "token"), "looking must not take the lock"
    lease.release()
    assert not is_alive(tmp_path, "token")


def test_nobody_ever_held_it(tmp_path: Path) -> None:
    """A token without a file is nobody's."""
    assert not is_alive(tmp_path, "token")


def test_a_killed_process_gives_its_lock_back(tmp_path: Path) -> None:
    """SIGKILL leaves the file but not the lock."""
    command = [sys.executable, "-c", HOLD, str(tmp_path)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"held\n"
        assert is_alive(tmp_path, "token")
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
    assert not is_alive(tmp_path, "token")
    assert (tmp_path / ".locks" / "token").exists()
    forget(tmp_path, "token")
    assert not (tmp_path / ".locks").exists()
