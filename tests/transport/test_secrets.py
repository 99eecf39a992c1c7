"""Reprs and errors without the key."""

from __future__ import annotations

import json
import string

import pytest
from exposure import SPELLINGS, reveals
from hypothesis import given
from hypothesis import strategies as st
from multidict import CIMultiDict

from nanogpt_images.transport.secrets import Redactor, Secret

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


KEYS = st.one_of(
    st.just("sk-nano-12345678-9abc-4def-8123-456789abcdef"),
    st.text(st.sampled_from(string.ascii_letters + string.digits + "-._~+/="), min_size=12, max_size=80),
)


@given(
    key=KEYS, spelling=st.sampled_from([*SPELLINGS]), before=st.text(max_size=9), after=st.text(max_size=9)
)
def test_no_spelling_gets_through(key: str, spelling: str, before: str, after: str) -> None:
    """In a text, in a JSON body and in what is decoded of it, as a value and as a name."""
    written = SPELLINGS[spelling](key)
    redact = Redactor(key)
    assert not reveals(redact.text(f"{before} {written} {after}"), key)
    assert not reveals(redact.excerpt(f"{before} {written} {after}"), key)
    body = b'{"a": ["%b", {"%b": 1}], "b": 2}' % (written.encode(), written.encode())
    clean = redact.body(body)
    assert not reveals(clean.decode(), key)
    document = json.loads(clean)
    assert document["b"] == 2
    assert not reveals(repr(document), key)


@given(spelling=st.sampled_from([*SPELLINGS]), share=st.floats(0.1, 1))
def test_what_is_left_of_a_cut_key_is_no_key(spelling: str, share: float) -> None:
    """An excerpt that ends within the key shows no more than the first characters, which all keys share."""
    key = "sk-nano-12345678-9abc-4def-8123-456789abcdef"
    written = SPELLINGS[spelling](key)
    cut = Redactor(key).excerpt(f"a {written[: int(len(written) * share)]}")
    assert not reveals(cut, key[:12])


@given(st.text(), KEYS)
def test_what_holds_no_key_stays_as_it_is(text: str, key: str) -> None:
    """Nothing but the key is replaced, and a body is handed on byte for byte."""
    if not reveals(text, key):
        assert Redactor(key).text(text) == text
        assert Redactor(key).body(text.encode("utf-8", "replace")) == text.encode("utf-8", "replace")


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "utf-32", "utf-16-le"])
def test_a_body_in_another_encoding_of_json(encoding: str) -> None:
    """What `json.loads` would decode is searched as it decodes it."""
    clean = Redactor(KEY).body(f'{{"k":"{KEY}"}}'.encode(encoding))
    assert json.loads(clean) == {"k": "[redacted]"}


def test_what_an_error_holds_is_cleaned_at_any_depth() -> None:
    """Bytes, lists and mappings among its attributes, its context, and a beginning of the secret that was cut."""
    whole = f"{KEY}-and-more"
    error = RuntimeError(f"cut {KEY}", [whole.encode()])
    error.details = {"a": {whole: (whole, 1)}}  # type: ignore[attr-defined]
    error.__context__ = ValueError(whole * 2)
    Redactor(whole).error(error)
    assert KEY not in repr((error.args, vars(error), error.__context__))
