"""Is a request one that the model accepts? Decided from the catalogue, before anything is sent."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Final

import attrs

from .errors import ParameterError
from .models import Model
from .parameters import EnumSpec, RangeSpec
from .prices import normalise_token
from .request import GenerateRequest, ImageRequest, OpenAIRequest, asked_count, stream_refusal

# Source: seeds/images-generate.txt, "Input References".
_LEGACY_IMAGE_FIELDS: Final = frozenset({"imageDataUrl", "imageDataUrls", "image_url", "images"})
# Source: seeds/openai-compatible-generations.txt, the body's bounds.
_OPENAI_RANGES: Final = {
    "strength": RangeSpec(0, 1),
    "guidance_scale": RangeSpec(0, 20),
    "num_inference_steps": RangeSpec(1, 100),
}
_MOST_NAMED: Final = 12


def checked(request: ImageRequest, model: Model) -> ImageRequest:
    """
    *request* as it should be sent to *model*.

    The only change it makes is the spelling of a resolution: `1024x1024` becomes the listed `1024*1024`.

    Raises:
        ParameterError: The model does not accept the request; the text says what it offers.
    """
    for problem in find_problems(request, model):
        raise problem
    token = _listed_spelling(request.resolution, model)
    if token is None or token == request.resolution:
        return request
    if isinstance(request, OpenAIRequest):
        return attrs.evolve(request, size=token)
    return attrs.evolve(request, resolution=token)


def find_problems(request: ImageRequest, model: Model) -> Iterator[ParameterError]:
    """Everything about *request* that *model* does not accept, one error for each fault."""

    def problem(parameter: str, text: str) -> ParameterError:
        return ParameterError(f"{text} Nothing was sent.", model=model.id, parameter=parameter)

    yield from _prompt(request, model, problem)
    yield from _count(request, model, problem)
    yield from _tokens(request, model, problem)
    yield from _references(request, model, problem)
    if (refusal := stream_refusal(request)) is not None:
        yield refusal
    if isinstance(request, OpenAIRequest):
        yield from _openai(request, problem)


_Problem = Callable[[str, str], ParameterError]


def _prompt(request: ImageRequest, model: Model, problem: _Problem) -> Iterator[ParameterError]:
    if not request.prompt.strip() and not request.references:
        yield problem("prompt", "the prompt is empty.")
    limit = model.prompt_limit
    if limit is not None and (length := limit.measure(request.prompt)) > limit.max_characters:
        yield problem(
            "prompt",
            f"the prompt has {length:,} UTF-16 code units; {model.id} takes at most {limit.max_characters:,}.",
        )


def _count(request: ImageRequest, model: Model, problem: _Problem) -> Iterator[ParameterError]:
    # Annotations do not keep a caller from passing "2" or True.
    n = asked_count(request)
    rule = model.count_rule
    if n is None:
        return
    if isinstance(n, bool) or not isinstance(n, int) or n < 1:
        yield problem("n", f"n must be a whole number of at least 1, not {n!r}.")
    elif rule.fixed is not None:
        yield problem("n", f"{model.id} always makes {rule.fixed} images and takes no n; leave n out.")
    elif rule.stated and not rule.minimum <= n <= rule.maximum:
        yield problem(
            "n", f"n={n} is outside what {model.id} makes per request ({rule}); a batch splits larger counts."
        )


def _tokens(request: ImageRequest, model: Model, problem: _Problem) -> Iterator[ParameterError]:
    size_name = "size" if isinstance(request, OpenAIRequest) else "resolution"
    given: dict[str, object] = {"resolution": request.resolution, "seed": request.seed}
    if isinstance(request, GenerateRequest):
        given |= {
            "aspect_ratio": request.aspect_ratio,
            "quality": request.quality,
            "output_format": request.output_format,
        }
    given |= {name: value for name, value in request.extra.items() if name != "n"}
    for name, value in given.items():
        spec = model.parameters.get(name)
        if value is None or spec is None or spec.accepts(value):
            continue
        if name == "resolution" and _listed_spelling(request.resolution, model) is not None:
            continue
        shown = size_name if name == "resolution" else name
        yield problem(shown, f"{shown} {value!r} is not offered by {model.id}; it offers {_offer(spec)}.")


def _references(request: ImageRequest, model: Model, problem: _Problem) -> Iterator[ParameterError]:
    sources = request.references
    name = "input_references" if isinstance(request, GenerateRequest) else "image_data_url"
    legacy = sorted(_LEGACY_IMAGE_FIELDS & request.extra.keys())
    if isinstance(request, GenerateRequest) and sources and legacy:
        yield problem(name, f"input_references and {', '.join(legacy)} cannot both be sent; use one style.")
    if isinstance(request, OpenAIRequest) and request.image_data_url is not None and request.image_data_urls:
        yield problem(name, "image_data_url and image_data_urls cannot both be sent; use one.")
    if not sources:
        return
    most = None if model.references is None else model.references.max_items
    takes_images = not model.input_modalities or "image" in model.input_modalities
    if most == 0 or not takes_images:
        yield problem(name, f"{model.id} takes no input images.")
    elif most is not None and len(sources) > most:
        yield problem(
            name, f"{len(sources)} input images are too many for {model.id}; it takes at most {most}."
        )


def _openai(request: OpenAIRequest, problem: _Problem) -> Iterator[ParameterError]:
    for name, spec in _OPENAI_RANGES.items():
        value: object = getattr(request, name)
        if value is not None and not spec.accepts(value):
            yield problem(name, f"{name}={value!r} is not from {_offer(spec)}.")
    if request.response_format not in (None, "b64_json", "url"):
        yield problem(
            "response_format", f"response_format {request.response_format!r} is neither 'b64_json' nor 'url'."
        )


def _listed_spelling(resolution: str | None, model: Model) -> str | None:
    if resolution is None or resolution in model.resolutions:
        return resolution
    wanted = normalise_token(str(resolution))
    return next((token for token in model.resolutions if normalise_token(token) == wanted), None)


def _offer(spec: object) -> str:
    if isinstance(spec, EnumSpec):
        more = len(spec.values) - _MOST_NAMED
        named = ", ".join(spec.values[:_MOST_NAMED])
        return f"{named} and {more} more" if more > 0 else named
    if isinstance(spec, RangeSpec):
        low = "no least value" if spec.minimum is None else f"{spec.minimum:g}"
        return f"{low} to {'any' if spec.maximum is None else f'{spec.maximum:g}'}"
    return "true or false"
