"""JSON that breaks off anywhere still tells what had come before."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nanogpt_images.wire.beginning import beginning

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)


def is_beginning(part: object, whole: object) -> bool:
    """Whether *part* is *whole*, or lacks something at its end."""
    if isinstance(part, dict) and isinstance(whole, dict):
        return (
            all(is_beginning(part[name], whole[name]) for name in part)
            and list(part) == list(whole)[: len(part)]
        )
    if isinstance(part, list) and isinstance(whole, list):
        return len(part) <= len(whole) and all(map(is_beginning, part, whole))
    return part == whole


@given(st.dictionaries(st.text(), JSON, max_size=4), st.data(), st.booleans())
def test_wherever_it_breaks_off(document: dict[str, object], data: st.DataObject, ascii_only: bool) -> None:
    """What is read is JSON, and says nothing that the whole does not say."""
    text = json.dumps(document, ensure_ascii=ascii_only).encode("utf-8", "surrogatepass")
    cut = data.draw(st.integers(0, len(text)))
    found = json.loads(beginning(text[:cut]).decode("utf-8", "surrogatepass"))
    assert is_beginning(found, document)


@given(st.dictionaries(st.text(), JSON, max_size=4))
def test_what_is_whole_stays_as_it_is(document: dict[str, object]) -> None:
    """A document that does not break off is not changed by a byte."""
    text = json.dumps(document).encode()
    assert beginning(text) == text


@pytest.mark.parametrize(
    ("text", "found"),
    [
        (b'{"data":[{"url":"a"},{"url":"b"', {"data": [{"url": "a"}]}),
        (b'{"data":[{"url":"a"},{"url":"b"}', {"data": [{"url": "a"}, {"url": "b"}]}),
        (b'{"data":[{"url":"a"},{"url":"b"}],"cost":0.5', {"data": [{"url": "a"}, {"url": "b"}]}),
        (
            b'{"data":[{"url":"a"},{"url":"b"}],"cost":0.5,',
            {"data": [{"url": "a"}, {"url": "b"}], "cost": 0.5},
        ),
        (b'{"data":[{"url":"a\\', {}),
        (b'{"data":[', {}),
        (b"", {}),
        (b"<html>", {}),
        (b'{"a":1}]}}', {"a": 1}),
        (b'{"text":"' + b"x" * 2**19, {}),
        (b'{"a":"' + b"x" * 2**19 + b'","b":', {"a": "x" * 2**19}),
        (b'{"a":[1,{"b":[2],"c":{"d":[', {"a": [1, {"b": [2]}]}),
    ],
)
def test_members_that_are_whole_are_read(text: bytes, found: object) -> None:
    """An entry counts once it is closed; a number that may go on does not."""
    assert json.loads(beginning(text)) == found


def test_what_follows_very_many_members_counts_as_broken_off() -> None:
    """However long the text is, what is read of it is JSON, and its work is bounded."""
    text = b'{"data":[{"url":"a"}],"n":[' + b"0," * 2**20 + b"0"
    found = json.loads(beginning(text))
    assert found["data"] == [{"url": "a"}]
    assert 2**17 < len(found["n"]) < 2**20
