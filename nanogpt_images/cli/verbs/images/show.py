"""`show`: how an image was made, from its own file."""

from __future__ import annotations

import json
from pathlib import Path

import attrs
import click

from ....provenance.reading import read_provenance, read_source_type
from ....provenance.record import Provenance
from ... import common as _common
from ...errors import FAILED
from ...output import note, one_line, say_fields, say_json


@_common.verb("show", example="show out/images/fox.png")
@click.argument("file", metavar="FILE")
def command(file: str, base_url: str | None, as_json: bool) -> int:
    """
    Say how the image in FILE was made, if it was written with --provenance. Nothing is sent.

    The exit code is 1 where the file does not tell.
    """
    del base_url
    record, source_type = read_provenance(Path(file)), read_source_type(Path(file))
    if as_json:
        document: dict[str, object] = {
            "file": file,
            "provenance": None if record is None else _fields(record),
        }
        if source_type is not None:
            document["digital_source_type"] = source_type
        say_json(document)
    elif record is None:
        if source_type is not None:
            say_fields({"source type": one_line(source_type)})
        note(
            f"{one_line(file)} does not say how it was made; 'generate' and 'batch' write it with --provenance"
        )
    else:
        _print(record, source_type)
    return FAILED if record is None else 0


def _fields(record: Provenance) -> dict[str, object]:
    """Return the record, with `parents` where there are any."""
    fields = attrs.asdict(record)
    return fields if record.parents else {name: value for name, value in fields.items() if name != "parents"}


def _print(record: Provenance, source_type: str | None) -> None:
    say_fields(
        {
            "prompt": one_line(record.prompt),
            "model": one_line(record.model),
            "route": record.route,
            "seed": "" if record.seed is None else str(record.seed),
            "parameters": [
                one_line(f"{name}={json.dumps(value, ensure_ascii=False)}")
                for name, value in record.parameters.items()
            ],
            "parents": list(record.parents),
            "left out": [one_line(name) for name in record.left_out],
            "request": one_line(record.request_id or ""),
            "service": one_line(record.service or ""),
            "written by": one_line(record.software),
            "source type": one_line(source_type or ""),
        }
    )
