"""A row of a batch: one prompt, how many images of it, the parameters of its requests, and what it came with."""

from __future__ import annotations

import copy
import hashlib
import json
import math
from collections.abc import AsyncIterable, Iterable, Mapping
from functools import cached_property
from typing import Any, Final, Literal, TypeAlias, cast

import attrs

from .._base.display import shown
from .._base.names import prompt_slug, safe_name
from ..errors import ManifestError, ParameterError
from .manifest.fields import checked_count, checked_key, checked_text, json_value, plain, short
from .manifest.vocabulary import IMAGE_PARAMETERS, ROW_FIELDS, WHOLE_NUMBERS, placed

Route: TypeAlias = Literal["images", "openai", "edit"]

_ROUTES: Final = ("images", "openai", "edit")
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
        route: `images` for the normalized route, `openai` for the OpenAI-compatible one, `edit` for edits.
        parameters: Further parameters of that route as JSON values; None is left out, a path becomes text.
        metadata: What the row came with beside them, as JSON values: kept with its images, never sent, and no part
            of what tells rows apart.
        number: Its place in the manifest or among the rows of the caller, from 1; rows that differ only in this and
            in `line` are equal.
        line: Where a manifest holds the row.
        columns: Names in `metadata` that are parameters after all where the row's model lists them.
        combination: What a sweep chose for it, such as `resolution=1024x1024, seed=1`.
        former: The digest that earlier versions gave it, which sent all of its columns; None where it is the same.
    """

    prompt: str
    model: str
    count: int
    key: str | None
    route: Route
    parameters: Mapping[str, object] = attrs.field(repr=shown)
    metadata: Mapping[str, object] = attrs.field(repr=shown)
    number: int | None = attrs.field(eq=False)
    line: int | None = attrs.field(eq=False)
    columns: tuple[str, ...] = attrs.field(eq=False, repr=False)
    combination: str | None = attrs.field(eq=False, repr=False)
    former: str | None = attrs.field(eq=False, repr=False)

    def __init__(
        self,
        /,
        prompt: str,
        model: str,
        count: int = 1,
        key: str | None = None,
        route: Route = "images",
        *,
        metadata: Mapping[str, object] | None = None,
        **parameters: object,
    ) -> None:
        """
        Check and keep the fields of a row.

        Raises:
            ManifestError: A field is of the wrong kind, or a parameter is not a JSON value.
        """
        fields = {"prompt": prompt, "model": model, "count": count, "key": key, "route": route}
        self._fill(fields, parameters, metadata or {})

    def _fill(
        self,
        fields: Mapping[str, object],
        parameters: Mapping[str, object],
        metadata: Mapping[str, object],
        columns: tuple[str, ...] = (),
    ) -> None:
        parameters = dict(parameters)
        if parameters.get("nImages") is not None:
            raise ManifestError("nImages is not a field of a row; use count.")
        wanted = checked_count(fields.get("count", 1), "count")
        if (n := parameters.pop("n", None)) is not None:
            if wanted not in (1, checked_count(n, "n")):
                raise ManifestError(f"count {wanted} and n {n} contradict each other.")
            wanted = checked_count(n, "n")
        route = fields.get("route", "images")
        if route not in _ROUTES:
            raise ManifestError(f"route must be images, openai or edit, not {short(route)}.")
        kept = {
            checked_text(name, "a parameter's name"): _parameter(name, value)
            for name, value in parameters.items()
            if value is not None
        }
        prompt = fields["prompt"]
        wordless = not prompt if kept.keys() & IMAGE_PARAMETERS else False
        self.__attrs_init__(  # pyright: ignore[reportAttributeAccessIssue, reportUnknownMemberType]
            prompt="" if wordless else checked_text(prompt, "prompt"),
            model=checked_text(fields["model"], "model"),
            count=wanted,
            key=checked_key(fields.get("key")),
            route=route,
            parameters=kept,
            metadata={
                checked_text(name, "a column's name"): json_value(value, name)
                for name, value in metadata.items()
                if value is not None
            },
            number=None,
            line=None,
            columns=columns,
            combination=None,
            former=None,
        )

    @classmethod
    def filled(
        cls,
        fields: Mapping[str, object],
        parameters: Mapping[str, object],
        metadata: Mapping[str, object],
        columns: tuple[str, ...] = (),
    ) -> BatchRow:
        """Make a row whose parameters may have any name. Raises ManifestError."""
        made = cls.__new__(cls)
        made._fill(fields, parameters, metadata, columns)
        return made

    def __hash__(self) -> int:
        return hash((self.prompt, self.model, self.count, self.key, self.route))

    @classmethod
    def of(
        cls,
        row: BatchRow | Mapping[str, object] | str,
        *,
        model: str | None = None,
        line: int | None = None,
        number: int | None = None,
        defaults: Mapping[str, object] | None = None,
    ) -> BatchRow:
        """
        Make a row of what a caller or a manifest gives.

        Args:
            row: A row, its prompt, or a mapping of its columns: fields, documented parameters, further ones under
                `parameters`, and metadata, which is all else. Names match whatever their case.
            model: ID of the model for rows that name none.
            line: Line of the manifest, for messages.
            number: Its place among the rows, from 1; a `BatchRow` that has one keeps it.
            defaults: Fields and parameters for rows that lack them. A `BatchRow` takes only parameters from it.

        Raises:
            ManifestError: A field is missing or of the wrong kind, or a column's name is nearly that of a parameter;
                the text names the line and the field.
        """
        try:
            if isinstance(row, BatchRow):
                made = row._with_defaults(defaults or {})
            else:
                made = _from_mapping(_as_mapping(row), model, defaults or {})
        except ManifestError as error:
            where = f"line {line}" if line is not None else f"row {short(row)}"
            raise ManifestError(f"{where}: {error.message}", line=line) from None
        if number is not None and made.number is None:
            made = made.evolved() if made is row else made
            object.__setattr__(made, "number", number)
        if line is not None and made is not row and made.line is None:
            object.__setattr__(made, "line", line)
        return made

    def evolved(self, **changes: object) -> BatchRow:
        """Copy the row with other attributes, which are not checked again."""
        made = copy.copy(self)
        for name, value in changes.items():
            object.__setattr__(made, name, value)
        return made

    @cached_property
    def digest(self) -> str:
        """32 hex digits that stand for the content: key, prompt, model, route, parameters; not count, line or metadata."""
        return self._digest_of(self.prompt, self.parameters)

    def former_digest(self, prompt: str) -> str:
        """Return the digest of a row with *prompt* in versions that sent every column."""
        return self._digest_of(
            prompt, {**self.parameters, **{name: self.metadata[name] for name in self.columns}}
        )

    def _digest_of(self, prompt: str, parameters: Mapping[str, object]) -> str:
        content = [self.key, prompt, self.model, self.route, parameters]
        return hashlib.sha256(_CANONICAL.encode(content).encode()).hexdigest()[:32]

    @property
    def base_name(self) -> str:
        """What the row's files are named by: the key made safe, else words of the prompt and part of the digest."""
        if self.key is not None:
            return safe_name(self.key)
        return f"{prompt_slug(self.prompt)}-{self.digest[:8]}"

    def to_json(self) -> str:
        """Write the row as JSON text, for `from_json`; without its line."""
        fields = {name: getattr(self, name) for name in ROW_FIELDS}
        fields["parameters"] = self.parameters
        if self.metadata:
            fields["metadata"] = self.metadata
        if self.number is not None:
            fields["number"] = self.number
        return _CANONICAL.encode(fields)

    @classmethod
    def from_json(cls, text: str) -> BatchRow:
        """
        Read the row that `to_json` wrote.

        Raises:
            ManifestError: The text is not such a row.
        """
        try:
            fields = json.loads(text)
        except ValueError as error:
            raise ManifestError(f"a stored row is not JSON: {error}") from None
        if not isinstance(fields, dict):
            raise ManifestError(f"a stored row is not an object: {short(fields)}")
        told = cast("dict[str, object]", fields)
        number = told.pop("number", None)
        made = _from_mapping(told, None, {})
        return made.evolved(number=number) if isinstance(number, int) else made

    def _with_defaults(self, defaults: Mapping[str, object]) -> BatchRow:
        missing = {
            name: value
            for name, value in defaults.items()
            if value is not None and name not in self.parameters and name not in (*ROW_FIELDS, "n")
        }
        if not missing:
            return self
        filled = {name: _parameter(name, value) for name, value in missing.items()}
        return self.evolved(parameters={**self.parameters, **filled})


def refuse_one_row(rows: object) -> None:
    """
    Refuse a single row where an iterable of rows belongs: a string would be a row for each of its characters.

    Raises:
        ParameterError: *rows* is one row, one string, or nothing that holds rows.
    """
    one = isinstance(rows, str | bytes | Mapping | BatchRow)
    if one or not isinstance(rows, Iterable | AsyncIterable):
        kind = type(cast("Any", rows)).__name__
        raise ParameterError(
            f"rows must be an iterable of rows, not {'one ' * one}{kind}; put it into a list, or name a file with "
            "pathlib.Path or read_manifest().",
            parameter="rows",
        )


def _as_mapping(row: object) -> Mapping[str, object]:
    if isinstance(row, str):
        return {"prompt": row}
    if not isinstance(row, Mapping):
        raise ManifestError(f"a row must be a prompt, a mapping or a BatchRow, not {short(row)}.")
    return cast("Mapping[str, object]", row)


def _from_mapping(row: Mapping[str, object], model: str | None, defaults: Mapping[str, object]) -> BatchRow:
    filling = _together({name: value for name, value in defaults.items() if value is not None})
    own, metadata, columns = _sorted_out(row, filling)
    # A row's own count must not meet a default n, nor the other way round: they are two names of one thing.
    spare = {"count", "n"} if own.keys() & {"count", "n"} else set[str]()
    given = {name: value for name, value in filling.items() if name not in spare} | own
    if "prompt" not in given:
        if not given.keys() & IMAGE_PARAMETERS:
            raise ManifestError("there is no prompt.")
        given["prompt"] = ""
    if "model" not in given:
        if model is None:
            raise ManifestError(
                "there is no model; name one in the row, or one for the whole batch with model= (-m)."
            )
        given["model"] = model
    fields: dict[str, object] = {name: given.pop(name) for name in ROW_FIELDS if name in given}
    made = BatchRow.filled(fields, given, metadata, columns)
    if columns:
        object.__setattr__(made, "former", made.former_digest(made.prompt))
    return made


def _sorted_out(
    row: Mapping[str, object], filling: Mapping[str, object]
) -> tuple[dict[str, object], dict[str, object], tuple[str, ...]]:
    """Return fields and parameters, metadata, and the columns among it that its model may list."""
    own: dict[str, object] = {}
    metadata: dict[str, object] = {}
    columns: dict[str, object] = {}
    for name, given in row.items():
        checked_text(name, "a parameter's name")
        target = name if name in filling else placed(name)
        value = plain(given)
        if value is None:
            continue
        if target == "sweep":
            raise ManifestError("a sweep makes several rows: expand it with nanogpt_images.sweep().")
        if target == "metadata" and isinstance(value, Mapping):
            metadata |= cast("Mapping[str, object]", value)
        elif target is None or target == "metadata":
            if not (isinstance(value, float) and math.isnan(value)):  # a missing number of a table
                columns[name] = value
        elif target in own and own[target] != value:
            raise ManifestError(f"there are two columns {target!r}.")
        else:
            own[target] = value
    return _together(own), {**columns, **metadata}, tuple(name for name in columns if name not in metadata)


def _together(fields: dict[str, object]) -> dict[str, object]:
    """Put what stands under `parameters` beside the rest."""
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


def _parameter(name: str, value: object) -> object:
    value = plain(value)
    if name in WHOLE_NUMBERS and isinstance(value, float) and value.is_integer():
        value = int(value)
    return json_value(value, name)
