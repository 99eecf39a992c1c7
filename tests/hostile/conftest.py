"""A sandbox in a thread of its own, so that what this loop and this thread hold is the client's alone."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from nanogpt_images.sandbox import BlockingSandbox, Sandbox


@pytest.fixture(scope="session")
def service() -> Iterator[BlockingSandbox]:
    """One sandbox for all; each test empties its books and sets its faults."""
    with Sandbox.in_thread(requests_per_second=None) as sandbox:
        yield sandbox
