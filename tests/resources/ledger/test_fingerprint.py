"""What makes two calls the same."""

from __future__ import annotations

import contextlib

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nanogpt_images import AUTO, GenerateRequest, OpenAIRequest, ParameterError
from nanogpt_images.resources.ledger.fingerprint import (
    MAX_KEY_BYTES,
    checked_key,
    checked_sample,
    differences,
    fingerprint,
)

IMAGES = GenerateRequest(model="m", prompt="p")
OPENAI = OpenAIRequest(model="m", prompt="p")
CHANGES = [
    (IMAGES, {"model": "other"}),
    (IMAGES, {"prompt": "other"}),
    (IMAGES, {"n": 2}),
    *[(IMAGES, {name: "x"}) for name in ("resolution", "aspect_ratio", "quality", "output_format")],
    (IMAGES, {"seed": 0}),
    (IMAGES, {"extra": {"rendering_speed": "fast"}}),
    *[(OPENAI, {name: "x"}) for name in ("size", "user")],
    (OPENAI, {"response_format": "url"}),
    *[(OPENAI, {name: 1}) for name in ("strength", "guidance_scale", "num_inference_steps", "seed")],
    (OPENAI, {"kontext_max_mode": False}),
]


@pytest.mark.parametrize(("request_", "change"), CHANGES)
def test_every_parameter_tells_requests_apart(
    request_: GenerateRequest | OpenAIRequest, change: dict[str, object]
) -> None:
    """A request that differs in any parameter has another digest, and the difference is named."""
    before = fingerprint(request_, service="s")
    now = fingerprint(attrs.evolve(request_, **change), service="s")
    assert before.content != now.content
    (told,) = differences(before.request, now.request)
    assert told.startswith(next(iter(change)))


def test_route_service_and_images_tell_requests_apart() -> None:
    """So do the route, the service, and the bytes and number of input images."""
    contents = {
        fingerprint(IMAGES, service="s").content,
        fingerprint(OPENAI, service="s").content,
        fingerprint(IMAGES, service="t").content,
        fingerprint(IMAGES, service="s", references=["data:a"]).content,
        fingerprint(IMAGES, service="s", references=["data:b"]).content,
        fingerprint(IMAGES, service="s", references=["data:a", "data:b"]).content,
        fingerprint(IMAGES, service="s", references=["data:b", "data:a"]).content,
        fingerprint(IMAGES, service="s", references=["data:a"], mask="data:b").content,
    }
    assert len(contents) == 8


def test_what_means_the_same_is_the_same() -> None:
    """No count is one image, and the order of extra fields says nothing."""
    one = attrs.evolve(IMAGES, n=1, extra={"a": 1, "b": [2]})
    other = attrs.evolve(IMAGES, extra={"b": [2], "a": 1})
    assert fingerprint(one, service="s").content == fingerprint(other, service="s").content


@given(st.text(min_size=1, max_size=40).filter(str.strip))
def test_texts_are_keys_or_named_faults(key: str) -> None:
    """A text is a key as it stands, or is refused with an error of this package."""
    with contextlib.suppress(ParameterError):
        assert checked_key(key) == key


@pytest.mark.parametrize(
    "key", ["", "  ", "x" * 10_000, "é" * MAX_KEY_BYTES, 7, b"k", None, "\ud800", "a\0b"]
)
def test_what_cannot_be_a_key(key: object) -> None:
    """Empty, long, broken and other than text."""
    with pytest.raises(ParameterError, match=r"key .*Nothing was sent"):
        checked_key(key)  # type: ignore[arg-type]


def test_auto_is_a_key() -> None:
    assert checked_key(AUTO) is AUTO
    assert repr(AUTO) == "AUTO"


@pytest.mark.parametrize("sample", [-1, 1.5, "1", True])
def test_what_cannot_be_a_sample(sample: object) -> None:
    with pytest.raises(ParameterError, match="sample must be"):
        checked_sample(sample)  # type: ignore[arg-type]


def test_digests_of_earlier_versions_stay() -> None:
    """A ledger is kept for years: what it holds is found again."""
    request = GenerateRequest(
        model="m", prompt="ein Füchslein", n=2, seed=7, extra={"z": [1, {"b": 1.5, "a": None}]}
    )
    print_ = fingerprint(request, service="https://nano-gpt.com", references=["data:x"], mask="m", sample=3)
    assert print_.content == "829a4e8e6833b951944270bcb0871c15579d186cfce8ebac05b3fd2e02c8ea9d"
