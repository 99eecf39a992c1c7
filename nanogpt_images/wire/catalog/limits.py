"""How many images per request, how many and which input images, how long a prompt."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Final

from ...types.model import PromptLimit, ReferenceLimits
from ...types.parameters import ONE_IMAGE, CountRule, EnumSpec, ParameterSpec, RangeSpec
from ..convert import Json, as_int, as_object, as_text, as_texts

MOST_PER_REQUEST: Final = 1_000
"""Assumption: no model makes more images at once (20 is the most seen); a greater number is a mistake."""


def count_rule(n: ParameterSpec | None, *, fixed: int | None, maxima: Iterable[int | None]) -> CountRule:
    """
    Return the rule that one record states.

    A fixed count rules alone (1 too: such a model takes no `n`). Otherwise it is the range of `n`, its
    maximum cut to the least of *maxima*; without a range it starts at 1. Numbers below 1 or above
    `MOST_PER_REQUEST` say nothing.

    Args:
        n: Descriptor of `n`.
        fixed: `fixed_image_count`.
        maxima: `max_images`, `max_output_images`.

    Source: docs/service.md, "List image models"; "List models of the Image API".
    """
    if fixed is not None and 1 <= fixed <= MOST_PER_REQUEST:
        return CountRule(fixed, fixed, fixed)
    lowest, highest = _range_of(n)
    if lowest is not None and not 1 <= lowest <= MOST_PER_REQUEST:
        lowest = None
    limits = [limit for limit in (highest, *maxima) if limit is not None and 1 <= limit <= MOST_PER_REQUEST]
    if not limits and lowest is None:
        return ONE_IMAGE
    # Assumption: a range without an end is only as long as its start.
    maximum = min(limits, default=lowest or 1)
    return CountRule(min(max(lowest or 1, 1), maximum), maximum)


def _range_of(n: ParameterSpec | None) -> tuple[int | None, int | None]:
    if isinstance(n, RangeSpec):
        return as_int(n.minimum), as_int(n.maximum)
    if not isinstance(n, EnumSpec):
        return None, None
    numbers = sorted({number for text in n.values if (number := as_int(text)) is not None and number >= 1})
    if not numbers:
        return None, None
    # A rule has no gaps: of 1, 2, 4 it takes 1 to 2, every number of which is offered.
    run = [number for i, number in enumerate(numbers) if number == numbers[0] + i]
    return run[0], run[-1]


def join_count_rules(legacy: CountRule, listed: CountRule) -> CountRule:
    """
    Return the rule of a model that stands in both listings.

    A fixed count of either (image-models first, which documents it); else the range of images/models, its
    maximum cut to that of image-models: of two limits the stricter is accepted by both.
    """
    for rule in (legacy, listed):
        if rule.fixed is not None:
            return rule
    if not (legacy.stated and listed.stated):
        return legacy if legacy.stated else listed
    maximum = min(legacy.maximum, listed.maximum)
    return CountRule(min(max(legacy.minimum, listed.minimum), maximum), maximum)


def reference_limits(max_items: Iterable[object], constraints: Sequence[Json]) -> ReferenceLimits | None:
    """
    Return the strictest of what is stated, or None where nothing is.

    Args:
        max_items: Numbers of images that stand outside the constraint objects.
        constraints: `input_image_constraints` or `input_reference_constraints`, each with its limits
            at its top or in blocks such as `route` and `provider`.

    Source: docs/service.md, "Endpoint metadata", `input_reference_constraints`.
    """
    found: dict[str, int] = {}
    formats: tuple[str, ...] = ()
    notes: dict[str, None] = {}
    for most in max_items:
        _tighten(found, "max_items", most)
    for constraint in constraints:
        for block in (constraint, *map(as_object, constraint.values())):
            for key, value in block.items():
                if key in _STRICTER:
                    _tighten(found, key, value)
                elif key == "formats":
                    formats = _common(formats, _formats(value))
                elif key == "note" and (note := as_text(value)) is not None:
                    notes[note] = None
    if not (found or constraints):
        return None
    return ReferenceLimits(
        **found, formats=formats, note=" ".join(notes) or None, raw=constraints[0] if constraints else {}
    )


_STRICTER: Mapping[str, Callable[[int, int], int]] = {
    "max_items": min,
    "min_width": max,
    "min_height": max,
    "max_width": min,
    "max_height": min,
    "max_bytes": min,
}


def _tighten(found: dict[str, int], key: str, value: object) -> None:
    limit = as_int(value)
    if limit is not None and limit >= 0:
        found[key] = _STRICTER[key](found.get(key, limit), limit)


def join_reference_limits(
    legacy: ReferenceLimits | None, listed: ReferenceLimits | None
) -> ReferenceLimits | None:
    """Join, field by field, the limits into those that satisfy both."""
    if legacy is None or listed is None:
        return legacy or listed
    found: dict[str, int] = {}
    for limits in (legacy, listed):
        for key in _STRICTER:
            _tighten(found, key, getattr(limits, key))
    formats = _common(legacy.formats, listed.formats)
    notes = dict.fromkeys(limits.note for limits in (legacy, listed) if limits.note is not None)
    return ReferenceLimits(
        **found, formats=formats, note=" ".join(notes) or None, raw=listed.raw or legacy.raw
    )


def _formats(value: object) -> tuple[str, ...]:
    names = [text.lower().removeprefix("image/").lstrip(".") for text in as_texts(value)]
    return tuple(dict.fromkeys(["jpeg" if name == "jpg" else name for name in names]))


def _common(one: tuple[str, ...], other: tuple[str, ...]) -> tuple[str, ...]:
    # Two lists without a common format cannot both be right; the later is the provider's.
    return tuple([name for name in one if name in other]) or other or one


def prompt_limit(max_characters: object, prompt_length: Json) -> PromptLimit | None:
    """Return the limit of the prompt; None where it is not stated or counted in a unit other than UTF-16 units."""
    limit = as_int(max_characters)
    # Assumption: a limit without a unit counts UTF-16 code units, as the live listing says of all of them.
    if limit is None or limit < 1 or as_text(prompt_length.get("unit")) not in {None, "utf16_code_units"}:
        return None
    return PromptLimit(max_characters=limit, trim_whitespace=prompt_length.get("trim_whitespace") is True)
