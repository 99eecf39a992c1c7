"""Reprs and errors without the key."""

from __future__ import annotations

import pytest
from multidict import CIMultiDict

from nanogpt_images._secrets import Redactor, Secret

KEY = "opensesame-7"


def test_a_secret_is_shown_by_no_repr() -> None:
    """Whatever holds a secret shows a mark in its repr, and the text itself is as good as any other."""
    secret = Secret(KEY)
    assert KEY not in f"{[secret]!r}{CIMultiDict(a=secret)!r}"
    assert (secret, f"Bearer {secret}") == (KEY, f"Bearer {KEY}")


def test_an_error_is_cleaned_with_its_causes() -> None:
    """Arguments and attributes of an error and of its causes, be they a circle, lose the secret; all else stays."""
    cause = ValueError(f"not JSON: {KEY}", 7)
    cause.doc = f"<{KEY}>"  # type: ignore[attr-defined]
    error = RuntimeError(f"failed with {KEY}")
    error.facts = facts = {"a": 1}  # type: ignore[attr-defined]
    error.__cause__, cause.__cause__ = cause, error
    Redactor(KEY).error(error)
    assert str(error) == "failed with [redacted]"
    assert (cause.args, vars(cause)) == (("not JSON: [redacted]", 7), {"doc": "<[redacted]>"})
    assert error.facts is facts  # type: ignore[attr-defined]


@pytest.mark.parametrize("secret", [None, "", "short"])
def test_what_is_too_short_to_be_a_secret_is_left_alone(secret: str | None) -> None:
    """Without a key, or with a toy one, nothing is replaced."""
    error = ValueError("a short text")
    Redactor(secret).error(error)
    assert str(error) == "a short text"
    assert Redactor(secret).body(b"a short body") == b"a short body"


def test_a_body_is_cleaned() -> None:
    """A body of either kind of bytes comes back without the secret."""
    for body in (b'{"k":"%b"}' % KEY.encode(), bytearray(b'{"k":"%b"}' % KEY.encode())):
        assert Redactor(KEY).body(body) == b'{"k":"[redacted]"}'
