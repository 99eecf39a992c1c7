"""
The pytest plugin: fixtures for a sandbox, its clients and recorded exchanges.

pytest imports this module at every start, so it imports only pytest; each fixture imports its own modules.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Final, cast

import pytest

if TYPE_CHECKING:
    from ..client import AsyncClient
    from ..sandbox import BlockingSandbox, Fault
    from ..sandbox.settings import SandboxKeywords
    from ..sync.client import Client
    from .recording import RecordingTransport, ReplayTransport

_KEY_VARIABLE: Final = "NANOGPT_API_KEY"
_MARKERS: Final = (
    "nanogpt_faults(*faults, **conditions): faults for nanogpt_sandbox: kinds with the conditions of Fault, or Faults",
    "nanogpt_sandbox(**options): options for nanogpt_sandbox, such as latency_s=0.1",
    "nanogpt_cassette(file): the cassette file, relative to the test's directory",
)


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add `--nanogpt-record`."""
    parser.getgroup("nanogpt_images").addoption(
        "--nanogpt-record",
        action="store_true",
        help=f"record the cassettes of nanogpt_cassette from the real service; uses {_KEY_VARIABLE} and costs money",
    )


def pytest_configure(config: pytest.Config) -> None:
    """Register the markers."""
    for marker in _MARKERS:
        config.addinivalue_line("markers", marker)


@pytest.fixture
def nanogpt_sandbox(
    request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> Iterator[BlockingSandbox]:
    """
    Run a sandbox for this test, in a thread.

    `NANOGPT_API_KEY` and `NANOGPT_BASE_URL` point to it, so that clients made by the application use it too.
    """
    import importlib.util

    from .._base.display import install_hint

    if importlib.util.find_spec("PIL") is None:
        pytest.fail(f"the sandbox needs Pillow: {install_hint('sandbox')}", pytrace=False)
    from ..sandbox import Sandbox

    marker = request.node.get_closest_marker("nanogpt_sandbox")
    options: SandboxKeywords = {"requests_per_second": None, "faults": _faults(request.node)}
    if marker is not None:
        options.update(cast("SandboxKeywords", marker.kwargs))
    with Sandbox.in_thread(**options) as sandbox:
        monkeypatch.setenv(_KEY_VARIABLE, sandbox.api_key)
        monkeypatch.setenv("NANOGPT_BASE_URL", sandbox.url)
        yield sandbox


@pytest.fixture
def nanogpt_client(nanogpt_sandbox: BlockingSandbox) -> AsyncClient:
    """
    Return an async client of `nanogpt_sandbox`, for tests under any async plugin.

    The client opens a connection for each request and keeps none, so it works in any event loop and need not be
    closed.
    """
    from ..client import AsyncClient
    from ..transport.retry import RetryPolicy
    from .unpooled import UnpooledTransport

    return AsyncClient(
        nanogpt_sandbox.api_key,
        nanogpt_sandbox.url,
        requests_per_second=None,
        retry=RetryPolicy(initial_delay_s=0),
        transport=UnpooledTransport(),
    )


@pytest.fixture
def nanogpt_blocking_client(nanogpt_sandbox: BlockingSandbox) -> Iterator[Client]:
    """Open a blocking client of `nanogpt_sandbox`."""
    from ..sync.client import Client
    from ..transport.retry import RetryPolicy

    with Client(
        nanogpt_sandbox.api_key,
        nanogpt_sandbox.url,
        requests_per_second=None,
        retry=RetryPolicy(initial_delay_s=0),
    ) as client:
        yield client


@pytest.fixture
def nanogpt_cassette(
    request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> Iterator[RecordingTransport | ReplayTransport]:
    """
    Replay this test's cassette, or record it with `--nanogpt-record`.

    The file is `cassettes/<module>.<test>.json` beside the test, unless the marker `nanogpt_cassette` names another
    one.
    """
    from .recording import RecordingTransport, ReplayTransport

    path = _cassette_path(request)
    if request.config.getoption("--nanogpt-record"):
        if not os.environ.get(_KEY_VARIABLE):
            pytest.fail(f"recording uses the real service: set {_KEY_VARIABLE}", pytrace=False)
        recording = RecordingTransport(path)
        yield recording
        recording.save()
        return
    if not path.is_file():
        pytest.fail(
            f"cassette {path} does not exist. Record it with {_KEY_VARIABLE} set, which costs money: "
            f"pytest --nanogpt-record '{request.node.nodeid}'",
            pytrace=False,
        )
    # A client without a key refuses to generate.
    monkeypatch.setenv(_KEY_VARIABLE, "sk-nano-cassette")
    yield ReplayTransport(path)


def _faults(node: pytest.Item) -> list[Fault]:
    """Collect the faults of the test's markers, the nearest first: the first rule that matches wins."""
    from ..sandbox import Fault

    return [
        Fault(fault, **marker.kwargs) if isinstance(fault, str) else fault
        for marker in node.iter_markers("nanogpt_faults")
        for fault in marker.args
    ]


def _cassette_path(request: pytest.FixtureRequest) -> Path:
    marker = request.node.get_closest_marker("nanogpt_cassette")
    name = f"{request.path.stem}.{request.node.name}"
    file = marker.args[0] if marker else f"cassettes/{re.sub(r'[^A-Za-z0-9_.-]+', '-', name).strip('-')}.json"
    return request.path.parent / file
