"""Requests checked against the catalogue before anything is sent."""

from __future__ import annotations

import attrs
import pytest

from nanogpt_images import (
    BooleanSpec,
    CountRule,
    EnumSpec,
    GenerateRequest,
    Model,
    OpenAIRequest,
    ParameterError,
    PromptLimit,
    RangeSpec,
    ReferenceLimits,
    UnknownSpec,
)
from nanogpt_images.resources.checks import checked, find_problems, find_warnings

MODEL = Model(
    id="m",
    parameters={
        "n": RangeSpec(2, 4),
        "resolution": EnumSpec(("1024x1024", "1024*768", "2k", "auto")),
        "aspect_ratio": EnumSpec(("1:1", "16:9")),
        "quality": EnumSpec(("low", "high")),
        "output_format": EnumSpec(("png",)),
        "rendering_speed": EnumSpec(("TURBO",)),
        "steps": RangeSpec(1, 50),
        "scale": RangeSpec(None, 2.5),
        "enhance": BooleanSpec(),
        "palette": UnknownSpec({"type": "colour-wheel"}),
    },
    count_rule=CountRule(2, 4),
    input_modalities=("text", "image"),
    references=ReferenceLimits(max_items=2),
    prompt_limit=PromptLimit(max_characters=5, trim_whitespace=True),
)
FIXED = Model(id="grid", count_rule=CountRule(fixed=4))
BARE = Model(id="bare")
TEXT_ONLY = Model(id="text-only", input_modalities=("text",))
NO_REFERENCES = Model(id="none", references=ReferenceLimits(max_items=0))
IMAGE = "data:image/png;base64,AAAA"
WHITE = "https://example.org/white.png"


def images(**fields: object) -> GenerateRequest:
    return GenerateRequest(**{"model": "m", "prompt": "fox", **fields})


def openai(**fields: object) -> OpenAIRequest:
    return OpenAIRequest(**{"model": "m", "prompt": "fox", **fields})


ACCEPTED = [
    (images(), MODEL),
    (images(n=2, resolution="2k", aspect_ratio="16:9", quality="low", output_format="png"), MODEL),
    (images(n=4, resolution="1024*1024"), MODEL),
    (images(prompt="  12345 \n"), MODEL),
    (images(prompt="", input_references=[IMAGE]), MODEL),
    (
        images(extra={"rendering_speed": "TURBO", "steps": 50, "scale": -7, "enhance": "yes", "palette": 3}),
        MODEL,
    ),
    (images(extra={"nImages": 3, "not_listed": object()}), MODEL),
    (images(n=2, extra={"n": 9}), MODEL),
    (images(n=9, quality="any", resolution="any", seed=-5), BARE),
    (images(input_references=[IMAGE] * 30), BARE),
    (images(input_references=[IMAGE], extra={"maskDataUrl": IMAGE}), MODEL),  # the service's decision
    (
        openai(size="auto", strength=0, guidance_scale=20, num_inference_steps=100, response_format="url"),
        MODEL,
    ),
    (openai(image_data_urls=[IMAGE, IMAGE], mask_data_url=WHITE), MODEL),
    (openai(), FIXED),
    (openai(n=4), FIXED),
    (images(extra={"nImages": 4}), FIXED),
    (openai(prompt="", image_data_url=IMAGE), BARE),
    (images(prompt="", extra={"imageDataUrl": IMAGE}), BARE),
]

REFUSED = [
    # request, model, parameter, part of the text
    (images(prompt=" \n"), BARE, "prompt", "the prompt is empty"),
    (images(prompt="1234\U0001f98a"), MODEL, "prompt", "6 UTF-16 code units; m takes at most 5"),
    (images(n=1), MODEL, "n", "n=1 is outside what m makes per request (2 to 4)"),
    (images(n=5), MODEL, "n", "a batch splits larger counts"),
    (images(n=3), FIXED, "n", "grid always makes 4 images per request; leave n out"),
    (images(extra={"nImages": 1}), FIXED, "n", "grid always makes 4 images per request"),
    (images(extra={"resoluton": "2k"}), MODEL, "resoluton", "did you mean 'resolution'?"),
    (images(extra={"aspectRatio": "1:1"}), BARE, "aspectRatio", "did you mean 'aspect_ratio'?"),
    (images(extra={"rendering_sped": "TURBO"}), MODEL, "rendering_sped", "did you mean 'rendering_speed'?"),
    (openai(extra={"n_images": 2}), BARE, "n_images", "did you mean 'nImages'?"),
    (openai(extra={"imageDataURL": IMAGE}), BARE, "imageDataURL", "did you mean 'imageDataUrl'?"),
    (openai(prompt=""), BARE, "prompt", "the prompt is empty, and there are no input images"),
    (images(n=0), BARE, "n", "at least 1, not 0"),
    (images(n="2"), MODEL, "n", "not '2'"),
    (images(n=True), BARE, "n", "not True"),
    (images(n=2.0), MODEL, "n", "not 2.0"),
    (images(n=2, extra={"nImages": 9}), MODEL, "n", "n=9 is outside"),
    (images(extra={"n": 9}), MODEL, "n", "n=9 is outside"),
    (images(resolution="999x999"), MODEL, "resolution", "offers 1024x1024, 1024*768, 2k, auto."),
    (openai(size="999x999"), MODEL, "size", "size '999x999' is not offered by m"),
    (images(aspect_ratio="2:1"), MODEL, "aspect_ratio", "it offers 1:1, 16:9."),
    (images(quality="best"), MODEL, "quality", "it offers low, high."),
    (images(output_format="gif"), MODEL, "output_format", "it offers png."),
    (images(extra={"steps": 51}), MODEL, "steps", "it offers 1 to 50."),
    (images(extra={"steps": True}), MODEL, "steps", "it offers 1 to 50."),
    (images(extra={"scale": 3}), MODEL, "scale", "it offers no least value to 2.5."),
    (images(extra={"rendering_speed": "SLOW"}), MODEL, "rendering_speed", "it offers TURBO."),
    (images(input_references=[IMAGE] * 3), MODEL, "input_references", "3 input images are too many for m"),
    (images(input_references=[IMAGE]), TEXT_ONLY, "input_references", "text-only takes no input images"),
    (images(input_references=[IMAGE]), NO_REFERENCES, "input_references", "none takes no input images"),
    (
        images(input_references=[IMAGE], extra={"imageDataUrl": IMAGE, "images": []}),
        MODEL,
        "input_references",
        "input_references and imageDataUrl, images cannot both be sent",
    ),
    (openai(image_data_url=IMAGE), TEXT_ONLY, "image_data_url", "takes no input images"),
    (
        openai(image_data_url=IMAGE, image_data_urls=[IMAGE]),
        MODEL,
        "image_data_url",
        "image_data_url and image_data_urls cannot both be sent",
    ),
    (images(extra={"stream": True}), MODEL, "stream", "stream is not supported"),
    (openai(strength=1.5), MODEL, "strength", "strength=1.5 is not from 0 to 1."),
    (openai(guidance_scale=-1), MODEL, "guidance_scale", "0 to 20"),
    (openai(num_inference_steps=0), MODEL, "num_inference_steps", "1 to 100"),
    (openai(response_format="png"), MODEL, "response_format", "neither 'b64_json' nor 'url'"),
]


@pytest.mark.parametrize(("request_", "model"), ACCEPTED)
def test_what_the_model_accepts_passes(request_: GenerateRequest, model: Model) -> None:
    """A request within the listed limits, or about things that no listing names, is let through."""
    assert list(find_problems(request_, model)) == []


@pytest.mark.parametrize(("request_", "model", "parameter", "text"), REFUSED)
def test_what_the_model_refuses_is_named(
    request_: GenerateRequest, model: Model, parameter: str, text: str
) -> None:
    """One error names the model, the parameter, what is offered, and that nothing was sent."""
    (problem,) = find_problems(request_, model)
    assert (problem.model, problem.parameter) == (model.id, parameter)
    assert text in str(problem)
    assert str(problem).endswith("Nothing was sent.")
    with pytest.raises(ParameterError):
        checked(request_, model)


@pytest.mark.parametrize(
    "given", [{"n": 4}, {"extra": {"nImages": 4}}, {"n": 4, "extra": {"n": 9, "nImages": 4, "a": 1}}]
)
def test_a_count_that_is_fixed_is_not_sent(given: dict) -> None:
    """An `n` that says what a model does anyway is accepted and left out, however it was given."""
    for make in (images, openai):
        sent = checked(make(**given), FIXED)
        assert (sent.n, sent.extra.keys() & {"n", "nImages"}) == (None, set())
    assert sent.extra.keys() == given.get("extra", {}).keys() - {"n", "nImages"}


WRONG_TYPES = [
    ("prompt", None),
    ("prompt", ["a fox", "an owl"]),
    ("prompt", b"fox"),
    ("model", None),
    ("model", 3),
    ("resolution", ["1k"]),
    ("seed", "abc"),
    ("seed", "42"),
    ("seed", 1.5),
    ("seed", True),
    ("num_inference_steps", 1.5),
    ("num_inference_steps", "30"),
    ("strength", "high"),
    ("guidance_scale", [7]),
    ("kontext_max_mode", "yes"),
    ("user", 7),
    ("extra", ["a"]),
]


@pytest.mark.parametrize(("name", "value"), WRONG_TYPES)
def test_a_value_of_the_wrong_kind_is_refused(name: str, value: object) -> None:
    """A request cannot be made of what its annotations exclude; the error names the field and what it takes."""
    for make in (images, openai):
        if name not in {field.name for field in attrs.fields(type(make()))}:
            continue
        with pytest.raises(ParameterError, match=rf"{name} must be .*, not .*Nothing was sent") as caught:
            make(**{name: value})
        assert caught.value.parameter == name


class Five:
    def __index__(self) -> int:
        return 5


@pytest.mark.parametrize("seed", [5, 5.0, Five()])
def test_a_whole_number_is_an_int(seed: int) -> None:
    """5.0 and integers of other types, such as numpy's, go over the wire as 5."""
    assert type(images(seed=seed).seed) is int
    assert images(seed=seed).seed == openai(num_inference_steps=seed).num_inference_steps == 5


def test_what_is_not_listed_is_a_warning() -> None:
    """A parameter that the model does not list passes with a warning; listed and documented ones pass without."""
    request = images(
        seed=1,
        quality="high",
        aspect_ratio="1:1",
        output_format="png",
        extra={"style": 1, "n": 2, "image_url": IMAGE},
    )
    model = Model(id="m", parameters={"resolution": EnumSpec(("1k",)), "quality": EnumSpec(("high",))})
    assert list(find_problems(request, model)) == []
    names = [
        text.removeprefix("m does not list ").partition(";")[0] for text in find_warnings(request, model)
    ]
    assert names == ["seed", "aspect_ratio", "output_format", "style"]
    assert list(find_warnings(request, BARE)) == []  # a listing without parameters says nothing of any
    other = openai(size="1k", seed=1, strength=0.5, user="u", kontext_max_mode=True, extra={"style": None})
    assert len(list(find_warnings(other, model))) == 1
    assert "does not list size" in next(
        find_warnings(other, attrs.evolve(model, parameters={"n": RangeSpec(1, 4)}))
    )


def test_every_fault_is_found() -> None:
    """One request with several faults yields an error for each."""
    request = images(prompt="too long", n=9, quality="best", resolution="1x1")
    assert [problem.parameter for problem in find_problems(request, MODEL)] == [
        "prompt",
        "n",
        "resolution",
        "quality",
    ]


@pytest.mark.parametrize(
    ("given", "sent"),
    [("1024*1024", "1024x1024"), ("1024X768", "1024*768"), ("2K", "2k"), ("auto", "auto"), (None, None)],
)
def test_a_resolution_is_sent_as_listed(given: str | None, sent: str | None) -> None:
    """Another spelling of a listed resolution is replaced by the listed one, on both routes."""
    assert checked(images(resolution=given), MODEL).resolution == sent
    assert checked(openai(size=given), MODEL).size == sent


def test_an_unchanged_request_is_the_same_object() -> None:
    """Checking makes no copy where nothing changes."""
    request = images(resolution="2k")
    assert checked(request, MODEL) is request


def test_a_long_offer_is_cut() -> None:
    """A model with many resolutions names some of them and counts the rest."""
    model = Model(id="m", parameters={"resolution": EnumSpec(tuple(f"{i}x{i}" for i in range(20)))})
    (problem,) = find_problems(images(resolution="no"), model)
    assert "0x0, 1x1" in str(problem)
    assert "11x11 and 8 more." in str(problem)
