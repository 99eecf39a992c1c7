"""What all tests share: the event loop's back end, and a guard against blocking calls on it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from blockbuster import BlockBuster, blockbuster_ctx


@pytest.fixture(scope="session")
def anyio_backend() -> str:
    """aiohttp runs on asyncio alone."""
    return "asyncio"


@pytest.fixture(autouse=True)
def no_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """A developer's own key or base URL never reaches a test."""
    for name in ("NANOGPT_API_KEY", "NANOGPT_BASE_URL"):
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
        ):
            if name in guard.functions:
                guard.functions[name].can_block_in(
                    "nanogpt_images/outputs.py",
                    {"write", "__init__", "close", "remove", "_claim", "_publish"},
                )
        yield guard
