"""What people are told to install."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest

from nanogpt_images._base.display import install_hint

ROOT = Path(__file__).parent.parent.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
EXTRAS = {name: needed for name, needed in PROJECT["optional-dependencies"].items() if name != "all"}


@pytest.mark.parametrize("extra", EXTRAS)
def test_the_hint_names_the_packages_of_the_extra(extra: str) -> None:
    """The command needs no index that has this package: it names what the extra would bring, as pyproject.toml has it."""
    needed = " ".join(f'"{name}"' for name in EXTRAS[extra])
    assert install_hint(extra) == f"pip install {needed} (extra '{extra}')"


def test_every_extra_that_the_code_names_exists() -> None:
    """No message leads to an extra that is not there, and none names this package on an index."""
    named = set[str]()
    for path in (ROOT / "nanogpt_images").rglob("*.py"):
        text = path.read_text("utf-8")
        assert "install 'nanogpt_images[" not in text, path
        named |= set(re.findall(r"install_hint\('([\w-]+)'\)", text))
    assert named <= EXTRAS.keys()
    assert len(named) >= 8
