"""Recorded exchanges, and their JSON file."""

from __future__ import annotations

import base64
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Final

import attrs
from cattrs import BaseValidationError, Converter

from ..errors import ConfigurationError

_VERSION: Final = 1


@attrs.frozen(kw_only=True)
class Exchange:
    """
    A request and its answer, without API keys and the secrets of signed URLs.

    Attributes:
        request_body: None for a request without a body.
    """

    method: str
    url: str
    request_body: bytes | None
    status: int
    headers: Mapping[str, str]
    body: bytes

    def answers(self, method: str, url: str, body: bytes | None) -> bool:
        """Return whether this exchange records that request; JSON bodies compare by value."""
        return (method, url) == (self.method, self.url) and _meaning(body) == _meaning(self.request_body)


@attrs.define
class Cassette:
    """
    The exchanges of one recording.

    Attributes:
        exchanges: In the order in which their answers ended.
    """

    exchanges: list[Exchange] = attrs.field(factory=list[Exchange])

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the file; create its directory if necessary."""
        target = Path(path)
        target.parent.mkdir(parents=True, exist_ok=True)
        document = {"version": _VERSION, "exchanges": _converter.unstructure(self.exchanges)}
        target.write_text(json.dumps(document, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> Cassette:
        """
        Read a file that `save` wrote.

        Raises:
            ConfigurationError: The file does not exist or is not a cassette.
        """
        try:
            document = json.loads(Path(path).read_text(encoding="utf-8"))
            if document["version"] != _VERSION:
                raise ConfigurationError(
                    f"{path} has cassette version {document['version']}, expected {_VERSION}; record it again."
                )
            return cls(_converter.structure(document["exchanges"], list[Exchange]))
        except FileNotFoundError as error:
            raise ConfigurationError(f"cassette {path} does not exist; record it first.") from error
        except (ValueError, LookupError, TypeError, BaseValidationError) as error:
            raise ConfigurationError(f"{path} is not a cassette: {error}") from error


def _meaning(body: bytes | None) -> object:
    try:
        return None if body is None else json.loads(body)
    except ValueError:
        return body


def _to_json(body: bytes) -> dict[str, str]:
    try:
        return {"text": body.decode()}
    except UnicodeDecodeError:
        return {"base64": base64.b64encode(body).decode()}


def _from_json(value: Mapping[str, str], _: object = None) -> bytes:
    return value["text"].encode() if "text" in value else base64.b64decode(value["base64"], validate=True)


_converter = Converter(forbid_extra_keys=True)
_converter.register_unstructure_hook(bytes, _to_json)
_converter.register_structure_hook(bytes, _from_json)
