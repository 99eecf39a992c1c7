"""Bodies of requests; test_images.py holds every field against the wire."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nanogpt_images import Charge, GenerateRequest, OpenAIRequest, ParameterError
from nanogpt_images.types.reference import MAX_BODY_BYTES
from nanogpt_images.wire.requests import PATHS, encode_body


@given(st.text(st.characters(codec="utf-8")))
def test_any_prompt_survives(prompt: str) -> None:
    """A prompt arrives as it was given, whatever is in it."""
    for request in (GenerateRequest(model="m", prompt=prompt), OpenAIRequest(model="m", prompt=prompt)):
        assert json.loads(encode_body(request))["prompt"] == prompt


def test_no_prompt_is_sent_beside_images_alone() -> None:
    """Where there are input images and no prompt, the body has none; without images the service decides on an empty one."""
    for request in (
        GenerateRequest(model="m", input_references=["a"]),
        OpenAIRequest(model="m", image_data_url="a", prompt=" "),
        OpenAIRequest(model="m", extra={"imageDataUrl": "data:"}),
    ):
        assert "prompt" not in json.loads(encode_body(request, ["data:"] if request.references else []))
    assert json.loads(encode_body(GenerateRequest(model="m"))) == {"model": "m", "prompt": ""}


def test_half_a_character_is_replaced() -> None:
    """A lone surrogate, which no UTF-8 can carry, does not keep a prompt from being sent."""
    assert json.loads(encode_body(GenerateRequest(model="m", prompt="fox \ud83e!"))) == {
        "model": "m",
        "prompt": "fox ?!",
    }


def test_the_body_is_compact() -> None:
    """No white space and no escapes for plain text: bodies have a limit of bytes."""
    assert encode_body(GenerateRequest(model="m", prompt="ünï")) == '{"model":"m","prompt":"ünï"}'.encode()


@pytest.mark.parametrize("images", [0, 2])
def test_the_whole_body_has_a_limit(images: int) -> None:
    """Prompt and input images together may fill what the service takes, and not a byte more."""
    urls = ["data:image/png;base64," + "A" * 2_000_000] * images
    left = MAX_BODY_BYTES - len(encode_body(GenerateRequest(model="m", prompt=""), urls))
    assert len(encode_body(GenerateRequest(model="m", prompt="p" * left), urls)) == MAX_BODY_BYTES
    with pytest.raises(ParameterError, match=r"4,400,001 bytes; the service takes 4,400,000") as caught:
        encode_body(GenerateRequest(model="m", prompt="p" * (left + 1)), urls)
    assert caught.value.charge is Charge.NOT_SENT
    assert caught.value.parameter == ("input_references" if images else "prompt")


@pytest.mark.parametrize("value", [object(), float("nan"), {("a",): 1}, b"bytes"])
def test_what_json_cannot_say_is_refused(value: object) -> None:
    """A field of `extra` that is no JSON value stops the request before it is sent."""
    with pytest.raises(ParameterError, match="cannot be written as JSON") as caught:
        encode_body(GenerateRequest(model="m", prompt="p", extra={"field": value}))
    assert caught.value.charge is Charge.NOT_SENT


def test_arguments_go_before_extra_fields() -> None:
    """A field of `extra` is sent where the call leaves it open, and loses to what was checked."""
    request = GenerateRequest(model="m", prompt="p", n=2, extra={"n": 9, "seed": 4, "nImages": None})
    assert json.loads(encode_body(request)) == {
        "model": "m",
        "prompt": "p",
        "n": 2,
        "seed": 4,
        "nImages": None,
    }


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        (None, ()),
        ("a.png", ("a.png",)),
        (b"bytes", (b"bytes",)),
        (["a.png", b"b"], ("a.png", b"b")),
        (("a.png",), ("a.png",)),
        ([], ()),
    ],
)
def test_one_reference_need_not_be_a_list(given: object, kept: tuple) -> None:
    """A single image is as good as a list of one, on both routes."""
    assert GenerateRequest(model="m", prompt="p", input_references=given).references == kept
    assert OpenAIRequest(prompt="p", image_data_urls=given).references == kept


ONE, TWO = "data:image/png;base64,AAAA", "data:image/png;base64,BBBB"


@pytest.mark.parametrize(
    ("given", "references", "sent"),
    [
        ({"image_data_url": "a"}, [ONE], {"imageDataUrl": ONE}),
        ({"image_data_urls": ["a"]}, [ONE], {"imageDataUrl": ONE}),
        ({"image_data_urls": ["a", "b"]}, [ONE, TWO], {"imageDataUrls": [ONE, TWO]}),
        (
            {"image_data_url": "a", "image_data_urls": ["b"]},
            [ONE, TWO],
            {"imageDataUrl": ONE, "imageDataUrls": [TWO]},
        ),
        ({"extra": {"imageDataUrl": TWO}}, [], {"imageDataUrl": TWO}),
        (
            {"image_data_url": "a", "extra": {"imageDataUrls": [TWO]}},
            [ONE],
            {"imageDataUrl": ONE, "imageDataUrls": [TWO]},
        ),
        ({"image_data_url": "a", "extra": {"imageDataUrl": None}}, [ONE], {"imageDataUrl": ONE}),
        ({"image_data_urls": ["a"], "extra": {"imageDataUrl": TWO}}, [ONE], None),
        ({"image_data_urls": ["a", "b"], "extra": {"imageDataUrls": [TWO]}}, [ONE, TWO], None),
    ],
)
def test_no_input_image_is_dropped(given: dict, references: list[str], sent: dict | None) -> None:
    """One image is `imageDataUrl`, several are `imageDataUrls`; whatever was given is sent, or the request is refused."""
    request = OpenAIRequest(prompt="p", model="m", **given)
    if sent is None:
        with pytest.raises(ParameterError, match=r"stands in extra.*Nothing was sent"):
            encode_body(request, references)
        return
    assert json.loads(encode_body(request, references)) == {"model": "m", "prompt": "p", **sent}


@pytest.mark.parametrize("field", ["maskDataUrl", "input_references"])
def test_an_image_in_extra_is_not_replaced(field: str) -> None:
    """A mask or references in `extra` beside those of the call are refused, not dropped."""
    kind = OpenAIRequest if field == "maskDataUrl" else GenerateRequest
    with pytest.raises(ParameterError, match=field):
        encode_body(kind(model="m", prompt="p", extra={field: [TWO]}), [ONE], mask=ONE)


def test_every_route_has_a_path() -> None:
    """Both routes lead to their documented paths."""
    assert PATHS[GenerateRequest(model="m", prompt="p").route] == "/api/v1/images"
    assert PATHS[OpenAIRequest(prompt="p").route] == "/v1/images/generations"


def test_references_are_in_no_repr() -> None:
    """Images, which can be large or private, are left out of a request's repr."""
    request = GenerateRequest(model="m", prompt="p", input_references=[b"secret"])
    assert "secret" not in repr(request) + repr(OpenAIRequest(prompt="p", mask_data_url="secret"))
