"""What makes two calls the same: everything that shapes an image, as one digest. Pure."""

from __future__ import annotations

import enum
import hashlib
import json
from collections.abc import Mapping, Sequence
from typing import Final, Literal, TypeAlias, cast

import attrs

from ..._base.display import shown
from ...errors import ParameterError
from ...types.request import ImageRequest

MAX_KEY_BYTES: Final = 512
_CANONICAL: Final = json.JSONEncoder(sort_keys=True, separators=(",", ":"), allow_nan=False)
_VERSION: Final = 1
_REFERENCE_FIELDS: Final = frozenset(
    {"input_references", "image_data_url", "image_data_urls", "mask_data_url", "image", "mask"}
)


class Auto(enum.Enum):
    """The type of `AUTO`."""

    AUTO = "auto"

    def __repr__(self) -> str:
        return "AUTO"


AUTO: Final = Auto.AUTO
"""As `key=`: the key is the digest of everything that shapes the image, so that equal requests are paid for once."""

CallKey: TypeAlias = str | Literal[Auto.AUTO]


@attrs.frozen(kw_only=True)
class Fingerprint:
    """
    A request, as a ledger compares it.

    Attributes:
        content: Hexadecimal SHA-256 of what shapes the image, the sample number left out.
        request: What shapes the image, as JSON values; input images as their digests.
        request_json: The same as canonical JSON text.
        sample: Tells images of one content apart; None leaves them untold.
        seeded: Whether the request names a seed, so that the same image is meant where no sample tells.
    """

    content: str
    request: Mapping[str, object] = attrs.field(repr=False)
    request_json: str = attrs.field(repr=False)
    sample: int | None = None
    seeded: bool = False


def checked_sample(sample: int | None) -> int | None:
    """
    *sample*, where it is a whole number from 0 on, or None.

    Raises:
        ParameterError: It is something else.
    """
    given = cast("object", sample)
    if given is not None and (isinstance(given, bool) or not isinstance(given, int) or given < 0):
        raise ParameterError(f"sample must be a whole number from 0, not {shown(given)}.", parameter="sample")
    return sample


def checked_key(key: CallKey) -> CallKey:
    """
    *key*, where it can be one.

    Raises:
        ParameterError: It is empty, longer than 512 bytes, or not text.
    """
    given = cast("object", key)
    if given is AUTO:
        return key
    fault = None
    if not isinstance(given, str):
        fault = f"must be text or AUTO, not {shown(given)}"
    elif not given.strip():
        fault = "must not be empty"
    else:
        try:
            size = len(given.encode())
        except UnicodeEncodeError:
            fault = f"holds half of a character: {shown(given)}"
        else:
            if size > MAX_KEY_BYTES:
                fault = f"is {size:,} bytes long; a ledger takes {MAX_KEY_BYTES}"
            elif "\0" in given:
                fault = f"holds a null character: {shown(given)}"
    if fault is not None:
        raise ParameterError(f"key {fault}.", parameter="key")
    return key


def fingerprint(
    request: ImageRequest,
    *,
    service: str,
    references: Sequence[str] = (),
    mask: str | None = None,
    sample: int | None = None,
) -> Fingerprint:
    """
    What a ledger compares of *request*.

    `n=1` counts as no `n`: the service's default.

    Args:
        request: As the caller made it.
        service: What the ledger is bound to.
        references: Its input images as they go over the wire: data URLs of their bytes, or links.
        mask: Its mask, likewise.
        sample: The caller's number, where one was given.

    Raises:
        ParameterError: A field is not a JSON value.
    """
    described: dict[str, object] = {}
    for field in attrs.fields(type(request)):
        value = getattr(request, field.name)
        if value is None or (field.name == "n" and value == 1):
            continue
        if field.name in _REFERENCE_FIELDS:
            if value != () and field.name not in ("mask", "mask_data_url"):
                described[field.name] = (
                    len(cast("tuple[object, ...]", value)) if isinstance(value, tuple) else 1
                )
        elif not (field.name == "extra" and not value):
            described[field.name] = value
    if references:
        described["references"] = [_sha256(reference) for reference in references]
    if mask is not None:
        described["mask"] = _sha256(mask)
    try:
        text = _CANONICAL.encode(described)
    except (TypeError, ValueError, RecursionError) as error:
        raise ParameterError(
            f"{request.model}: the request cannot be written as JSON ({error}).",
            model=request.model,
        ) from error
    return Fingerprint(
        content=_sha256(f"[{_VERSION},{_CANONICAL.encode(service)},{text}]"),
        request=described,
        request_json=text,
        sample=sample,
        seeded="seed" in {**described, **request.extra},
    )


def differences(before: Mapping[str, object], now: Mapping[str, object]) -> list[str]:
    """What differs between two requests, one text for each field: `prompt was 'a fox' and is 'a hare'`."""
    return [
        f"{name} {_told(before, name, 'was')} and {_told(now, name, 'is')}"
        for name in sorted(before.keys() | now.keys())
        if before.get(name) != now.get(name)
    ]


def _told(fields: Mapping[str, object], name: str, verb: str) -> str:
    return f"{verb} {shown(fields[name])}" if name in fields else f"{verb} not given"


def _sha256(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()
