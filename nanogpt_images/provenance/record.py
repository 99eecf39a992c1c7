"""The record of how an image was made."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Final, Self, cast

import attrs

from .._version import __version__
from ..types.request import ImageRequest, Route

# An input image can be large and private, and `user` names a person: none of them goes into the file.
_INPUT_IMAGES: Final = (
    *("input_references", "image_data_url", "image_data_urls", "mask_data_url"),
    *("image", "mask"),
)
_NOT_PARAMETERS: Final = frozenset(
    {"prompt", "model", "seed", "extra", "route", "response_format", "user", *_INPUT_IMAGES}
)
_MAX_EXTRA_CHARACTERS: Final = 1_000
# Characters that UTF-8 or XML cannot represent; JSON has an escape for each.
_UNWRITABLE: Final = re.compile("[\x7f-\x9f\ud800-\udfff\ufffe\uffff]")


def _names(names: Iterable[str]) -> tuple[str, ...]:
    return tuple(names)


@attrs.frozen(kw_only=True)
class Provenance:
    """
    How an image was made, as recorded in its file.

    Attributes:
        prompt: The prompt as sent.
        model: ID of the model.
        route: `images`, `openai` or `edit`.
        parameters: The other parameters of the request, such as `resolution` and `n`.
        seed: The requested seed; None if the service chose one.
        left_out: Names of parameters that were not recorded: input images, URLs, large values.
        parents: SHA-256 of each image that was edited, as far as it was read here.
        request_id: The service's ID of the request.
        service: Origin of the service, such as `https://nano-gpt.com`.
        version: Version of this package that wrote the record.
    """

    prompt: str
    model: str
    route: Route = "images"
    parameters: Mapping[str, object] = attrs.field(factory=dict[str, object])
    seed: int | None = None
    left_out: tuple[str, ...] = attrs.field(default=(), converter=_names)
    parents: tuple[str, ...] = attrs.field(default=(), converter=_names)
    request_id: str | None = None
    service: str | None = None
    version: str = __version__

    @classmethod
    def of(cls, request: ImageRequest, *, service: str | None) -> Self:
        """Make the record for the images of *request*."""
        fields = {field.name: getattr(request, field.name) for field in attrs.fields(type(request))}
        private = {name for name, value in request.extra.items() if _stays_out(repr(value))}
        given = {
            **{name: value for name, value in request.extra.items() if name not in private},
            **{name: value for name, value in fields.items() if name not in _NOT_PARAMETERS},
        }
        return cls(
            prompt=request.prompt,
            model=request.model,
            route=request.route,
            parameters={name: value for name, value in given.items() if value is not None},
            seed=request.seed,
            left_out=(*(name for name in _INPUT_IMAGES if fields.get(name)), *sorted(private)),
            service=service,
        )

    @property
    def source_type(self) -> str:
        """The term of IPTC's `DigitalSourceType` for the image; see `source_type_for`."""
        return source_type_for(self.route)

    @property
    def software(self) -> str:
        """The program that wrote the file: this package, with its version."""
        return f"nanogpt_images {self.version}"

    @property
    def description(self) -> str:
        """The prompt, without characters that other programs cannot show."""
        return _UNWRITABLE.sub("", "".join(c for c in self.prompt if c >= " " or c in "\t\n"))

    def to_json(self) -> str:
        """Encode the record as JSON text that every format can represent, for `from_json`."""
        text = json.dumps(attrs.asdict(self), ensure_ascii=False, separators=(",", ":"), default=repr)
        return _UNWRITABLE.sub(lambda found: f"\\u{ord(found[0]):04x}", text)

    @classmethod
    def from_json(cls, text: str) -> Self | None:
        """Parse a record that `to_json` wrote; None if *text* is not a record."""
        try:
            found: object = json.loads(text)
        except (ValueError, RecursionError):
            return None
        if not isinstance(found, dict):
            return None
        fields = cast("dict[str, object]", found)
        if not all(_checks(fields)):
            return None
        names = {field.name for field in attrs.fields(cls)}
        return cls(**{name: value for name, value in fields.items() if name in names})  # type: ignore[arg-type]


def source_type_for(route: str) -> str:
    """
    Return the term of IPTC's `DigitalSourceType` for an image that was made on *route*: generated, or composed with what was.

    Source: IPTC NewsCodes, "Digital Source Type".
    """
    return "compositeWithTrainedAlgorithmicMedia" if route == "edit" else "trainedAlgorithmicMedia"


def _stays_out(value: str) -> bool:
    """Return whether a parameter may be an image or a signed URL, so that it is not recorded."""
    return len(value) > _MAX_EXTRA_CHARACTERS or "://" in value or "data:" in value


def _checks(fields: Mapping[str, object]) -> Iterator[bool]:
    """Yield whether each field has its type: anyone can have edited the file."""
    yield isinstance(fields.get("prompt"), str)
    yield isinstance(fields.get("model"), str)
    yield fields.get("route", "images") in ("images", "openai", "edit")
    parameters = fields.get("parameters", {})
    # An input image here would make this machine read and send a local file that a stranger's image names.
    yield isinstance(parameters, dict) and _NOT_PARAMETERS.isdisjoint(cast("dict[str, object]", parameters))
    yield isinstance(fields.get("seed"), int | None)
    for field in ("left_out", "parents"):
        names = fields.get(field, [])
        yield isinstance(names, list) and all(isinstance(name, str) for name in cast("list[object]", names))
    yield isinstance(fields.get("request_id"), str | None)
    yield isinstance(fields.get("service"), str | None)
    yield isinstance(fields.get("version", ""), str)
