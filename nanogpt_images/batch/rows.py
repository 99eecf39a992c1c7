"""A row of a batch: one prompt, how many images of it, and the parameters of its requests."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from functools import cached_property
from typing import Any, Final, Literal, TypeAlias, cast

import attrs

from .._base.display import shown
from .._base.names import prompt_slug, safe_name
from ..errors import ManifestError, ParameterError
from .manifest.fields import checked_count, checked_key, checked_text, json_value, short

Route: TypeAlias = Literal["images", "openai"]

ROW_FIELDS: Final = ("prompt", "model", "count", "key", "route")
IMAGE_PARAMETERS: Final = frozenset(
    {
        "input_references",
        "image_data_url",
        "image_data_urls",
        "imageDataUrl",
        "imageDataUrls",
        "image_url",
        "images",
    }
)
"""Parameters that hold input images; a row that has one may go without a prompt."""
_ROUTES: Final = ("images", "openai")
_CANONICAL: Final = json.JSONEncoder(sort_keys=True, separators=(",", ":"), allow_nan=False)


@attrs.frozen(init=False)
class BatchRow:
    """
    One row of a batch.

    Attributes:
        prompt: Text of the request, sent as it is; may be empty where there are input images.
        model: ID of the model.
        count: Images wanted; `split_count` makes requests of it. `n` among the parameters means the same.
        key: The caller's name for the row; files are named by it.
        route: `images` for the normalized route, `openai` for the OpenAI-compatible one.
        parameters: Further parameters of that route as JSON values; None is left out, a path becomes text.
        line: Where a manifest holds the row; two rows that differ only in this are equal.
    """

    prompt: str
    model: str
    count: int
    key: str | None
    route: Route
    parameters: Mapping[str, object] = attrs.field(repr=shown)
    line: int | None = attrs.field(eq=False)

    def __init__(
        self,
        /,
        prompt: str,
        model: str,
        count: int = 1,
        key: str | None = None,
        route: Route = "images",
        **parameters: object,
    ) -> None:
        """
        Check and keep the fields of a row.

        Raises:
            ManifestError: A field is of the wrong kind, or a parameter is not a JSON value.
        """
        if parameters.get("nImages") is not None:
            raise ManifestError("nImages is not a field of a row; use count.")
        wanted = checked_count(count, "count")
        if (n := parameters.pop("n", None)) is not None:
            if wanted not in (1, checked_count(n, "n")):
                raise ManifestError(f"count {wanted} and n {n} contradict each other.")
            wanted = checked_count(n, "n")
        if route not in _ROUTES:
            raise ManifestError(f"route must be images or openai, not {short(route)}.")
        kept = {
            checked_text(name, "a parameter's name"): json_value(value, name)
            for name, value in parameters.items()
            if value is not None
        }
        wordless = not prompt if kept.keys() & IMAGE_PARAMETERS else False
        self.__attrs_init__(  # pyright: ignore[reportAttributeAccessIssue, reportUnknownMemberType]
            prompt="" if wordless else checked_text(prompt, "prompt"),
            model=checked_text(model, "model"),
            count=wanted,
            key=checked_key(key),
            route=route,
            parameters=kept,
            line=None,
        )

    def __hash__(self) -> int:
        return hash((self.prompt, self.model, self.count, self.key, self.route))

    @classmethod
    def of(
        cls,
        row: BatchRow | Mapping[str, object] | str,
        *,
        model: str | None = None,
        line: int | None = None,
        defaults: Mapping[str, object] | None = None,
    ) -> BatchRow:
        """
        Make a row of what a caller or a manifest gives.

        Args:
            row: A row, its prompt, or a mapping of its fields with the parameters beside them or under `parameters`.
            model: ID of the model for rows that name none.
            line: Line of the manifest, for messages.
            defaults: Fields and parameters for rows that lack them. A `BatchRow` takes only parameters from it.

        Raises:
            ManifestError: A field is missing or of the wrong kind; the text names the line and the field.
        """
        try:
            if isinstance(row, BatchRow):
                made = row._with_defaults(defaults or {})
            else:
                made = _from_mapping(cls, _as_mapping(row), model, defaults or {})
        except ManifestError as error:
            where = f"line {line}" if line is not None else f"row {short(row)}"
            raise ManifestError(f"{where}: {error.message}", line=line) from None
        if line is not None and made is not row:
            object.__setattr__(made, "line", line)
        return made

    @cached_property
    def digest(self) -> str:
        """32 hex digits that stand for the content: key, prompt, model, route, parameters; not count, not line."""
        content = [self.key, self.prompt, self.model, self.route, self.parameters]
        return hashlib.sha256(_CANONICAL.encode(content).encode()).hexdigest()[:32]

    @property
    def base_name(self) -> str:
        """What the row's files are named by: the key made safe, else words of the prompt and part of the digest."""
        if self.key is not None:
            return safe_name(self.key)
        return f"{prompt_slug(self.prompt)}-{self.digest[:8]}"

    def to_json(self) -> str:
        """The row as JSON text, for `from_json`; without its line."""
        fields = {name: getattr(self, name) for name in ROW_FIELDS}
        return _CANONICAL.encode({**fields, "parameters": self.parameters})

    @classmethod
    def from_json(cls, text: str) -> BatchRow:
        """
        The row that `to_json` wrote.

        Raises:
            ManifestError: The text is not such a row.
        """
        try:
            fields = json.loads(text)
        except ValueError as error:
            raise ManifestError(f"a stored row is not JSON: {error}") from None
        if not isinstance(fields, dict):
            raise ManifestError(f"a stored row is not an object: {short(fields)}")
        return cls.of(cast("dict[str, object]", fields))

    def _with_defaults(self, defaults: Mapping[str, object]) -> BatchRow:
        missing = {
            name: value
            for name, value in defaults.items()
            if value is not None and name not in self.parameters and name not in (*ROW_FIELDS, "n")
        }
        if not missing:
            return self
        made = BatchRow(
            self.prompt, self.model, self.count, self.key, self.route, **{**self.parameters, **missing}
        )
        object.__setattr__(made, "line", self.line)
        return made


def refuse_one_row(rows: object) -> None:
    """
    Refuse a single row where an iterable of rows belongs: a string would be a row for each of its characters.

    Raises:
        ParameterError: *rows* is one row, or one string.
    """
    if isinstance(rows, str | bytes | Mapping | BatchRow):
        kind = type(cast("object", rows)).__name__
        raise ParameterError(
            f"rows must be an iterable of rows, not one {kind}; put it into a list, or read a file with "
            "read_manifest().",
            parameter="rows",
        )


def _as_mapping(row: object) -> Mapping[str, object]:
    if isinstance(row, str):
        return {"prompt": row}
    if not isinstance(row, Mapping):
        raise ManifestError("a row must be a prompt, a mapping or a BatchRow.")
    return cast("Mapping[str, object]", row)


def _from_mapping(
    cls: type[BatchRow], row: Mapping[str, object], model: str | None, defaults: Mapping[str, object]
) -> BatchRow:
    own = _flat(row)
    # A row's own count must not meet a default n, nor the other way round: they are two names of one thing.
    spare = {"count", "n"} if own.keys() & {"count", "n"} else set[str]()
    fields = {name: value for name, value in _flat(defaults).items() if name not in spare} | own
    if "prompt" not in fields:
        if not fields.keys() & IMAGE_PARAMETERS:
            raise ManifestError("there is no prompt.")
        fields["prompt"] = ""
    if "model" not in fields:
        if model is None:
            raise ManifestError("there is no model; name one in the row, or for all rows with model= (-m).")
        fields["model"] = model
    for name in fields:
        checked_text(name, "a parameter's name")
    return cls(**cast("dict[str, Any]", fields))


def _flat(row: Mapping[str, object]) -> dict[str, object]:
    fields = {name: value for name, value in row.items() if value is not None}
    nested = fields.pop("parameters", None)
    if nested is None:
        return fields
    if not isinstance(nested, Mapping):
        raise ManifestError(f"parameters must be an object, not {short(nested)}.")
    for name, value in cast("Mapping[str, object]", nested).items():
        if name in ROW_FIELDS:
            raise ManifestError(f"{name} is a field of the row, not one of its parameters.")
        if value is not None and fields.setdefault(name, value) != value:
            raise ManifestError(f"{name} is given twice, and differently.")
    return fields
