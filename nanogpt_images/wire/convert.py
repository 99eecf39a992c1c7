"""
Tolerant scalars and the one cattrs converter of the wire modules.

Each `as_…` function takes any JSON value and never raises: what is of the wrong kind becomes None, or empty.
The converter applies them by the annotated type of a wire class's field, so that a record with one odd
field keeps all the others.
"""

from __future__ import annotations

import functools
import math
import reprlib
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import TYPE_CHECKING, TypeGuard, TypeVar, cast

import attrs

from ..money.nano import MAX_USD

if TYPE_CHECKING:
    from cattrs import Converter

T = TypeVar("T")
Json = dict[str, object]
"""A JSON object."""


def as_text(value: object) -> str | None:
    """Return text that is not blank, verbatim; a number as its text. Anything else is None."""
    if value is None:
        return None
    if isinstance(value, str):
        return value if value and not value.isspace() else None
    if isinstance(value, bool) or not isinstance(value, int | float) or not _is_finite(value):
        return None
    return str(value)


def as_number(value: object) -> float | None:
    """Return a finite number, or text that spells one; ints stay ints. Anything else, NaN and infinity are None."""
    if value is None:
        return None
    if isinstance(value, str):
        try:
            value = float(value)
        except ValueError:
            return None
    if isinstance(value, bool) or not isinstance(value, int | float) or not _is_finite(value):
        return None
    return value


def as_usd(value: object, *, most: int = MAX_USD) -> float | None:
    """Return an amount of money, which the service also sends as decimal text; None below 0 and above *most*."""
    if type(value) is float and 0 <= value <= most:
        return value  # nearly all of them, and false for NaN
    number = as_number(value)
    return float(number) if number is not None and 0 <= number <= most else None


def as_int(value: object) -> int | None:
    """Return a whole number, also as `4.0` or `"4"`. Anything else is None."""
    if value is None or type(value) is int:
        return value
    number = as_number(value)
    return None if number is None or number != int(number) else int(number)


def as_flag(value: object) -> bool | None:
    """Return a boolean, also as 0, 1, `"true"` or `"false"`. Anything else is None."""
    if isinstance(value, bool):
        return value
    if isinstance(value, str):
        return _FLAGS.get(value.strip().lower())
    return bool(value) if isinstance(value, int) and value in (0, 1) else None


_FLAGS = {"true": True, "1": True, "false": False, "0": False}

# A greater number is in milliseconds: 1e11 s is the year 5138, 1e11 ms is 1973.
_LATEST_IN_SECONDS = 1e11


def as_time(value: object) -> datetime | None:
    """
    Return a time in UTC, from a Unix time in seconds or milliseconds, or from ISO 8601 text.

    Text without an offset is taken as UTC. Assumption: zero and less stand for "not known", hence None.
    """
    number = as_number(value)
    try:
        if number is not None:
            seconds = number / 1000 if number > _LATEST_IN_SECONDS else number
            return datetime.fromtimestamp(seconds, UTC) if seconds > 0 else None
        if not isinstance(value, str):
            return None
        time = datetime.fromisoformat(value.strip())
        return time.replace(tzinfo=UTC) if time.tzinfo is None else time.astimezone(UTC)
    except (ValueError, OverflowError, OSError):
        return None


def as_texts(value: object) -> tuple[str, ...]:
    """Return the texts of a list, nulls and other kinds left out; a lone text counts as a list of one."""
    if value is None:
        return ()
    items = cast("list[object]", value) if isinstance(value, list) else [value]
    if are_texts(items):
        return tuple(items)
    return tuple([text for item in items if (text := as_text(item)) is not None])


def are_texts(items: list[object]) -> TypeGuard[list[str]]:
    """Return whether all are texts that are not blank: the common case, checked at the speed of C."""
    return set(map(type, items)) == {str} and all(map(str.strip, cast("list[str]", items)))


def as_object(value: object) -> Json:
    """Return a JSON object, the very one; for anything else an empty one."""
    return cast("Json", value) if isinstance(value, dict) else {}


def as_objects(value: object) -> tuple[Json, ...]:
    """Return the objects of a list, nulls and other kinds left out; a lone object counts as a list of one."""
    items = cast("list[object]", value) if isinstance(value, list) else [value]
    return tuple([cast("Json", item) for item in items if isinstance(item, dict)])


def shorten(value: object, limit: int = 200) -> str:
    """Return the beginning of a decoded body, for an error's excerpt."""
    text = value if isinstance(value, str) else _REPR.repr(value)
    return text if len(text) <= limit else f"{text[: limit - 1]}…"


_REPR = reprlib.Repr()
_REPR.maxstring = _REPR.maxother = 200


def _is_finite(value: float) -> bool:
    try:
        return math.isfinite(value)
    except OverflowError:  # an int beyond a float's range
        return False


_HOOKS: Mapping[object, Callable[[object], object]] = {
    object: lambda value: value,
    str: lambda value: as_text(value) or "",
    bool: lambda value: bool(as_flag(value)),
    str | None: as_text,
    int | None: as_int,
    float | None: as_usd,
    datetime | None: as_time,
    tuple[str, ...]: as_texts,
    Json: as_object,
    tuple[Json, ...]: as_objects,
}
"""How a field of a wire class is read, by its annotation: `float | None` is money throughout."""


@functools.cache
def converter() -> Converter:
    """
    Return the converter, made on first use: importing the package must stay cheap.

    It knows the annotations of `_HOOKS` and attrs classes made of them. A class with a field `extra`
    gets there whatever keys it does not name.
    """
    from cattrs import Converter

    made = Converter(detailed_validation=False)
    # cattrs has hooks of its own for plain classes, which go before factories; for the rest it asks
    # the predicate once per type and keeps the answer.
    for plain in (str, bool):
        made.register_structure_hook(plain, _scalar_hook(plain))
    made.register_structure_hook_factory(_HOOKS.__contains__, _scalar_hook)
    made.register_structure_hook_factory(attrs.has, _record_hook)
    return made


def structure(value: object, into: type[T]) -> T:
    """Make an instance of the wire class *into* of *value*; never raises, where all its fields have defaults."""
    return converter().structure(value, into)


def _scalar_hook(kind: object) -> Callable[[object, object], object]:
    read = _HOOKS[kind]
    return lambda value, _: read(value)


def _record_hook(cls: type[attrs.AttrsInstance]) -> Callable[[object, object], attrs.AttrsInstance]:
    from cattrs.gen import make_dict_structure_fn, override

    known = frozenset(field.name for field in attrs.fields(cls)) - {"extra"}
    keeps_extra = len(known) < len(attrs.fields(cls))
    # An override of a field that the class lacks has no effect.
    from_dict = make_dict_structure_fn(cls, converter(), extra=override(omit=True))

    def read(value: object, _: object) -> attrs.AttrsInstance:
        record = as_object(value)
        made = from_dict(record, cls)
        if keeps_extra and not known.issuperset(record):
            extra = {key: item for key, item in record.items() if key not in known}
            object.__setattr__(made, "extra", extra)
        return made

    return read
