"""Completion in the shell, as the documentation says to turn it on."""

from __future__ import annotations

import pytest

from .conftest import Run


@pytest.mark.parametrize(("typed", "offered"), [("ba", "batch"), ("generate --mo", "--model")])
def test_verbs_and_options_are_completed(spawn: Run, typed: str, offered: str) -> None:
    """What is typed so far is completed."""
    words = f"nanogpt-images {typed}"
    done = spawn(
        COMP_WORDS=words, COMP_CWORD=str(len(words.split()) - 1), _NANOGPT_IMAGES_COMPLETE="bash_complete"
    )
    assert f"plain,{offered}" in done.out.splitlines()
