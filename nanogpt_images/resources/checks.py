"""Is a request one that the model accepts? Decided from the catalogue, before anything is sent."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterator
from typing import Final

import attrs

from .._base.display import shown
from ..errors import ParameterError
from ..types.model import Model
from ..types.parameters import EnumSpec, RangeSpec
from ..types.prices import normalise_token
from ..types.request import (
    INPUT_FIELDS,
    EditRequest,
    GenerateRequest,
    ImageRequest,
    OpenAIRequest,
    asked_count,
    has_images,
    stream_refusal,
)

# Source: docs/service.md, "Generate, OpenAI-compatible", the body's bounds.
_OPENAI_RANGES: Final = {
    "strength": RangeSpec(0, 1),
    "guidance_scale": RangeSpec(0, 20),
    "num_inference_steps": RangeSpec(1, 100),
}
_MOST_NAMED: Final = 12
_COUNTS: Final = frozenset({"n", "nImages"})
_EITHER: Final = frozenset({"model", "prompt", "seed", "stream", "provider", "maskDataUrl", *_COUNTS})
# Source: docs/service.md, "Generate", "Request Fields"; "Generate, OpenAI-compatible", "Request Body".
_DOCUMENTED: Final = {
    "images": _EITHER | set(INPUT_FIELDS) | {"resolution", "aspect_ratio", "quality", "output_format"},
    "openai": _EITHER
    | _OPENAI_RANGES.keys()
    | {"size", "response_format", "user", "imageDataUrl", "imageDataUrls", "kontext_max_mode"},
    "edit": _EITHER | _OPENAI_RANGES.keys() | {"size", "response_format", "user", "image", "mask"},
}
_NAMES: Final = frozenset[str]().union(*_DOCUMENTED.values())
# Assumption: a name this close to a known one is a typing error.
_SLIP: Final = 0.85


def checked(request: ImageRequest, model: Model) -> ImageRequest:
    """
    Return *request* as it should be sent to *model*.

    It changes the spelling of a resolution, `1024x1024` becomes the listed `1024*1024`, and leaves out an `n` that is the
    model's fixed count.

    Raises:
        ParameterError: The model does not accept the request; the text says what it offers.
    """
    for problem in find_problems(request, model):
        raise problem
    request = _without_fixed_count(request, model)
    token = _listed_spelling(request.resolution, model)
    if token is None or token == request.resolution:
        return request
    if isinstance(request, GenerateRequest):
        return attrs.evolve(request, resolution=token)
    return attrs.evolve(request, size=token)


def _without_fixed_count(request: ImageRequest, model: Model) -> ImageRequest:
    if model.count_rule.fixed is None or asked_count(request) is None:
        return request
    extra = {name: value for name, value in request.extra.items() if name not in _COUNTS}
    return attrs.evolve(request, n=None, extra=extra)


def find_warnings(request: ImageRequest, model: Model) -> Iterator[str]:
    """Yield what *request* asks for and *model* does not list; nothing where the listing names no parameters."""
    if not (model.raw_parameters or model.parameters):
        return
    given: dict[str, object] = {request.size_name: request.resolution, "seed": request.seed}
    if isinstance(request, GenerateRequest):
        for name in ("aspect_ratio", "quality", "output_format"):
            given[name] = getattr(request, name)
    given |= {name: value for name, value in request.extra.items() if name not in _DOCUMENTED[request.route]}
    if request.mask_input is not None and model.capabilities.get("inpainting") is False:
        yield f"{model.id} does not list inpainting; the service may ignore the mask, or refuse the request."
    for name, value in given.items():
        if value is not None and (name if name != "size" else "resolution") not in model.parameters:
            yield f"{model.id} does not list {name}; the service may ignore it, or refuse the request."


def find_problems(request: ImageRequest, model: Model) -> Iterator[ParameterError]:
    """Yield everything about *request* that *model* does not accept, one error for each fault."""

    def problem(parameter: str, text: str) -> ParameterError:
        return ParameterError(text, model=model.id, parameter=parameter)

    yield from _prompt(request, model, problem)
    yield from _count(request, model, problem)
    yield from _tokens(request, model, problem)
    yield from _slips(request, model, problem)
    yield from _references(request, model, problem)
    if (refusal := stream_refusal(request)) is not None:
        yield refusal
    if not isinstance(request, GenerateRequest):
        yield from _openai(request, problem)


_Problem = Callable[[str, str], ParameterError]


def _prompt(request: ImageRequest, model: Model, problem: _Problem) -> Iterator[ParameterError]:
    if isinstance(request, EditRequest) and not request.prompt.strip():
        yield problem("prompt", "the prompt is empty; an edit needs one.")
    elif not request.prompt.strip() and not has_images(request):
        yield problem(
            "prompt", "the prompt is empty, and there are no input images, which could stand without one."
        )
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
        yield problem("n", f"n must be a whole number of at least 1, not {shown(n)}.")
    elif rule.fixed is not None:
        if n != rule.fixed:
            yield problem("n", f"{model.id} always makes {rule.fixed} images per request; leave n out.")
    elif rule.stated and not rule.minimum <= n <= rule.maximum:
        yield problem(
            "n", f"n={n} is outside what {model.id} makes per request ({rule}); a batch splits larger counts."
        )


def _tokens(request: ImageRequest, model: Model, problem: _Problem) -> Iterator[ParameterError]:
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
        label = request.size_name if name == "resolution" else name
        yield problem(
            label, f"{label} {shown(value)} is not offered by {model.id}; it offers {_offer(spec)}."
        )


def _slips(request: ImageRequest, model: Model, problem: _Problem) -> Iterator[ParameterError]:
    """Yield names in `extra` that are nearly those of a parameter: sent on, they would pay for the wrong image."""
    known = {name.lower(): name for name in (*_NAMES, *model.parameters)}
    for name in request.extra:
        if name in model.parameters or name in _NAMES:
            continue
        if near := difflib.get_close_matches(name.lower(), known, n=1, cutoff=_SLIP):
            yield problem(
                name,
                f"{shown(name)} is not a known parameter; did you mean {known[near[0]]!r}? Rename or remove it.",
            )


def _references(request: ImageRequest, model: Model, problem: _Problem) -> Iterator[ParameterError]:
    sources = request.references
    name = request.input_name
    legacy = [
        field for field in sorted(INPUT_FIELDS) if field in request.extra and field != "input_references"
    ]
    if isinstance(request, GenerateRequest) and sources and legacy:
        yield problem(name, f"input_references and {', '.join(legacy)} cannot both be sent; use one style.")
    if isinstance(request, OpenAIRequest) and request.image_data_url is not None and request.image_data_urls:
        yield problem(name, "image_data_url and image_data_urls cannot both be sent; use one.")
    if isinstance(request, EditRequest) and not sources:
        yield problem(name, "there is no image to edit.")
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


def _openai(request: OpenAIRequest | EditRequest, problem: _Problem) -> Iterator[ParameterError]:
    for name, spec in _OPENAI_RANGES.items():
        value: object = getattr(request, name)
        if value is not None and not spec.accepts(value):
            yield problem(name, f"{name}={shown(value)} is not from {_offer(spec)}.")
    if request.response_format not in (None, "b64_json", "url"):
        yield problem(
            "response_format",
            f"response_format {shown(request.response_format)} is neither 'b64_json' nor 'url'.",
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
