"""The tests of docs/testing.md pass as they stand."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

pytest_plugins = ["pytester"]

PAGE = Path(__file__).parents[2] / "docs" / "testing.md"


def test_the_examples_pass(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> None:
    """A project with the first example of the page, and a conftest that chooses asyncio, passes."""
    monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")
    example = re.findall(
        r"^```python\n(.*?)^```", PAGE.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL
    )[0]
    pytester.makepyfile(example)
    pytester.makeconftest("import pytest\n@pytest.fixture\ndef anyio_backend():\n    return 'asyncio'\n")
    plugins = ("-p", "nanogpt_images.testing.plugin", "-p", "anyio.pytest_plugin")
    pytester.runpytest_subprocess(*plugins, "-W", "error").assert_outcomes(passed=3)
