"""What the fields of a request's body say about its price."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Final, cast

import attrs

from ...types.model import ModelRecord
from ...types.prices import ANY_FIELD, pixels_of
from ...types.request import INPUT_FIELDS, MASK_FIELD, ImageRequest
from ...wire.convert import as_number
from ...wire.requests import body_of

_SIZES: Final = frozenset({"resolution", "size", "imagesize", "outputsize", "dimensions"})
_SIDES: Final = ("width", "height")
_DOCUMENTED_COUNTS: Final = frozenset({"n", "nImages"})
# Assumption: an undocumented field of such a name multiplies the images, whatever `n` says.
_COUNTS: Final = frozenset(
    {
        *("n", "nimages", "numimages", "numberofimages", "numberimages", "imagecount", "imagescount"),
        *("numoutputs", "outputs", "numberresults", "numresults", "numsamples", "samples", "nsamples"),
        *("batchsize", "batchcount", "count", "quantity", "variations", "numvariations"),
        *("imagesperprompt", "numimagesperprompt"),
    }
)
_MOST_IMAGES: Final = 10_000
# Assumption: a field of such a name makes an image larger, and dearer than any listing states.
_SCALES: Final = frozenset(
    {
        *(
            "scale",
            "scalefactor",
            "scaleby",
            "upscale",
            "upscaler",
            "upscaling",
            "upscalefactor",
            "upscaleby",
        ),
        *(
            "outscale",
            "outputscale",
            "imagescale",
            "resize",
            "zoom",
            "megapixels",
            "megapixel",
            "mp",
            "pixels",
        ),
        *("multiplier", "factor"),
    }
)
# Fields that do not decide the price by themselves; their values are never a resolution either.
_NO_TOKENS: Final = frozenset(
    {
        *("model", "prompt", "negativeprompt", "user", "n", "nimages", "seed", "strength", "guidancescale"),
        *("numinferencesteps", "responseformat", "outputformat", *_SIDES),
    }
)
_NO_PRICE: Final = (
    _NO_TOKENS
    | _SIZES
    | {"aspectratio", "quality", "kontextmaxmode", "stream", "provider", "inputreferences"}
    | {"imagedataurl", "imagedataurls", "imageurl", "images", "maskdataurl"}
)
_SHORT: Final = 4
_LONGEST_TOKEN: Final = 64


@functools.lru_cache(maxsize=4096)
def _plain(name: str) -> str:
    return name.replace("_", "").replace("-", "").lower()


@attrs.define(kw_only=True)
class PricedFields:
    """
    What a body says about its price.

    Attributes:
        sizes: Each resolution that the service may go by, that of the documented field first; None is its own choice.
        tokens: The values of other fields, one of which a table of prices may be kept by, such as a quality.
        fields: All fields of the body, by a name without regard to case and underscores.
        inputs: Input images.
        masks: 1 with a mask, else 0.
        factor: How many times as many images undocumented counts may make.
        odd_counts: Names of counts whose values are not a number of images.
        spelling: The name of each of `fields` as the body has it.
    """

    sizes: Sequence[str | None]
    tokens: Sequence[str]
    fields: Mapping[str, Sequence[object]]
    inputs: int
    masks: int
    factor: int
    odd_counts: Sequence[str]
    spelling: Mapping[str, str]

    @classmethod
    def of(cls, request: ImageRequest) -> PricedFields:
        """Read the fields of the body of *request*."""
        body = body_of(request)
        sizes: dict[str | None, None] = {_size(body.get(request.size_name)): None}
        tokens: list[str] = []
        fields: dict[str, list[object]] = {}
        spelling: dict[str, str] = {}
        factor, odd_counts = 1, list[str]()
        for name, value in body.items():
            if value is None:
                continue
            plain = _plain(name)
            fields.setdefault(plain, []).append(value)
            spelling.setdefault(plain, name)
            if plain in _COUNTS and name not in _DOCUMENTED_COUNTS:
                if (count := _count(value)) is None:
                    odd_counts.append(name)
                factor *= count or 1
            elif plain in _SIZES:
                sizes.setdefault(_size(value))
            elif (
                plain not in _NO_TOKENS
                and (token := _text(value)) is not None
                and len(token) <= _LONGEST_TOKEN
            ):
                tokens.append(token)
        if "width" in fields and "height" in fields:
            sizes.setdefault(f"{_size(fields['width'][0])}x{_size(fields['height'][0])}")
        return cls(
            sizes=tuple(sizes),
            tokens=tokens,
            fields=fields,
            inputs=len(request.references)
            + sum(_length(body[name]) for name in INPUT_FIELDS if name in body),
            masks=int(request.mask_input is not None or bool(body.get(MASK_FIELD))),
            factor=factor,
            odd_counts=odd_counts,
            spelling=spelling,
        )

    def values(self, field: str) -> Sequence[str | None]:
        """Return what the body says for *field*; for `ANY_FIELD`, all that may be a token."""
        if field == ANY_FIELD:
            return [*self.sizes, *self.tokens]
        return [_text(value) for value in self.fields.get(_plain(field), ())]

    def times(self, add_on: str) -> int:
        """Return how many of *add_on* the fields ask for: as many as the longest list holds, 0 where none names it."""
        wanted = _plain(add_on)
        return max(
            (
                _length(value)
                for name, values in self.fields.items()
                if name.startswith(wanted) or (len(wanted) >= _SHORT and wanted in name)
                for value in values
            ),
            default=0,
        )

    def has_unlisted(self, model: ModelRecord) -> bool:
        """Return whether a field is set that neither the routes document nor *model* lists: it may switch on an add-on."""
        return any(any(values) for _, values in self._unlisted(model))

    def unpriced(self, model: ModelRecord, states: Callable[[str], bool]) -> Iterator[str]:
        """
        Yield what may raise the price beyond everything that the catalogue states for *model*.

        Args:
            model: The model, with the resolutions and parameters that it lists.
            states: Whether the tables of prices state a token.
        """
        yield from self.odd_counts
        largest = _largest(model)
        if sum(side in self.fields for side in _SIDES) == 1:
            yield next(side for side in _SIDES if side in self.fields)
        for size in self.sizes:
            if size is not None and not (states(size) or size in model.resolutions):
                pixels = pixels_of(size)
                if pixels is None or pixels > largest:
                    yield f"size {size[:_LONGEST_TOKEN]}"
        for plain in self.fields.keys() & _SCALES:
            if any(_is_set(value) and not states(_text(value) or "") for value in self.fields[plain]):
                yield self.spelling[plain]
        for plain, values in self._unlisted(model):
            if plain not in _SCALES and any(
                _may_multiply(value) and not states(_text(value) or "") for value in values
            ):
                yield self.spelling[plain]

    def _unlisted(self, model: ModelRecord) -> Iterator[tuple[str, Sequence[object]]]:
        listed = {_plain(name) for name in (*model.parameters, *model.raw_parameters)}
        for plain, values in self.fields.items():
            if plain not in _NO_PRICE and plain not in _COUNTS and plain not in listed:
                yield plain, values


def whole(value: object) -> int | None:
    """Return *value* as a service may read it: `"4"` is 4; None for what is not a whole number above 0."""
    try:
        number = int(cast("str", value))
    except (TypeError, ValueError, OverflowError):
        return None
    return number if number > 0 and not isinstance(value, bool) else None


def _count(value: object) -> int | None:
    """Return a number of images; None for what is not one, or is one beyond reason."""
    number, count = as_number(value), whole(value)
    return count if count is not None and count == number and count <= _MOST_IMAGES else None


def _largest(model: ModelRecord) -> int:
    """Return the pixels of the largest size that *model* lists, with or without a price."""
    tokens = (*model.resolutions, *model.prices.per_image)
    return max((pixels for token in tokens if (pixels := pixels_of(token)) is not None), default=0)


def _is_set(value: object) -> bool:
    number = as_number(value)
    return bool(value) if number is None else number > 1


def _may_multiply(value: object, depth: int = 0) -> bool:
    """Return whether *value* is a number above 1, or holds one."""
    if isinstance(value, Mapping | list | tuple):
        inner = cast("Mapping[object, object] | Sequence[object]", value)
        items = list(inner.values()) if isinstance(inner, Mapping) else inner
        return depth >= _SHORT or any(_may_multiply(item, depth + 1) for item in items)
    number = as_number(value)
    return (
        number > 1 if number is not None else isinstance(value, int | float) and not isinstance(value, bool)
    )


def _text(value: object) -> str | None:
    """Return *value* as a token of the catalogue may spell it; None where it is not one."""
    if isinstance(value, int | float) and not abs(value) < 1e9:
        return None
    return str(value) if isinstance(value, str | int | float) else None


def _size(value: object) -> str | None:
    # What is not text, such as an object of width and height, may mean any resolution.
    return None if value is None else _text(value) or "?"


def _length(value: object) -> int:
    return len(cast("list[object]", value)) if isinstance(value, list | tuple) else int(bool(value))
