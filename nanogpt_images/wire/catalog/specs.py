"""`supported_parameters`, in the documented shape of descriptors or the live flat one, to one typed view."""

from __future__ import annotations

from typing import cast

import attrs

from ...types.model import PromptLimit, ReferenceLimits
from ...types.parameters import (
    ONE_IMAGE,
    BooleanSpec,
    CountRule,
    EnumSpec,
    ParameterSpec,
    ParameterSpecs,
    RangeSpec,
    UnknownSpec,
)
from ..convert import Json, are_texts, as_flag, as_int, as_number, as_object, as_text, as_texts
from .limits import count_rule, prompt_limit, reference_limits


@attrs.frozen(kw_only=True)
class Supported:
    """What `supported_parameters` says; see `nanogpt_images.types.model.ModelRecord` for the fields."""

    parameters: ParameterSpecs
    count_rule: CountRule = ONE_IMAGE
    references: ReferenceLimits | None = None
    prompt_limit: PromptLimit | None = None


_CANONICAL = {
    "resolutions": "resolution",
    "aspect_ratios": "aspect_ratio",
    "qualities": "quality",
    "rendering_speeds": "rendering_speed",
    "output_formats": "output_format",
}
_LIMITS = frozenset(
    {
        "n",
        "max_images",
        "max_output_images",
        "fixed_image_count",
        "input_references",
        "max_input_images",
        "input_image_constraints",
        "input_reference_constraints",
        "max_prompt_characters",
        "prompt_length",
    }
)
_NUMERIC = frozenset({"range", "integer", "int", "number", "float"})


def read_supported(raw: Json, constraints: Json | None = None) -> Supported:
    """
    Read `supported_parameters`.

    Names are those of the normalized route (`resolutions` is `resolution`). What limits the number of
    images or of references shows as `n` and `input_references`, however the listing spells it, so that
    both shapes give the same view.

    Args:
        raw: The object as it came.
        constraints: `input_reference_constraints` of an endpoint, which stands outside that object.

    Source: docs/service.md, "List image models" and "List models of the Image API", `supported_parameters`.
    """
    parameters: dict[str, ParameterSpec] = {}
    for key, value in raw.items():
        if key in _LIMITS or value is None:
            continue
        name = _CANONICAL.get(key, key)
        spec = parameter_spec(value)
        parameters[name] = richer_spec(parameters[name], spec) if name in parameters else spec
    n = _spec_of(raw, "n")
    rule = count_rule(
        n,
        fixed=as_int(raw.get("fixed_image_count")),
        maxima=(as_int(raw.get("max_images")), as_int(raw.get("max_output_images"))),
    )
    wanted = _spec_of(raw, "input_references")
    blocks = (raw.get("input_image_constraints"), raw.get("input_reference_constraints"), constraints)
    references = reference_limits(
        (wanted.maximum if isinstance(wanted, RangeSpec) else None, raw.get("max_input_images")),
        [as_object(block) for block in blocks if block],
    )
    if references is not None and references.max_items is not None:
        least = wanted.minimum if isinstance(wanted, RangeSpec) else None
        parameters["input_references"] = RangeSpec(least or 0, references.max_items)
    elif wanted is not None:
        parameters["input_references"] = wanted
    if rule.stated and rule.fixed is None:
        parameters["n"] = _count_spec(rule, n)
    return Supported(
        parameters=parameters,
        count_rule=rule,
        references=references,
        prompt_limit=prompt_limit(raw.get("max_prompt_characters"), as_object(raw.get("prompt_length"))),
    )


def join_parameters(legacy: ParameterSpecs, listed: ParameterSpecs, rule: CountRule) -> ParameterSpecs:
    """Return the descriptors of both, of each name the one that says more, and `n` as the joined *rule* has it."""
    specs = dict(legacy)
    for name, spec in listed.items():
        specs[name] = richer_spec(specs[name], spec) if name in specs else spec
    n = specs.pop("n", None)
    if rule.stated and rule.fixed is None:
        specs["n"] = _count_spec(rule, n)
    return specs


def _count_spec(rule: CountRule, n: ParameterSpec | None) -> RangeSpec:
    default = n.default if isinstance(n, RangeSpec) else None
    return RangeSpec(rule.minimum, rule.maximum, default or rule.minimum)


def parameter_spec(raw: object) -> ParameterSpec:
    """
    Read one descriptor, or the plain list or switch of the flat shape. What is not understood keeps its raw value.

    Understood are `{"type": "enum", "values", "default"}` (also without the type),
    `{"type": "range", "min", "max", "default"}`, `{"type": "integer" | "number", "minimum", "maximum"}`,
    `{"type": "boolean"}`, `[values…]` and `true`.
    """
    if isinstance(raw, list):
        return _enum(cast("list[object]", raw), None) or UnknownSpec(cast("object", raw))
    if raw is True:
        return BooleanSpec()
    if not isinstance(raw, dict):
        return UnknownSpec(raw)
    descriptor = cast("Json", raw)
    return _descriptor(descriptor) or UnknownSpec(descriptor)


def _descriptor(raw: Json) -> ParameterSpec | None:
    values = raw.get("values", raw.get("enum"))
    if isinstance(values, list):
        return _enum(cast("list[object]", values), raw.get("default"))
    kind = (as_text(raw.get("type")) or "").lower()
    if kind in {"boolean", "bool"}:
        return BooleanSpec(as_flag(raw.get("default")))
    lowest = as_number(raw.get("min", raw.get("minimum")))
    highest = as_number(raw.get("max", raw.get("maximum")))
    if kind not in _NUMERIC and (kind or (lowest is None and highest is None)):
        return None
    if lowest is not None and highest is not None and lowest > highest:
        return None  # A range that holds nothing would refuse every value.
    return RangeSpec(lowest, highest, as_number(raw.get("default")))


def _enum(values: list[object], default: object) -> ParameterSpec | None:
    if are_texts(values):
        return EnumSpec(tuple(dict.fromkeys(values)), as_text(default))
    present = [value for value in values if value is not None]
    if not present:
        return None  # An enum of nothing would refuse every value.
    if all(isinstance(value, bool) for value in present):
        return BooleanSpec(as_flag(default))
    texts = as_texts(present)
    if len(texts) < len(present):
        return None
    return EnumSpec(tuple(dict.fromkeys(texts)), as_text(default))


def richer_spec(one: ParameterSpec, other: ParameterSpec) -> ParameterSpec:
    """Return the one that says more of the two; of two enums all values, *other*'s first, with the default of either."""
    if one == other or isinstance(one, UnknownSpec):
        return other
    if isinstance(one, EnumSpec) and isinstance(other, EnumSpec):
        # 1024*1024 and 1024x1024 are one size; the spelling that comes first is sent.
        values: dict[str, str] = {}
        for value in (*other.values, *one.values):
            values.setdefault(value.replace("*", "x"), value)
        default = other.default or one.default
        return EnumSpec(
            tuple(values.values()),
            None if default is None else values.get(default.replace("*", "x"), default),
        )
    return one if isinstance(other, UnknownSpec) else other


def _spec_of(raw: Json, key: str) -> ParameterSpec | None:
    value = raw.get(key)
    return None if value is None else parameter_spec(value)
