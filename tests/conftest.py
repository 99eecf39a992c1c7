"""What all tests share: the event loop's back end, and a guard against blocking calls on it."""

from __future__ import annotations

import signal
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from blockbuster import BlockBuster, blockbuster_ctx
from hypothesis import settings

# For `fakes`, which several folders of tests share; last, so that it hides no other module.
sys.path.append(str(Path(__file__).parent / "support"))
# A deadline for an example is a timed assertion, which a busy machine fails. The examples of a property are the same in
# every run, so that a change fails by what it changed; `--long` draws new ones.
settings.register_profile("steady", deadline=None, derandomize=True)
settings.register_profile("long", deadline=None, max_examples=1000)
settings.load_profile("steady")
pytest.register_assert_rewrite("cells", "leaks", "stepping")
# A shell starts what runs in its background with SIGINT ignored, and commands that tests interrupt would inherit that.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_addoption(parser: pytest.Parser) -> None:
    """How much of what is too long for every day is run; CONTRIBUTING.md has the list."""
    parser.addoption(
        "--long",
        action="store_true",
        help="each fault at each entry point, each step of a cancellation, ten times as many random examples",
    )
    parser.addoption(
        "--kills", type=int, default=12, help="kills of a running batch in tests/batch/test_crash.py"
    )
    parser.addoption(
        "--histories", type=int, default=150, help="random histories in tests/batch/journal/test_owed.py"
    )
    parser.addoption(
        "--seeds",
        type=int,
        default=800,
        help="seeds of the simulation in tests/simulation/test_simulation.py",
    )
    parser.addoption(
        "--orders",
        type=int,
        default=150,
        help="orders of killed workers in tests/resources/ledger/test_kill.py",
    )
    parser.addoption(
        "--ray-rows",
        type=int,
        default=200,
        help="rows of the batch in tests/integrations/ray/test_cluster.py",
    )


def pytest_configure(config: pytest.Config) -> None:
    if config.getoption("long"):
        settings.load_profile("long")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out what is marked `long`, unless it is asked for."""
    if config.getoption("long"):
        return
    left_out = [item for item in items if item.get_closest_marker("long")]
    config.hook.pytest_deselected(items=left_out)
    items[:] = [item for item in items if item.get_closest_marker("long") is None]


@pytest.fixture(scope="session")
def anyio_backend() -> str:
    """aiohttp runs on asyncio alone."""
    return "asyncio"


@pytest.fixture(autouse=True)
def no_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """A developer's own key or base URL never reaches a test."""
    for name in ("NANOGPT_API_KEY", "NANOGPT_API_KEYS", "NANOGPT_BASE_URL"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture(autouse=True)
def blockbuster() -> Iterator[BlockBuster]:
    """Any call of the client that blocks the event loop fails the test."""
    with blockbuster_ctx("nanogpt_images", excluded_modules=["nanogpt_images.sandbox"]) as guard:
        # Writes to the page cache are short; handing them to a thread costs more (benchmarks/README.md).
        for name in (
            "os.write",
            "os.open",
            "os.close",
            "os.link",
            "os.unlink",
            "os.replace",
            "os.read",
            "os.stat",
            "os.mkdir",
            "os.access",
        ):
            if name in guard.functions:
                guard.functions[name].can_block_in(
                    "nanogpt_images/_base/part_file.py", {"write", "__init__", "close", "remove", "take_back"}
                )
                guard.functions[name].can_block_in(
                    "nanogpt_images/_base/disk.py", {"_claim", "publish", "make_directory"}
                )
        # A row by its index, and a small image: 50 µs, where a thread takes several times that.
        for name in ("sqlite3.Connection.execute", "sqlite3.Cursor.fetchall", "os.read"):
            guard.functions[name].can_block_in("nanogpt_images/resources/ledger/paid_ledger.py", {"read"})
        # aiohttp before 3.14 looks for a netrc, and reads it, in place where proxies of the environment are asked for.
        for name in ("os.stat", "io.TextIOWrapper.read"):
            guard.functions[name].can_block_in("aiohttp/helpers.py", {"netrc_from_env"})
        # The pacing file: some hundred bytes under a lock that is never waited for.
        for name in ("os.read", "os.write"):
            guard.functions[name].can_block_in(
                "nanogpt_images/transport/pacing/shared_window.py", {"_read", "_write"}
            )
        yield guard
